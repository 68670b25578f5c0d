import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attempt } from '../lab/docker.js';
import { skipUnless } from '../support/skip.js';
import { createSetting } from './create-setting.js';
import type { CreateSetting } from './create-setting.js';

const ready = (await attempt(['docker', 'version']).catch(() => undefined))?.exitCode === 0;

describe('a create that does not come to its end', () => {
  skipUnless(ready, 'docker does not answer');
  let setting: CreateSetting;
  beforeAll(async () => {
    if (ready) setting = await createSetting();
  });
  afterAll(async () => {
    if (ready) await setting.close();
  });

  const containers = async (): Promise<string> =>
    (
      await attempt([
        ...['docker', 'ps', '-a', '--filter', `label=airbundle.test=${setting.label}`],
        ...['--format', '{{.Names}}'],
      ])
    ).stdout;
  const temporary = (): string[] => [
    ...(existsSync(path.join(setting.cache, 'tmp')) ? readdirSync(path.join(setting.cache, 'tmp')) : []),
    ...(existsSync(setting.out) ? readdirSync(setting.out).filter((name) => name.startsWith('.')) : []),
    ...readdirSync(setting.folder).filter((name) => name.startsWith('.')),
  ];
  /** Until it says so: the moments are those of the work, not of the clock. */
  const until = async (word: RegExp, started: ReturnType<CreateSetting['start']>): Promise<void> => {
    let said = '';
    started.child.stderr?.on('data', (text: string) => (said += text));
    while (!word.test(said) && started.child.exitCode === null) await sleep(5);
  };
  const MOMENTS = [
    /find a container engine/,
    /compare the keys/,
    /download 2 packages/,
    /prove signatures/,
    /pack and sign/,
  ];

  it('cleans up behind itself when it is told to stop', async () => {
    for (const [index, moment] of MOMENTS.entries()) {
      await rm(setting.cache, { recursive: true, force: true });
      await rm(setting.manifest.replace('.yaml', '.lock.json'), { force: true });
      const started = setting.start(setting.words());
      await until(moment, started);
      await sleep(120);
      started.child.kill(index % 2 === 0 ? 'SIGINT' : 'SIGTERM');
      const { exitCode, stderr } = await started.end;
      // The last moment may come too late to stop anything.
      if (exitCode !== 0) {
        expect(stderr).toContain('error[INTERRUPTED]');
        expect(exitCode).toBe(6);
      }
      expect(await containers()).toBe('');
      expect(temporary()).toEqual([]);
      await rm(setting.out, { recursive: true, force: true });
    }
  });

  it('is cleaned up after by the next one when it is killed, which goes on with what is there', async () => {
    await rm(setting.cache, { recursive: true, force: true });
    let left = 0;
    for (const moment of MOMENTS) {
      await rm(setting.manifest.replace('.yaml', '.lock.json'), { force: true });
      const started = setting.start(setting.words());
      await until(moment, started);
      await sleep(120);
      started.child.kill('SIGKILL');
      await started.end;
      left += (await containers()).split('\n').filter((name) => name !== '').length + temporary().length;
      await rm(setting.out, { recursive: true, force: true });
    }
    expect(left, 'the kills left nothing: they prove nothing').toBeGreaterThan(0);
    await rm(setting.manifest.replace('.yaml', '.lock.json'), { force: true });
    const before = setting.served.requests.length;
    const done = await setting.start(setting.words()).end;
    expect(done.stderr).toContain('pack and sign');
    expect(done.exitCode).toBe(0);
    expect(setting.served.requests.slice(before).filter((url) => url.endsWith('.rpm'))).toEqual([]);
    expect(await containers()).toBe('');
    expect(temporary()).toEqual([]);
  });

  it('does not disturb another one on the same cache, and both make the same bytes', async () => {
    const digests = await Promise.all(
      ['one', 'two'].map(async (name) => {
        const { stdout, stderr } = await setting.start(
          setting.words({ out: path.join(setting.folder, name), cache: path.join(setting.folder, 'shared') }),
        ).end;
        return stdout === '' ? stderr : (JSON.parse(stdout) as { payloadSha256: string }).payloadSha256;
      }),
    );
    expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(digests[1]).toBe(digests[0]);
    expect(await containers()).toBe('');
  });
});
