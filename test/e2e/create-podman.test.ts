import path from 'node:path';
import { rm } from 'node:fs/promises';
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
