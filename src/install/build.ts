import { join } from 'node:path';
import type { BundleError } from '../errors.js';
import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { JobShare } from '../host/job-slots.js';
import type { Argv, LoggedOptions } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import type { BundledComponent } from '../model/contents.js';
import { isReserved, RESERVED, target } from '../model/layout.js';
import type { BuildWay } from '../model/packages.js';
import { plain } from '../model/plain.js';
import type { Step } from '../report.js';
import { formatBytes } from '../report.js';
import { folderInRoot, insideRoot } from './build-root.js';
import { confinement } from './confinement.js';
import type { BuildJob } from './plan.js';

/** One regular file under DESTDIR that the node gets. */
export interface BuiltFile {
  /** Where it is now. */
  readonly from: string;
  /** Where it goes. */
  readonly path: string;
  readonly mode: 0o644 | 0o755;
}

export interface Built {
  readonly component: BundledComponent;
  readonly files: readonly BuiltFile[];
}

/** DESTDIR is written by the build's own user: a run-away build must not fill the node's memory with names. */
const MAX_ENTRIES = 20_000;

/** A file with holes is as large as it says once it is copied. */
const MAX_OUTPUT_BYTES = 4 * 1024 ** 3;

const COMMAND_TIMEOUT_MS = 30 * 60_000;

/** The folder is always the same, so that the same source gives the same binary (FACTS). */
export function buildFolders(component: string): {
  top: string;
  source: string;
  destdir: string;
  home: string;
  temporary: string;
} {
  const top = join(target.build, component);
  const under = (name: string): string => join(top, name);
  return {
    top,
    source: under('source'),
    destdir: under('destdir'),
    home: under('home'),
    temporary: under('tmp'),
  };
}

/**
 * Removes a component's folder, as far as there is one. It is closed first: a build may have opened what is its own to
 * everybody, who could put names in there as fast as rm takes them out.
 * @param top directly in a folder that only root may write
 */
export async function removeBuildFolder(host: Host, top: string): Promise<void> {
  const facts = await host.lstat(top);
  if (facts?.kind === 'directory') await host.makeDirectory(top, { mode: 0o700 });
  await host.remove(top);
}

/** Where one component is built. */
interface BuildPlace {
  /** Its folders as the node sees them. */
  readonly folders: ReturnType<typeof buildFolders>;
  /** DESTDIR as the build sees it. */
  readonly destdir: string;
  /** The command and how it is started, in the source. */
  start(argv: Argv): { readonly argv: Argv; readonly options: Pick<LoggedOptions, 'cwd' | 'uid' | 'gid'> };
}

/** As an unprivileged user of the node. */
function onHost({ component, uid }: BuildJob): BuildPlace {
  const folders = buildFolders(component.name);
  return {
    folders,
    destdir: folders.destdir,
    start: (argv) => ({ argv, options: { cwd: folders.source, uid, gid: uid } }),
  };
}

/** The same folders, in a root of their own: the same paths give the same binary. */
async function inRoot(host: Host, { component, uid }: BuildJob): Promise<BuildPlace> {
  const inside = buildFolders(component.name);
  const top = await folderInRoot(host, inside.top);
  const at = (path: string): string => join(top, path.slice(inside.top.length));
  return {
    folders: {
      top,
      source: at(inside.source),
      destdir: at(inside.destdir),
      home: at(inside.home),
      temporary: at(inside.temporary),
    },
    destdir: inside.destdir,
    start: (argv) => ({ argv: insideRoot(argv, uid, inside.source), options: {} }),
  };
}

export interface BuildOptions {
  /** For `make -j {jobs}`: processors of the node. */
  readonly jobs: number;
  /** Its share of that number, where other components are built at the same time. */
  readonly share?: JobShare;
  /** Asked now and then; true ends the build. */
  readonly stop: () => boolean;
  readonly way: BuildWay;
}

/**
 * Builds one component as an unprivileged user and says which files it made.
 * @param sourceTar the component's verified source, readable by root only
 * @throws BundleError exit 6, with the log's last lines
 */
