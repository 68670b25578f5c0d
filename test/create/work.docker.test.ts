import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../lab/docker.js';
import { collectorImage } from '../lab/images.js';
import { LAB } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import type { LabSources } from '../lab/sources.js';
import { labSources } from '../lab/sources.js';
import { packed } from '../lab/walk/packager.js';

/*
 * What `bundle create` starts, counted by wrappers of docker and git in front of the real ones: it does not depend
 * on the machine, and a container for one more question shows.
 */
describe('the work of bundle create', { timeout: 900_000 }, () => {
  const before = process.env['PATH'] ?? '';
  let scratch = '';
  let log = '';
  let sources: LabSources;

  beforeAll(async () => {
    mkdirSync(LAB, { recursive: true });
    scratch = mkdtempSync(path.join(LAB, 'create-work-'));
    log = path.join(scratch, 'log');
    for (const program of ['docker', 'git']) {
      const wrapper = path.join(scratch, program);
      const text = `#!/bin/sh\necho "${program} $*" >>'${log}'\nPATH='${before}'\nexec ${program} "$@"\n`;
      writeFileSync(wrapper, text);
      chmodSync(wrapper, 0o755);
    }
    sources = await labSources();
    // Made here, before anything is counted: on a new machine this is the first file that needs them.
    await collectorImage();
    await labRepository();
  }, 1_500_000);
  afterAll(() => {
    process.env['PATH'] = before;
    rmSync(scratch, { recursive: true, force: true });
  });

  /** @param work a folder with a lock, or none yet @returns what was started */
  const creating = async (work: string, cache: string): Promise<string[]> => {
    writeFileSync(log, '');
    process.env['PATH'] = `${scratch}:${before}`;
    try {
      await packed('tts-ha', sources, {
        ...{ quiet: true, work: path.join(scratch, work), cache: path.join(scratch, cache) },
      });
    } finally {
      process.env['PATH'] = before;
    }
    return readFileSync(log, 'utf8').split('\n').filter(Boolean);
  };
  /** By what was asked of docker; not what the lab itself asks (images), nor what depends on who else is there (inspect). */
  const count = (lines: readonly string[]): Record<string, number> => {
    const of = (start: string): number => lines.filter((line) => line.startsWith(`${start} `)).length;
    return {
      containers: of('docker create'),
      starts: of('docker start'),
      copies: of('docker cp'),
      removals: of('docker rm'),
      git: of('git'),
    };
  };

  it('is, without a cache, one container for yum and one to examine what came; the git commands of each source', async () => {
    expect(count(await creating('one', 'cache'))).toEqual(await fromOrigins(sources));
  });

  it('is, with a cache and without a lock, the same: the origins are asked again', async () => {
    expect(count(await creating('two', 'cache'))).toEqual(await fromOrigins(sources));
  });

  it('is, with a lock that fits, one container, which examines, and no git', async () => {
    expect(count(await creating('two', 'cache'))).toEqual({
      ...{ containers: 1, starts: 1, copies: 2, removals: 1 },
      git: 0,
    });
  });
});

/** Eleven git commands a source, and one that looks for git LFS where the commit has a .gitattributes. */
const fromOrigins = async (sources: LabSources): Promise<Record<string, number>> => {
  const commands = await Promise.all(
    Object.values(sources).map(async ({ url, commit }) => {
      const listed = ['ls-tree', '-r', '--name-only', '--full-tree', commit];
      const names = (await run(['git', '-c', 'safe.directory=*', '-C', url, ...listed])).split('\n');
      return names.some((name) => /(?:^|\/)\.gitattributes$/.test(name)) ? 12 : 11;
    }),
  );
  return {
    containers: 2,
    starts: 2,
    copies: 6,
    removals: 2,
    git: commands.reduce((sum, one) => sum + one, 0),
  };
};
