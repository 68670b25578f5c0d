import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A project with the real build script and small entries. */
async function plant(folder: string): Promise<void> {
  await mkdir(join(folder, 'src/install'), { recursive: true });
  await cp(join(root, 'scripts'), join(folder, 'scripts'), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'package.json'), '{ "type": "module", "version": "1.2.3" }');
  await writeFile(join(folder, 'src/words.ts'), `export const words: string = 'it works';\n`);
  await writeFile(
    join(folder, 'src/cli.ts'),
    `import { z } from 'zod';\nimport { words } from './words.js';\nconsole.log(z.string().parse(words));\n`,
  );
  await writeFile(
    join(folder, 'src/installer.ts'),
    `import { create } from 'tar';\nimport { z } from 'zod';\nimport { words } from './words.js';\n` +
      `console.log(typeof create, z.string().parse(words));\n`,
  );
  await writeFile(join(folder, 'src/install/install.sh'), '#!/bin/sh\n');
}

async function bytesIn(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)),
  );
}

describe('the build', () => {
  let folder: string;
  let first: string;
  let messages: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airbundle-build-'));
    first = join(folder, 'first');
    await plant(first);
    messages = (await execa(process.execPath, ['scripts/build.mjs'], { cwd: first })).stdout;
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('gives the same bytes in another folder, started from elsewhere', async () => {
    const second = join(folder, 'deeper/and/second');
    await plant(second);
    await execa(process.execPath, [join(second, 'scripts/build.mjs')], { cwd: '/' });
    expect(await bytesIn(join(second, 'build'))).toEqual(await bytesIn(join(first, 'build')));
  });

  it('makes an installer that runs without node_modules', async () => {
    const alone = join(folder, 'alone');
    await mkdir(alone);
    await cp(join(first, 'build/installer.cjs'), join(alone, 'installer.cjs'));
    const { stdout } = await execa(join(alone, 'installer.cjs'), { cwd: alone });
    expect(stdout).toBe('function it works');
  });

  it('makes a command that can be started by its name', async () => {
    expect((await execa(join(first, 'build/cli.js'))).stdout).toBe('it works');
  });

  it('names no folder of the machine that built it', async () => {
    for (const [name, text] of Object.entries(await bytesIn(join(first, 'build')))) {
      expect(text.includes(folder), name).toBe(false);
      expect(text.includes(root), name).toBe(false);
    }
  });

  it('brings the licences of what the installer holds, and only of that', async () => {
    const licences = await readFile(join(first, 'build/THIRD-PARTY-LICENCES.txt'), 'utf8');
    expect(licences).toMatch(/^zod \d.* \(MIT\)$/m);
    expect(licences).toMatch(/^minipass \d.* \(BlueOak-1\.0\.0\)$/m);
    expect(licences).not.toContain('esbuild');
  });

  it('leaves the installer readable', async () => {
    const lines = (await readFile(join(first, 'build/installer.cjs'), 'utf8')).split('\n');
    expect(lines.filter((line) => line.length > 2_000)).toEqual([]);
  });

  it('says which entries are not there', () => {
    expect(messages).toContain('skipped deploy.cjs: there is no src/deploy.ts yet');
  });
});
