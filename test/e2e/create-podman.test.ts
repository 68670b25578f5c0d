import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execa } from 'execa';
import { attempt } from '../lab/docker.js';
import { skipUnless } from '../support/skip.js';
import { createSetting } from './create-setting.js';
import type { CreateSetting } from './create-setting.js';

const answers = async (engine: string): Promise<boolean> =>
  (await attempt([engine, 'info']).catch(() => undefined))?.exitCode === 0;
const podman = await answers('podman');
const docker = await answers('docker');

describe('bundle create with podman', () => {
  skipUnless(podman, 'podman is not installed or does not answer: apt-get install podman');
  skipUnless(docker, "docker does not answer: it makes the lab's image");
  const ready = podman && docker;
  let setting: CreateSetting;
  beforeAll(async () => {
    if (!ready) return;
    setting = await createSetting();
    if ((await attempt(['podman', 'image', 'exists', setting.image])).exitCode === 0) return;
    const saved = execa('docker', ['save', setting.image], { encoding: 'buffer', buffer: false });
    const loaded = execa('podman', ['load', '--quiet'], saved.stdout === null ? {} : { input: saved.stdout });
    await Promise.all([saved, loaded]);
  });
  afterAll(async () => {
    if (ready) await setting.close();
  });

  it('makes the same bytes as with docker, and finds the limits that it may set by itself', async () => {
    const digests: string[] = [];
    for (const engine of ['docker', 'podman']) {
      const out = path.join(setting.folder, engine);
      await rm(setting.manifest.replace('.yaml', '.lock.json'), { force: true });
      const done = await setting.start(
        [...setting.words({ out, cache: path.join(setting.folder, `cache-${engine}`) }), '--engine', engine],
        // Containers of podman reach the lab's server over this machine's own network.
        setting.env(engine === 'podman' ? { AIRBUNDLE_ENGINE_NETWORK: 'host' } : {}),
      ).end;
      expect(done.exitCode, done.stderr).toBe(0);
      digests.push((JSON.parse(done.stdout) as { payloadSha256: string }).payloadSha256);
    }
    expect(digests[1]).toBe(digests[0]);
    const left = await attempt([
      ...['podman', 'ps', '-a', '--filter', `label=airbundle.test=${setting.label}`],
      ...['--format', '{{.Names}}'],
    ]);
    expect(left.stdout).toBe('');
  });
});

/** A user of this machine who is not root, made for the test, with the ids that rootless podman needs. */
const USER = `abtest${String(process.pid)}`;
const rootless =
  podman && process.getuid?.() === 0
    ? ['newuidmap', 'runc', 'useradd', 'setpriv'].filter((name) => spawnSync('which', [name]).status !== 0)
    : ['podman, as root who makes the user'];

describe('bundle create with podman, by a user who is not root', () => {
  skipUnless(
    rootless.length === 0,
    `missing: ${rootless.join(', ')}: apt-get install podman runc uidmap fuse-overlayfs slirp4netns`,
  );
  skipUnless(docker, "docker does not answer: it makes the lab's image");
  const ready = rootless.length === 0 && docker;
  let setting: CreateSetting;
  let folder = '';
  let refusal = '';
  const asUser = (...argv: readonly string[]): string[] => [
    ...['setpriv', '--reuid', USER, '--regid', USER, '--init-groups', 'env', '-i', `--chdir=${folder}`],
    ...['PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', `HOME=${folder}/home`],
    ...[`XDG_RUNTIME_DIR=${folder}/run`, ...argv],
  ];
  beforeAll(async () => {
    if (!ready) return;
    setting = await createSetting();
    folder = await mkdtemp(path.join(tmpdir(), 'rootless-'));
    execFileSync('useradd', ['--home-dir', path.join(folder, 'home'), '--create-home', USER]);
    await mkdir(path.join(folder, 'run'), { mode: 0o700 });
    execFileSync('chown', ['-R', `${USER}:${USER}`, folder]);
    const archive = path.join(folder, 'image.tar');
    execFileSync('docker', ['save', '-o', archive, setting.image], { stdio: 'pipe' });
    await chmod(archive, 0o644);
    const loaded = await attempt(asUser('podman', 'load', '--quiet', '-i', archive));
    refusal = loaded.exitCode === 0 ? '' : loaded.stderr;
    await rm(archive);
  });
  afterAll(async () => {
    if (!ready) return;
    await attempt(asUser('podman', 'system', 'reset', '--force'));
    // Ends the process that keeps the user's namespace.
    await attempt(asUser('podman', 'system', 'migrate'));
    await attempt(['userdel', USER]);
    await rm(folder, { recursive: true, force: true });
    await setting.close();
  });

  it('makes a bundle, and no container is left', async (context) => {
    if (refusal !== '') context.skip(`rootless podman is refused on this machine: ${refusal}`);
    // The real podman, as the user; the command itself runs as the user who may read this checkout.
    const bin = path.join(folder, 'bin');
    await mkdir(bin);
    const words = asUser('podman').map((word) => `'${word}'`);
    await writeFile(path.join(bin, 'podman'), `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 });
    const out = path.join(folder, 'dist');
    const done = await setting.start(
      [...setting.words({ out, cache: path.join(setting.folder, 'cache-rootless') }), '--engine', 'podman'],
      setting.env({ PATH: `${bin}:${process.env['PATH'] ?? ''}`, AIRBUNDLE_ENGINE_NETWORK: 'host' }),
    ).end;
    expect(done.exitCode, done.stderr).toBe(0);
    expect(await readdir(out)).toEqual(['it-1-el7.x86_64']);
    const info = await attempt(asUser('podman', 'info', '--format', '{{.Host.Security.Rootless}}'));
    expect(info.stdout.trim()).toBe('true');
    const left = await attempt(asUser('podman', 'ps', '-a', '--format', '{{.Names}}'));
    expect(left.stdout).toBe('');
  });
});
