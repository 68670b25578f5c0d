import { mkdirSync, symlinkSync } from 'node:fs';
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
});
