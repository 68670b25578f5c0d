import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConsignment, readSiteAlone, readVrrpSecret } from '../../src/fleet/local-bundle.js';
import { createReporter } from '../../src/report.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';

const SITE = readFileSync(new URL('../../manifests/sites/tts-pair.yaml', import.meta.url), 'utf8');

const reporter = createReporter({
  format: 'text',
  quiet: true,
  color: false,
  stream: { write: () => true },
  now: () => 0,
});

/** A machine on which one call for one path ends with an error of the system. */
const withFault = (call: string, at: string, code: string): Rooted => {
  const host = rootedHost({ fail: (called, given) => (called === call && given === at ? code : undefined) });
  host.put('/desk/site.yaml', SITE);
  host.put('/desk/vrrp.secret', 's3cret\n', 0o600);
  return host;
};

describe('what the operator gives on the command line', () => {
  it('is the site file, and the VRRP secret beside it', async () => {
    const host = withFault('none', '', '');
    const site = await readSiteAlone(host, '/desk/site.yaml');
    expect(await readVrrpSecret(host, '/desk/site.yaml', site)).toBe('s3cret');
  });

  it('may be a site file that is not there, or that this user may not read: exit 2, with the path', async () => {
    await expect(
      readSiteAlone(withFault('read', '/desk/site.yaml', 'EACCES'), '/desk/site.yaml'),
    ).rejects.toMatchObject({
      ...{ code: 'NO_SITE', exit: 2, where: '/desk/site.yaml' },
      message: 'the site file cannot be read: permission denied',
      hint: expect.stringContaining('Let this user read it') as string,
    });
    await expect(readSiteAlone(withFault('none', '', ''), '/desk/none.yaml')).rejects.toMatchObject({
      ...{ code: 'NO_SITE', exit: 2, where: '/desk/none.yaml', message: 'the site file is not there' },
    });
  });

  it('may be a folder where the site file is wanted', async () => {
    const host = withFault('none', '', '');
    mkdirSync(path.join(host.root, 'desk/folder.yaml'));
    await expect(readSiteAlone(host, '/desk/folder.yaml')).rejects.toMatchObject({
      ...{ code: 'NO_SITE', exit: 2, message: 'the site file cannot be read: it is a folder, not a file' },
    });
  });

  it('may have a secret that this user may not read; one that is not there is none', async () => {
    const denied = withFault('read', '/desk/vrrp.secret', 'EACCES');
    const site = await readSiteAlone(denied, '/desk/site.yaml');
    await expect(readVrrpSecret(denied, '/desk/site.yaml', site)).rejects.toMatchObject({
      ...{ code: 'NO_SECRET', exit: 2, where: '/desk/vrrp.secret' },
      message: 'the file with the VRRP secret cannot be read: permission denied',
    });
    denied.put('/other/site.yaml', SITE);
    expect(await readVrrpSecret(denied, '/other/site.yaml', site)).toBeUndefined();
  });

  it('may be a bundle below a folder that this user may not enter', async () => {
    const host = {
      ...withFault('none', '', ''),
      realpath: async () => {
        throw Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'realpath' });
      },
    };
    await expect(
      readConsignment(host, {
        ...{ folder: '/media/small', site: '/desk/site.yaml', keys: [], fingerprints: [], reporter },
      }),
    ).rejects.toMatchObject({
      ...{ code: 'NO_BUNDLE', exit: 2, where: '/media/small' },
      message: 'the bundle cannot be read: permission denied',
    });
  });
});
