import { basename, dirname } from 'node:path';
import { z } from 'zod';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { unowned } from './rpm.js';
import { rpmLabel } from './rpm-erase.js';
import { rpmHeaders } from './rpm-headers.js';

/**
 * What rpm unpacks and its database does not know yet. rpm unpacks all of a package before it writes the package
 * into its database, each file under `NAME;XXXXXXXX` first: one that is killed leaves files, folders and such names
 * that no package owns and no `rpm -e` removes. So the paths of a step's packages are on disk before rpm begins, with
 * which of them were there before, until the step is done or taken back.
 */
const ListSchema = z.strictObject({
  airbundleUnpacking: z.literal(1),
  paths: z.array(
    z.strictObject({
      path: z.string().startsWith('/'),
      kind: z.enum(['file', 'link', 'directory']),
      /** SHA-256 of a file, what a link says; null: not known (a folder, or an RPM with older digests). */
      content: z.string().nullable(),
      /** There was nothing at this path before. */
      isNew: z.boolean(),
    }),
  ),
});
type Unpacked = z.infer<typeof ListSchema>['paths'][number];
export type PackagedFile = Omit<Unpacked, 'isNew'>;

/** Of RPM files and of installed packages; for parseFiles. */
export const FILES_FORMAT =
  '[%{FILENAMES}\\t%{FILEMODES}\\t%{FILEFLAGS}\\t%{FILEDIGESTS}\\t%{FILELINKTOS}\\n]';
const GHOST = 0o100;
const KINDS: Readonly<Record<number, Unpacked['kind']>> = {
  0o100000: 'file',
  0o120000: 'link',
  0o040000: 'directory',
};

/** Pure: what `rpm -qp --queryformat FILES_FORMAT` prints, without what rpm does not unpack (%ghost) and devices. */
export function parseFiles(text: string): PackagedFile[] {
  return text.split('\n').flatMap((line) => {
    const [path, mode, flags, digest, link] = line.split('\t');
    const kind = KINDS[Number(mode) & 0o170000];
    if (path?.startsWith('/') !== true || kind === undefined || (Number(flags) & GHOST) !== 0) return [];
    const content = kind === 'file' ? digest : kind === 'link' ? link : undefined;
    const isKnown = content !== undefined && (kind === 'link' || /^[0-9a-f]{64}$/.test(content));
    return [{ path, kind, content: isKnown ? content : null }];
  });
}

/** An RPM step that is at work. */
export interface Unpacking {
  /** Call when all packages are in: what a killed rpm had half written goes, and nothing is remembered. */
  done(): Promise<void>;
}

/**
 * Remembers what is there, before rpm begins.
 * @param rpms paths of the RPM files
 * @param read what they unpack, where their headers were read already
 * @throws BundleError exit 6 when rpm cannot read them
 */
export async function beginUnpacking(
  host: Host,
  rpms: readonly string[],
  read?: readonly PackagedFile[],
): Promise<Unpacking> {
  const files = read ?? parseFiles(await rpmHeaders(host, FILES_FORMAT, rpms));
  const { paths: before } = await readList(host);
  // What was new to a killed run is still new: nothing else than its rpm put it there.
  const known = new Map(before.map((one) => [one.path, one]));
  for (const one of files) {
    if (known.has(one.path)) continue;
    const isNew = (await host.lstat(one.path)) === undefined;
    known.set(one.path, { ...one, isNew });
    // rpm makes folders on the way that no package lists.
    for (let at = dirname(one.path); isNew && !known.has(at); at = dirname(at)) {
      if ((await host.lstat(at)) !== undefined) break;
      known.set(at, { path: at, kind: 'directory', content: null, isNew: true });
    }
  }
  const paths = [...known.values()];
  // Their owner may live on alone for a while: what is still there when this run's rpm has ended is nobody's.
  const halfWritten = await findHalfWritten(host, before);
  await host.writeDurable(target.unpacking, `${JSON.stringify({ airbundleUnpacking: 1, paths })}\n`, {
    mode: 0o600,
  });
  return {
    async done() {
      for (const path of halfWritten) await host.remove(path);
      await host.remove(target.unpacking);
    },
  };
}