export async function buildComponent(
  host: Host,
  job: BuildJob,
  sourceTar: string,
  options: BuildOptions,
  step: Step,
): Promise<Built> {
  const { component, uid } = job;
  const log = `${target.log}/build-${component.name}.log`;
  // A killed installer leaves its build running.
  await endProcessesOf(host, uid);
  const place = options.way === 'isolated' ? await inRoot(host, job) : onHost(job);
  const { folders } = place;
  const { home, temporary } = buildFolders(component.name);
  await removeBuildFolder(host, folders.top);
  await host.remove(log);
  await host.makeDirectory(folders.top, { mode: 0o711 });
  for (const folder of [folders.source, folders.destdir, folders.home, folders.temporary])
    await host.makeDirectory(folder, { mode: 0o700, uid, gid: uid });

  const confined = await confinement(host, options.way);
  const command = async (
    argv: Argv,
    started: ReturnType<BuildPlace['start']>,
    { inputFile, share }: { inputFile?: string; share?: JobShare } = {},
  ): Promise<void> => {
    const shared =
      share === undefined ? '' : '# make: its jobs are counted together with those of the other builds\n';
    await host.append(log, `\n${shared}$ ${argv.join(' ')}\n`);
    const result = await host.runLogged(confined(started.argv), log, {
      ...started.options,
      // Nothing of the build stays in /tmp, and a /tmp mounted noexec does not matter.
      env: {
        HOME: home,
        TMPDIR: temporary,
        ...(share === undefined ? {} : { MAKEFLAGS: share.makeFlags }),
      },
      ...(share === undefined ? {} : { descriptors: share.descriptors }),
      timeoutMs: COMMAND_TIMEOUT_MS,
      ...(inputFile === undefined ? {} : { inputFile }),
      onNote: (line) => {
        step.note(line.trim().slice(0, 60));
      },
      stop: options.stop,
    });
    if (result.stopped)
      throw stepError({
        code: 'INTERRUPTED',
        message: 'stopped as asked',
        where: `step build, component ${component.name}, ${argv.join(' ')}`,
        hint: 'To go on, run the same command again.',
      });
    if (result.exitCode === 0) return;
    throw stepError({
      code: 'BUILD_FAILED',
      message: `${component.name}: ${argv.join(' ')} ${outcome(result)}`,
      where: `step build, component ${component.name}, log ${log}`,
      details: lastLines(result),
      hint: [
        `Nothing that runs was changed. Read ${log}; mend the cause and run the same command again.`,
        ...(options.way === 'isolated'
          ? [
              'The root holds only the RPMs of the bundle: a program that it lacks belongs to "packages" in the manifest.',
            ]
          : []),
      ].join('\n'),
    });
  };

  try {
    const fill = (word: string): string =>
      word.replaceAll('{jobs}', String(options.jobs)).replaceAll('{destdir}', place.destdir);
    const run = (words: readonly string[]): Promise<void> => {
      const { share } = options;
      const sharing = share === undefined ? undefined : withoutJobs(words);
      const argv = argvOf(sharing ?? words, fill);
      return command(argv, place.start(argv), share === undefined || sharing === undefined ? {} : { share });
    };
    // By the node's own tar: a root of the bundle's RPMs may have none.
    const unpack: Argv = ['tar', '-x', '-f', '-', '--no-same-owner', '--strip-components=1'];
    await command(
      unpack,
      { argv: unpack, options: { cwd: folders.source, uid, gid: uid } },
      { inputFile: sourceTar },
    );
    for (const words of [...component.build, component.install]) await run(words);
    if (component.smoke !== undefined) await run(component.smoke);
  } finally {
    await endProcessesOf(host, uid);
  }
  return { component, files: await collect(host, component, folders.destdir, uid) };
}

/**
 * The words of a make that takes its jobs from slots: without `-j {jobs}`, which would make it count by itself.
 * @returns undefined for any other command
 */
export function withoutJobs(words: readonly string[]): readonly string[] | undefined {
  if (!MAKES.includes(words[0] ?? '')) return undefined;
  const at = words.findIndex(
    (word, index) => /^(?:-j|--jobs=)\{jobs\}$/.test(word) || isTwoWords(words, index),
  );
  if (at < 0) return undefined;
  return [...words.slice(0, at), ...words.slice(at + (isTwoWords(words, at) ? 2 : 1))];
}

/** Names under which the node has GNU make. */
const MAKES = ['make', 'gmake', '/usr/bin/make', '/usr/bin/gmake'];

function isTwoWords(words: readonly string[], at: number): boolean {
  return /^(?:-j|--jobs)$/.test(words[at] ?? '') && words[at + 1] === '{jobs}';
}

function argvOf(words: readonly string[], fill: (word: string) => string): Argv {
  const [command = '', ...rest] = words.map(fill);
  return [command, ...rest];
}

