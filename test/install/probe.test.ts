import { chmodSync, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { probe } from '../../src/install/probe.js';
import { someConfiguration, someContents } from './facts.js';
import { rootedHost } from '../host/rooted.js';

describe('what is read of a node', () => {
  it('has links as they were written, where their folder or what they lead to is a link too', async () => {
    const host = rootedHost({ answer: () => ({}) });
    host.put('/data/local/bin/redis-server', 'x');
    host.put('/etc/os-release', 'ID=centos\nVERSION_ID="7"\n');
    mkdirSync(path.join(host.root, 'usr'));
    symlinkSync('../data/local', path.join(host.root, 'usr/local'));
    symlinkSync('/usr/local/bin/redis-server', path.join(host.root, 'usr/local/bin/redis-sentinel'));
    const [component] = someContents().components;
    if (component === undefined) throw new Error('no component');
    const links = [{ path: '/usr/local/bin/redis-sentinel', to: '/usr/local/bin/redis-server' }];
    const facts = await probe(host, {
      contents: someContents({ components: [{ ...component, links }] }),
      configuration: someConfiguration(),
      receipt: undefined,
    });
    expect(facts.links.get('/usr/local/bin/redis-sentinel')).toBe('/usr/local/bin/redis-server');
  });

  it('has what stands where a folder is declared: its mode, also behind a link, and what is none', async () => {
    const host = rootedHost({ answer: () => ({}) });
    host.put('/etc/os-release', 'ID=centos\nVERSION_ID="7"\n');
    const there = (name: string): string => path.join(host.root, name);
    for (const name of ['real', 'data']) mkdirSync(there(name));
    chmodSync(there('real'), 0o2750);
    chmodSync(there('data'), 0o711);
    symlinkSync('data', there('linked'));
    symlinkSync('nowhere', there('dangling'));
    host.put('/file', 'x');
    const [declared] = someConfiguration().directories;
    if (declared === undefined) throw new Error('no folder');
    const { directories } = await probe(host, {
      contents: someContents(),
      configuration: someConfiguration({
        directories: ['/real', '/linked', '/dangling', '/file', '/none'].map((name) => ({
          ...declared,
          path: name,
        })),
      }),
      receipt: undefined,
    });
    expect([...directories].map(([name, state]) => [name, state?.kind, state?.mode])).toEqual([
      ['/dangling', 'link', 0o777],
      ['/file', 'file', 0o644],
      ['/linked', 'directory', 0o711],
      ['/real', 'directory', 0o2750],
    ]);
  });
});
