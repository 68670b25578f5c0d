import { mkdir, mkdtemp, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { attempt, docker, run } from './docker.js';
import { LabError } from './errors.js';
import { hashOfFiles } from './hash.js';
import { builderImage } from './images.js';
import { withLock } from './lock.js';
import { CACHE, HERE } from './paths.js';
import { timed } from './progress.js';

const SCRIPTS = path.join(HERE, 'sources');
const PAIR = ['haproxy', 'keepalived'] as const;
type Component = (typeof PAIR)[number] | 'redis';

export interface LabSource {
  /** Path of a git repository on this host. */
  readonly url: string;
  /** Tag, such as `v2.3.0`. */
  readonly ref: string;
  /** Upstream's version, such as `2.3.0`. */
  readonly version: string;
  /** 40 hex digits. */
  readonly commit: string;
  /** Which source set this is, for a person. */
  readonly origin: string;
}

export type LabSources = Readonly<Record<(typeof PAIR)[number], LabSource>>;

const git = (repository: string, args: readonly string[]): Promise<string> =>
  // A clone that another user owns may be read here: nothing in it is run.
  run(['git', '-c', 'safe.directory=*', '-C', repository, ...args]);

const sourceOf = async (url: string, ref: string, origin: string): Promise<LabSource> => ({
  url,
  ref,
  version: ref.replace(/^v/, ''),
  commit: (await git(url, ['rev-parse', '--verify', `refs/tags/${ref}^{commit}`])).trim(),
  origin,
});

/** True for a bare repository and for the top folder of a clone, not for a folder inside one. */
const isGit = async (folder: string): Promise<boolean> => {
  if ((await stat(folder).catch(() => undefined))?.isDirectory() !== true) return false;
  const argv = ['git', '-c', 'safe.directory=*', '-C', folder, 'rev-parse', '--git-dir'];
  return ['.', '.git'].includes((await attempt(argv)).stdout.trim());
};

const gitFoldersIn = async (folder: string): Promise<string[]> => {
  const found: string[] = [];
  for (const name of (await readdir(folder)).sort())
    for (const candidate of [path.join(folder, name), path.join(folder, name, 'repo')])
      if (await isGit(candidate)) found.push(candidate);
  return found;
};

/** The tag wanted, or the newest of the given lines. */
const tagIn = async (repository: string, wanted: string, lines: RegExp): Promise<string | undefined> => {
  const tags = (await git(repository, ['tag', '--sort=-version:refname'])).split('\n');
  return tags.includes(wanted) ? wanted : tags.find((tag) => lines.test(tag));
};

const WANTED: Readonly<Record<Component, { tag: string; lines: RegExp }>> = {
  haproxy: { tag: 'v2.3.0', lines: /^v2\.[23]\.\d+$/ },
  keepalived: { tag: 'v2.1.5', lines: /^v2\.1\.\d+$/ },
  redis: { tag: '6.2.16', lines: /^6\.2\.\d+$/ },
};

const cloneIn = async (folder: string, component: Component): Promise<LabSource> => {
  const { tag, lines } = WANTED[component];
  for (const clone of await gitFoldersIn(folder)) {
    const words = path.relative(folder, clone).split(/[/+]/);
    if (!words.some((word) => word.startsWith(component))) continue;
    const found = await tagIn(clone, tag, lines);
    if (found !== undefined) return sourceOf(clone, found, `clone ${clone}`);
  }
  throw new LabError(
    `no git repository of ${component} with the tag ${tag} in ${folder}`,
    `put one at ${path.join(folder, component)}, or leave --sources out to use Debian's`,
  );
};

/** Upstream's way of naming a release. */
const tagOf = (component: Component, version: string): string =>
  component === 'redis' ? version : `v${version}`;

const importDebian = async (folder: string, components: readonly Component[]): Promise<void> => {
  const image = await builderImage();
  await docker([
    ...['run', '--rm', '--network', 'host', '-v', `${folder}:/out`],
    ...['-v', `${SCRIPTS}:/scripts:ro`, image, 'sh', '/scripts/unpack.sh', ...components],
  ]);
  for (const component of components) {
    const tree = path.join(folder, component);
    const tag = tagOf(component, await versionIn(folder, component));
    await run(['sh', path.join(SCRIPTS, 'import.sh'), tree, `${tree}.git`, tag]);
    await rm(tree, { recursive: true });
  }
};

const wordIn = async (folder: string, component: Component, what: string): Promise<string> =>
  (await readFile(path.join(folder, `${component}.${what}`), 'utf8')).trim();

const versionIn = (folder: string, component: Component): Promise<string> =>
  wordIn(folder, component, 'version');

/** Imported together on the first call, and kept. @returns the folder */
const debianSources = async (components: readonly Component[]): Promise<string> => {
  const hash = await hashOfFiles(
    ['unpack.sh', 'import.sh'].map((name) => path.join(SCRIPTS, name)),
    components,
  );
  const folder = path.join(CACHE, `sources-${hash}`);
  const exists = (): Promise<boolean> =>
    stat(folder).then(
      () => true,
      () => false,
    );
  if (!(await exists()))
    await withLock('sources', async () => {
      if (await exists()) return;
      await mkdir(CACHE, { recursive: true });
      const scratch = await mkdtemp(path.join(CACHE, 'making-sources-'));
      try {
        await timed(`import Debian's sources of ${components.join(' and ')}`, () =>
          importDebian(scratch, components),
        );
        await rename(scratch, folder);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    });
  return folder;
};

const debianSource = async (folder: string, component: Component): Promise<LabSource> =>
  sourceOf(
    path.join(folder, `${component}.git`),
    tagOf(component, await versionIn(folder, component)),
    await wordIn(folder, component, 'origin'),
  );

/**
 * Git repositories of haproxy and keepalived on this host.
 * @param clones folder with clones of the real upstreams; without it, Debian's source packages: haproxy of 11,
 *   keepalived of 11 or, where the mirror lacks that, of 12
 * @throws LabError when `clones` lacks one, or when Debian's cannot be downloaded
 */
export const labSources = async (clones?: string): Promise<LabSources> => {
  if (clones !== undefined) {
    const folder = path.resolve(clones);
    return { haproxy: await cloneIn(folder, 'haproxy'), keepalived: await cloneIn(folder, 'keepalived') };
  }
  const folder = await debianSources(PAIR);
  return {
    haproxy: await debianSource(folder, 'haproxy'),
    keepalived: await debianSource(folder, 'keepalived'),
  };
};

/**
 * The same for Redis: upstream's own 6.0.16 as Debian 11 carries it, or 6.2 from a clone in `clones`.
 * @throws LabError
 */
export const redisSource = async (clones?: string): Promise<LabSource> =>
  clones === undefined
    ? debianSource(await debianSources(['redis']), 'redis')
    : cloneIn(path.resolve(clones), 'redis');

/** A folder as a repository of its own, with one commit and a tag. @param bare where it is made */
export const folderSource = async (folder: string, bare: string, ref: string): Promise<LabSource> => {
  await run(['sh', path.join(SCRIPTS, 'import.sh'), folder, bare, ref]);
  return sourceOf(bare, ref, `folder ${folder}`);
};