/** What a killed rpm left, and whether everything of it could be judged. */
export interface LeftByRpm {
  /** Files, links and half-written files that no package owns, then folders, the innermost first. */
  readonly paths: readonly { readonly path: string; readonly isFolder: boolean }[];
  /** What stays, and why. */
  readonly problems: readonly string[];
}

/** Looks only; the packages that the database knows are erased by rpm, and theirs is what they own. */
export async function leftByRpm(host: Host): Promise<LeftByRpm> {
  const { paths: listed, problem } = await readList(host);
  const there: Unpacked[] = [];
  for (const one of listed) if (one.isNew && (await host.lstat(one.path)) !== undefined) there.push(one);
  const free = await unowned(
    host,
    there.map(({ path }) => path),
  );
  const paths = (await findHalfWritten(host, listed)).map((path) => ({ path, isFolder: false }));
  const folders: string[] = [];
  const problems = problem === undefined ? [] : [problem];
  for (const one of there.filter(({ path }) => free.has(path)))
    if (one.kind === 'directory') folders.push(one.path);
    else if (await isAsUnpacked(host, one)) paths.push({ path: one.path, isFolder: false });
    else problems.push(`${one.path} stays: it is of no package, and not as the RPM has it`);
  folders.sort((a, b) => b.length - a.length);
  return { paths: [...paths, ...folders.map((path) => ({ path, isFolder: true }))], problems };
}

/**
 * Files of an installed package in whose place a killed rpm has put those of the version that was to follow it,
 * which its database does not know yet.
 */
export async function overwrittenFiles(host: Host, owner: Nevra): Promise<string[]> {
  const listed = (await readList(host)).paths.filter(({ isNew, content }) => !isNew && content !== null);
  if (listed.length === 0) return [];
  const { stdout } = await host.run(['rpm', '-q', '--queryformat', FILES_FORMAT, rpmLabel(owner)]);
  const own = new Map(parseFiles(stdout).map((one) => [one.path, one.content]));
  const found: string[] = [];
  for (const one of listed)
    if (own.has(one.path) && own.get(one.path) !== one.content && (await isAsUnpacked(host, one)))
      found.push(one.path);
  return found;
}

/**
 * Removes what a killed rpm left; call when rpm has erased what its database knew.
 * @returns what stays, and why
 */
export async function removeLeftByRpm(host: Host): Promise<readonly string[]> {
  const { paths, problems } = await leftByRpm(host);
  for (const { path, isFolder } of paths)
    if (isFolder) await host.removeDirectory(path);
    else await host.remove(path);
  await host.remove(target.unpacking);
  return problems;
}

async function readList(
  host: Host,
): Promise<{ readonly paths: readonly Unpacked[]; readonly problem?: string }> {
  const bytes = await host.read(target.unpacking);
  if (bytes === undefined) return { paths: [] };
  try {
    return { paths: ListSchema.parse(JSON.parse(bytes.toString('utf8'))).paths };
  } catch {
    return {
      paths: [],
      problem: `what a killed rpm left cannot be told: ${target.unpacking} is not of the form of this version`,
    };
  }
}

async function isAsUnpacked(host: Host, { path, kind, content }: Unpacked): Promise<boolean> {
  if (content === null) return false;
  return (kind === 'link' ? await host.readlink(path) : await host.sha256(path)) === content;
}

/** rpm's own temporary names (fsm.c: ";%08x", the time of its transaction) of these paths. */
async function findHalfWritten(host: Host, listed: readonly Unpacked[]): Promise<string[]> {
  const names = new Map<string, Set<string>>();
  for (const { path, kind } of listed) {
    if (kind === 'directory') continue;
    const folder = dirname(path);
    names.set(folder, (names.get(folder) ?? new Set()).add(basename(path)));
  }
  const found: string[] = [];
  for (const [folder, wanted] of names)
    for (const name of await host.list(folder)) {
      const whole = /^(.+);[0-9a-f]{8}$/.exec(name)?.[1];
      if (whole === undefined || !wanted.has(whole)) continue;
      const path = folder === '/' ? `/${name}` : `${folder}/${name}`;
      if ((await host.lstat(path))?.kind !== 'directory') found.push(path);
    }
  return found;
}
