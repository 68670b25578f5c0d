import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { docker } from './docker.js';
import { hashOf, hashOfFiles } from './hash.js';
import { builderImage } from './images.js';
import { withLock } from './lock.js';
import { CACHE, HERE } from './paths.js';
import { say, timed } from './progress.js';
import { DECOYS, DEVELOPMENT } from './repository/development.js';
import { debOf, type RpmRecipe } from './repository/recipe.js';
import { nevraOf, parseControl, partsOf, specOf, type DebControl } from './repository/specs.js';
import { SYSTEM } from './repository/system.js';

const SCRIPTS = path.join(HERE, 'repository');

export interface LabRepository {
  /** Folder with `Packages/`, `repodata/` and the public key; what a web server serves. */
  readonly dir: string;
  /** The armoured public key that signed every package. */
  readonly keyFile: string;
  /** Changes when any package does. */
  readonly identity: string;
  /** File names, in `Packages/`, of what a node's base system holds. */
  readonly baseRpms: readonly string[];
  /** Debian packages that make up that base system. */
  readonly baseDebs: readonly string[];
}

const archOf = (recipe: RpmRecipe): string => recipe.arch ?? 'x86_64';
const targetOf = (recipe: RpmRecipe): string => `${recipe.name}.${archOf(recipe)}`;
const unique = (words: readonly string[]): string[] => [...new Set(words)].sort();
const debsOf = (recipes: readonly RpmRecipe[]): string[] =>
  unique(recipes.flatMap((recipe) => recipe.debs.map(debOf)));

const ALL: readonly RpmRecipe[] = [...DEVELOPMENT, ...SYSTEM, ...DECOYS];

const inContainer = async (
  image: string,
  mounts: Readonly<Record<string, string>>,
  script: string,
): Promise<void> => {
  await docker([
    ...['run', '--rm', '--network', 'host', '--ulimit', 'nofile=1024:1024', '--tmpfs', '/tmp:exec'],
    ...Object.entries(mounts).flatMap(([to, from]) => ['-v', `${from}:${to}`]),
    ...['-v', `${SCRIPTS}:/scripts:ro`, image, 'sh', `/scripts/${script}`],
  ]);
};

const writeExtra = async (folder: string, recipe: RpmRecipe): Promise<void> => {
  for (const dir of recipe.dirs ?? []) {
    await mkdir(path.join(folder, dir), { recursive: true });
    if (dir === '/tmp' || dir === '/var/tmp') await chmod(path.join(folder, dir), 0o1777);
  }
  for (const [name, target] of Object.entries(recipe.links ?? {})) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await symlink(target, path.join(folder, name));
  }
  for (const [name, text] of Object.entries(recipe.files ?? {})) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
};

const writeSpecs = async (folder: string, control: ReadonlyMap<string, DebControl>): Promise<void> => {
  await mkdir(folder, { recursive: true });
  for (const recipe of ALL) {
    const stem = path.join(folder, targetOf(recipe));
    await writeFile(`${stem}.spec`, specOf(recipe, ALL, control));
    await writeFile(`${stem}.parts`, partsOf(recipe, control));
    await writeExtra(`${stem}.extra`, recipe);
  }
};

const rpmFileOf = (recipe: RpmRecipe, control: ReadonlyMap<string, DebControl>): string => {
  const { version, release } = nevraOf(recipe, control);
  return `${recipe.name}-${version}-${release}.${archOf(recipe)}.rpm`;
};

const build = async (folder: string): Promise<void> => {
  const image = await builderImage();
  const debs = path.join(CACHE, 'debs');
  const keys = path.join(CACHE, 'gpg');
  await mkdir(debs, { recursive: true });
  await mkdir(keys, { recursive: true, mode: 0o700 });
  const wanted = debsOf(ALL);
  await writeFile(path.join(folder, 'debs.list'), `${wanted.join('\n')}\n`);
  await timed(`download ${wanted.length} Debian packages`, () =>
    inContainer(image, { '/work': folder, '/debs': debs }, 'fetch-debs.sh'),
  );
  const control = parseControl(await readFile(path.join(folder, 'control.tsv'), 'utf8'));
  await writeSpecs(path.join(folder, 'specs'), control);
  await writeFile(path.join(folder, 'targets'), `${ALL.map(targetOf).join('\n')}\n`);
  await timed(`build and sign ${ALL.length} RPMs`, () =>
    inContainer(image, { '/work': folder, '/debs': debs, '/keys': keys }, 'build-rpms.sh'),
  );
};

const describe = async (folder: string): Promise<LabRepository> => {
  const control = parseControl(await readFile(path.join(folder, 'control.tsv'), 'utf8'));
  const dir = path.join(folder, 'repo');
  return {
    dir,
    keyFile: path.join(dir, 'RPM-GPG-KEY-airbundle-lab'),
    identity: hashOf([await readFile(path.join(dir, 'SHA256SUMS'))]),
    baseRpms: SYSTEM.map((recipe) => rpmFileOf(recipe, control)),
    baseDebs: debsOf(SYSTEM),
  };
};

const exists = (file: string): Promise<boolean> =>
  readFile(file).then(
    () => true,
    () => false,
  );

/**
 * The EL7-shaped yum repository, made from Debian 11 packages on the first call and taken from
 * `.lab/cache` afterwards.
 * @throws LabError when a package cannot be had or built, or when the set is not closed
 */
export const labRepository = async (): Promise<LabRepository> => {
  const inputs = ['fetch-debs.sh', 'build-rpm.sh', 'build-rpms.sh', 'specs.ts'];
  const hash = await hashOfFiles(
    inputs.map((name) => path.join(SCRIPTS, name)),
    [JSON.stringify(ALL)],
  );
  const folder = path.join(CACHE, `repository-${hash}`);
  const done = path.join(folder, 'repo', 'SHA256SUMS');
  if (await exists(done)) return describe(folder);
  return withLock('repository', async () => {
    if (!(await exists(done))) {
      await mkdir(CACHE, { recursive: true });
      const scratch = await mkdtemp(path.join(CACHE, 'making-repository-'));
      try {
        await build(scratch);
        await rm(folder, { recursive: true, force: true });
        await rename(scratch, folder);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
      say(`repository in ${folder}`);
    }
    return describe(folder);
  });
};
