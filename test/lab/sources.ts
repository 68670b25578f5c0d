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
const COMPONENTS = ['haproxy', 'keepalived'] as const;
type Component = (typeof COMPONENTS)[number];

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

export type LabSources = Readonly<Record<Component, LabSource>>;

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
};

const clonesIn = async (folder: string): Promise<LabSources> => {
  const clones = await gitFoldersIn(folder);
  const find = async (component: Component): Promise<LabSource> => {
    const { tag, lines } = WANTED[component];
    for (const clone of clones) {
      if (
        !path
          .relative(folder, clone)
          .split(/[/+]/)
          .some((word) => word.startsWith(component))
      )
        continue;
      const found = await tagIn(clone, tag, lines);
      if (found !== undefined) return sourceOf(clone, found, `clone ${clone}`);
    }
    throw new LabError(
      `no git repository of ${component} with the tag ${tag} in ${folder}`,
      `put one at ${path.join(folder, component)}, or leave --sources out to use Debian's`,
    );
  };
  return { haproxy: await find('haproxy'), keepalived: await find('keepalived') };
};

const importDebian = async (folder: string): Promise<void> => {
  const image = await builderImage();
  await docker([
    ...['run', '--rm', '--network', 'host', '-v', `${folder}:/out`],
    ...['-v', `${SCRIPTS}:/scripts:ro`, image, 'sh', '/scripts/unpack.sh'],
  ]);
  for (const component of COMPONENTS) {
    const tree = path.join(folder, component);
    const tag = `v${await versionIn(folder, component)}`;
    await run(['sh', path.join(SCRIPTS, 'import.sh'), tree, `${tree}.git`, tag]);
    await rm(tree, { recursive: true });
  }
};

const wordIn = async (folder: string, component: Component, what: string): Promise<string> =>
  (await readFile(path.join(folder, `${component}.${what}`), 'utf8')).trim();

const versionIn = (folder: string, component: Component): Promise<string> =>
  wordIn(folder, component, 'version');

const debianSources = async (): Promise<LabSources> => {
  const hash = await hashOfFiles(['unpack.sh', 'import.sh'].map((name) => path.join(SCRIPTS, name)));
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
        await timed("import Debian's sources of haproxy and keepalived", () => importDebian(scratch));
        await rename(scratch, folder);
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    });
  const source = async (component: Component): Promise<LabSource> =>
    sourceOf(
      path.join(folder, `${component}.git`),
      `v${await versionIn(folder, component)}`,
      await wordIn(folder, component, 'origin'),
    );
  return { haproxy: await source('haproxy'), keepalived: await source('keepalived') };
};

/**
 * Git repositories of haproxy and keepalived on this host.
 * @param clones folder with clones of the real upstreams; without it, Debian's source packages: haproxy of 11,
 *   keepalived of 11 or, where the mirror lacks that, of 12
 * @throws LabError when `clones` lacks one, or when Debian's cannot be downloaded
 */
export const labSources = (clones?: string): Promise<LabSources> =>
  clones === undefined ? debianSources() : clonesIn(path.resolve(clones));
