import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UploadResult } from '../../src/fleet/agent.js';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import { NODE_SIDE } from '../../src/fleet/node-side.js';
import type { NodeShell } from '../../src/fleet/shell.js';
import { upload } from '../../src/fleet/upload.js';
import { run } from '../../src/host/process.js';

const STEM = 'small-1.0.0-el7.x86_64';
const STATE = '/var/lib/airbundle';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'airbundle-desk-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Where a path of the node lies on this machine. */
const here = (path: string): string => path.replace(STATE, join(folder, 'state'));
const lock = (): string => join(folder, 'lock');

/** A node on this machine: the real script, with another folder for its state, for whoever runs this test. */
function node(): NodeShell {
  const script = NODE_SIDE.replace(`state=${STATE}`, `state=${here(STATE)}`)
    .replaceAll('/run/airbundle.lock', lock())
    .replace('-uid 0', `-uid ${String(process.getuid?.() ?? 0)}`);
  return {
    where: 'here',
    run: (words, { input } = {}) =>
      run(['/bin/sh', '-c', script, ...words.slice(3)], input === undefined ? {} : { input }),
    close: () => undefined,
  };
}

interface Given {
  readonly site?: string;
  readonly secret?: string;
  readonly stem?: string;
}

function send({ site = 'one site\n', secret = 's3cret\n', stem = STEM }: Given = {}): Promise<UploadResult> {
  const consignment = {
    ...{ stem, files: [], siteName: 'site.yaml', key: { name: 'key.pem', fingerprint: '' } },
    desk: [
      { name: 'site.yaml', bytes: Buffer.from(site) },
      { name: 'key.pem', bytes: Buffer.from('a key\n') },
      { name: 'vrrp.secret', bytes: Buffer.from(secret) },
    ],
  } as unknown as Consignment;
  const chunks = (): never => {
    throw new Error('there is nothing to read');
  };
  return upload({ chunks }, node(), consignment, () => undefined);
}

const secretBeside = (site: string): string => join(here(site), '../vrrp.secret');

/** As if it had been sent so many hours ago. */
function makeOlder(site: string, hours: number): void {
  const seconds = Date.now() / 1000 - hours * 3600;
  utimesSync(join(here(site), '..'), seconds, seconds);
}

describe('the site and the secrets that a deploy sends', () => {
  it('stay what they were while another deploy sends others: each has a place of its own', async () => {
    const first = await send();
    const other = await send({ site: 'another site\n', secret: 'another\n' });
    expect(other.site).not.toBe(first.site);
    expect(readFileSync(here(first.site), 'utf8')).toBe('one site\n');
    expect(readFileSync(secretBeside(first.site), 'utf8')).toBe('s3cret\n');
    expect(readFileSync(here(other.site), 'utf8')).toBe('another site\n');
  });

  it('have the same place again when they are the same, so that the same command follows on', async () => {
    const first = await send();
    expect(await send()).toMatchObject({ site: first.site, key: first.key });
    expect((await send({ secret: 'another\n' })).site).not.toBe(first.site);
  });

  it('lie where only root can enter', async () => {
    const { site } = await send();
    expect(statSync(join(here(site), '..')).mode & 0o777).toBe(0o700);
    expect(statSync(secretBeside(site)).mode & 0o777).toBe(0o600);
  });

  it('are removed by the next deploy after a day, those of older versions too', async () => {
    const first = await send();
    const old = join(here(STATE), 'incoming', STEM, 'desk/vrrp.secret');
    execFileSync('touch', ['-d', '25 hours ago', old]);
    makeOlder(first.site, 23);
    await send({ site: 'another site\n' });
    expect(existsSync(here(first.site))).toBe(true);
    expect(existsSync(old)).toBe(false);
    makeOlder(first.site, 25);
    await send({ site: 'another site\n' });
    expect(existsSync(here(first.site))).toBe(false);
  });

  it('are not removed while an installer is at work', async () => {
    const first = await send();
    makeOlder(first.site, 25);
    const installer = spawn('flock', [lock(), '-c', 'echo begun; read end'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => installer.stdout.once('data', resolve));
    await send({ site: 'another site\n' });
    expect(existsSync(secretBeside(first.site))).toBe(true);
    installer.stdin.end('\n');
    await new Promise((resolve) => installer.once('close', resolve));
  });

  it('go with their bundle, when another one is sent', async () => {
    const first = await send();
    await send({ stem: 'small-1.0.1-el7.x86_64' });
    expect(existsSync(here(first.site))).toBe(false);
    expect(existsSync(join(here(STATE), 'incoming', STEM))).toBe(false);
  });
});