/** Ends everything that still runs as the build's user: from here on its files stay as they are. */
export async function endProcessesOf(host: Host, uid: number): Promise<void> {
  for (let round = 0; round < 50; round += 1) {
    if ((await processesOf(host, uid)).length === 0) return;
    // As that user, "everybody" is its own processes, all in one call: nothing can fork away from it.
    await host.run(['sh', '-c', 'kill -KILL -1'], { uid, gid: uid });
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw stepError({
    code: 'BUILD_PROCESSES',
    message: `processes of the build's user ${String(uid)} do not end`,
    where: 'step build',
    hint: `See: ps -U ${String(uid)}`,
  });
}

/** From /proc: what cannot be started (ps) would look like "none". Zombies do nothing any more. */
async function processesOf(host: Host, uid: number): Promise<string[]> {
  const pids = (await host.list('/proc')).filter((name) => /^\d+$/.test(name));
  const found: string[] = [];
  for (const pid of pids) {
    const status = (await host.read(`/proc/${pid}/status`).catch(() => undefined))?.toString('latin1') ?? '';
    const uids = /^Uid:\s+(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
    if (uids.includes(String(uid)) && !/^State:\s+Z/m.test(status)) found.push(pid);
  }
  return found;
}

/**
 * What is under DESTDIR, against what the component declares. DESTDIR is treated as hostile: it is taken from
 * the build's user first, so that the paths that are returned stay what they were found to be; then only
 * regular files without setuid are taken, and the declared links; nothing at a place that decides whom the node
 * trusts (a glob of the manifest shows only here what it matches).
 * @param uid who built it, whose processes have ended: a hard link to somebody else's file is refused
 * @throws BundleError exit 6 with every problem
 */
export async function collect(
  host: Host,
  component: Pick<BundledComponent, 'name' | 'files' | 'discard' | 'links'>,
  destdir: string,
  uid: number,
): Promise<BuiltFile[]> {
  const bad = (message: string, details: readonly string[] = []): BundleError =>
    stepError({
      code: 'BUILD_OUTPUT',
      message: `${component.name}: ${message}`,
      where: `step build, component ${component.name}, ${destdir}`,
      details: details.slice(0, 20),
      hint: 'Nothing was moved. Send this to the packager: it has to be declared in the manifest (files, links or discard), or not made, in a new bundle.',
    });
  const { entries, foreign, isWhole } = await host.seal(destdir, uid, MAX_ENTRIES);
  if (!isWhole) throw bad(`the build made more than ${String(MAX_ENTRIES)} files, or folders too deep`);
  const wanted = await matches(component.files, destdir);
  const discarded = await matches(component.discard, destdir);

  const problems = foreign.map((path) => `${plain(path)} is a folder of another user`);
  const files: BuiltFile[] = [];
  const links = new Set<string>();
  let totalBytes = 0;
  for (const { path, isText, kind, mode, uid: owner, sizeBytes } of entries) {
    if (!isText || plain(path) !== path) problems.push(`${plain(path)} has a name that is no plain text`);
    else if (kind === 'directory') continue;
    else if (kind === 'link') {
      if (component.links.some((link) => link.path === path)) {
        links.add(path);
        if (isReserved(path)) problems.push(`${path} ${RESERVED}`);
      } else if (!discarded.all.has(path)) problems.push(`${path} is a symbolic link that is not declared`);
    } else if (kind !== 'file') problems.push(`${path} is neither a file nor a link`);
    else if (owner !== uid) problems.push(`${path} belongs to another user: a hard link out of the build`);
    else if ((mode & 0o7000) !== 0) problems.push(`${path} is setuid, setgid or sticky`);
    else if (discarded.all.has(path)) continue;
    else if (wanted.all.has(path) && isReserved(path)) problems.push(`${path} ${RESERVED}`);
    else if (wanted.all.has(path)) {
      files.push({ from: join(destdir, path), path, mode: (mode & 0o111) === 0 ? 0o644 : 0o755 });
      totalBytes += sizeBytes;
    } else problems.push(`${path} is not declared`);
  }
  if (totalBytes > MAX_OUTPUT_BYTES)
    problems.push(
      `the files have ${formatBytes(totalBytes)}; at most ${formatBytes(MAX_OUTPUT_BYTES)} are taken`,
    );
  for (const glob of wanted.unmatched) problems.push(`${glob} is declared, but the build did not make it`);
  for (const link of component.links)
    if (!links.has(link.path))
      problems.push(`${link.path} is declared as a link, but the build did not make it`);
  if (problems.length > 0) throw bad('the build made something else than was declared', problems);
  return files.sort((one, other) => (one.path < other.path ? -1 : 1));
}

const GLOB = { dot: true, onlyFiles: false, followSymbolicLinks: false } as const;

/** The paths that globs match under a folder; directories are no match. */
async function matches(
  globs: readonly string[],
  folder: string,
): Promise<{ all: Set<string>; unmatched: string[] }> {
  const { default: fastGlob } = await import('fast-glob');
  const all = new Set<string>();
  const unmatched: string[] = [];
  for (const glob of globs) {
    const found = await fastGlob(glob.slice(1), { ...GLOB, cwd: folder });
    if (found.length === 0) unmatched.push(glob);
    for (const path of found) all.add(`/${path}`);
  }
  return { all, unmatched };
}
