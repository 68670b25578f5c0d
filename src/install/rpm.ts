import { refusedError, stepError, type BundleError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { LoggedResult } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import { target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import { damaged, databaseProblems } from './rpm-database.js';
import { duplicatesOf } from './rpm-duplicates.js';
import type { Occupant } from './rpm-locks.js';
import { describeOccupant, isLockedOut, rpmAtWork, rpmLockHolder, startedBy } from './rpm-locks.js';
import { stuckAdvice, watchStillness } from './rpm-stuck.js';

/** Fields of `rpm -qa`, tab-separated; an absent epoch prints "(none)". */
export const RPM_QUERY = '%{NAME}\\t%{EPOCH}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n';

/** A list takes a second; on the locks of an rpm that died (full disk, kill), it waits for good. */
const QUERY_MS = 60_000;

/** What a Berkeley database says once a program died while it was in it; whether its data are hurt tells `rpm --verifydb`. */
const DIED_WITH_LOCKS = /\bThread died in Berkeley DB library\b/;
/** It says so then too, and when it meets data that it cannot make sense of. */
const NEEDS_RECOVERY = /\bDB_RUNRECOVERY\b/;

/** @throws BundleError exit 5 when rpm is missing or its database cannot be read */
export async function installedPackages(host: Host): Promise<Nevra[]> {
  const result = await host.run(['rpm', '-qa', '--queryformat', RPM_QUERY], { timeoutMs: QUERY_MS });
  const died = DIED_WITH_LOCKS.test(result.stderr);
  if (died || NEEDS_RECOVERY.test(result.stderr))
    throw refusedError({
      code: 'RPMDB_UNREADABLE',
      message: died
        ? 'an rpm that was killed has left its locks in the rpm database'
        : 'rpm refuses its database until it is recovered: an rpm was killed in it, or its data are damaged',
      details: lastLines(result),
      hint: [...(await stuckAdvice(host)), 'Then run the same command again.'].join('\n'),
    });
  if (result.exitCode !== 0)
    throw refusedError({
      code: 'RPMDB_UNREADABLE',
      message: `rpm -qa ${outcome(result)}`,
      details: lastLines(result),
      hint: 'airbundle installs on systems with rpm (CentOS 7). If it does not answer and no rpm or yum runs, one that died holds its locks: rm -f /var/lib/rpm/__db.*. If the database is damaged: rpm --rebuilddb',
    });
  const problems = databaseProblems(result.stderr);
  if (problems.length > 0) throw damaged('rpm cannot read all of its database', problems);
  return parsePackages(result.stdout);
}

/** Pure: the lines of `rpm -qa`; imported keys (gpg-pubkey, without architecture) are left out. */
export function parsePackages(text: string): Nevra[] {
  return text.split('\n').flatMap((line) => {
    const [name, epoch, version, release, arch] = line.split('\t');
    if (name === undefined || epoch === undefined || version === undefined || release === undefined)
      return [];
    if (arch === undefined || arch === '(none)') return [];
    return [{ name, epoch: epoch === '(none)' ? 0 : Number(epoch), version, release, arch }];
  });
}

/**
 * What rpm itself says against a set, tried against the real database without force and nodeps.
 * @param paths the RPM files
 * @returns rpm's own problem lines; empty: it would go in
 */
export async function testTransaction(
  host: Host,
  paths: readonly string[],
  upgrade: boolean,
): Promise<string[]> {
  if (paths.length === 0) return [];
  // --replacepkgs: the packages of an unfinished step are in the database and go in again.
  const result = await host.run(['rpm', upgrade ? '-U' : '-i', '--test', '--replacepkgs', ...paths], {
    timeoutMs: 10 * 60_000,
  });
  if (result.exitCode === 0) return [];
  const lines = parseProblems(`${result.stderr}\n${result.stdout}`);
  return lines.length === 0 ? [`rpm --test ${outcome(result)}`] : lines;
}

/** Headings, progress, warnings; and what Debian's rpm (the lab's) says of itself. */
const NO_PROBLEM =
  /^(?:error: Failed dependencies:|Preparing\.\.\.|Verifying\.\.\.|warning: |#+|rpm: (?:RPM should not|However assuming))/;

/** Pure: the problem lines of `rpm --test`, without headings, warnings and progress. */
export function parseProblems(text: string): string[] {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !NO_PROBLEM.test(line));
  return [...new Set(lines)];
}

/** Whether a problem line speaks of a package of exactly this name, bare or as part of a NEVRA. */
export function speaksOf(problem: string, name: string): boolean {
  return problem
    .split(/[\s()]+/)
    .some((word) => word === name || /^(.+)-(?:\d+:)?[^-:]+-[^-]+$/.exec(word)?.[1] === name);
}

export interface RpmRun {
  /** `rpm -U` (replaces older versions) instead of `rpm -i`. */
  readonly upgrade: boolean;
  /** How many packages rpm has begun with. */
  readonly onProgress: (done: number) => void;
  /** Another rpm or yum is waited for. */
  readonly onWait: (occupant: Occupant | undefined) => void;
  /** Asked while another rpm is waited for; a running rpm is never ended. */
  readonly stop: () => boolean;
  readonly limits?: Partial<RpmLimits>;
}

export interface RpmLimits {
  /** How long another rpm or yum may take: after a killed run, its rpm goes on alone. */
  readonly lockMs: number;
  /** How long a scriptlet may run without a line of output, and rpm itself sleep without being woken once. */
  readonly quietMs: number;
}

const LIMITS: RpmLimits = { lockMs: 10 * 60_000, quietMs: 10 * 60_000 };
const LOCK_POLL_MS = 1000;

/**
 * rpm writes to a log of its own: when this process is killed, rpm goes on to its end instead of dying
 * on a closed pipe between two packages. rpm itself is never ended; a scriptlet that hangs is, whereupon rpm calls
 * it failed and goes on (docs/decisions/0064).
 * @throws BundleError exit 6
 */
export async function installPackages(host: Host, paths: readonly string[], run: RpmRun): Promise<void> {
  if (paths.length === 0) return;
  const { lockMs, quietMs } = { ...LIMITS, ...run.limits };
  const log = `${target.log}/rpm-${run.upgrade ? 'upgrade' : 'install'}.log`;
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    const occupant = await rpmAtWork(host);
    if (occupant === undefined) {
      const ended = await runRpm(host, paths, run, log, { lockMs, quietMs });
      if (!isLockedOut(ended.text)) {
        await judge(host, paths, ended, log);
        return;
      }
    }
    if (waitedMs >= lockMs || run.stop()) throw rpmLocked(occupant, waitedMs);
    run.onWait(occupant);
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}

interface RpmEnded {
  readonly result: LoggedResult;
  readonly text: string;
  /** Scriptlets that hung, in words. */
  readonly hung: readonly string[];
}

async function runRpm(
  host: Host,
  paths: readonly string[],
  run: RpmRun,
  log: string,
  { lockMs, quietMs }: RpmLimits,
): Promise<RpmEnded> {
  const hung: string[] = [];
  const stillness = watchStillness(host);
  // Somebody was faster: an rpm that does not give up waits without end. Until it has the lock, it may be ended.
  let waitsSinceMs: number | undefined;
  await host.remove(log);
  const result = await host.runLogged(
    ['rpm', run.upgrade ? '-Uvh' : '-ivh', '--force', '--nodeps', ...paths],
    log,
    {
      onNote: (line) => {
        const number = /^\s*(\d+):/.exec(line)?.[1];
        if (number !== undefined) run.onProgress(Number(number));
        const isWaiting = line.includes('waiting for transaction lock');
        if (isWaiting && waitsSinceMs === undefined) run.onWait(undefined);
        waitsSinceMs = isWaiting ? (waitsSinceMs ?? performance.now()) : undefined;
      },
      stop: () =>
        stillness.isStuck() ||
        (waitsSinceMs !== undefined && (run.stop() || performance.now() - waitsSinceMs > lockMs)),
      quietMs,
      onQuiet: async (pid) => {
        const started = await startedBy(host, pid);
        await stillness.look(pid);
        if (started.length === 0) return;
        hung.push(
          `a scriptlet printed nothing for ${formatDuration(quietMs)} and was ended: ${started.map(describeOccupant).join(', ')}`,
        );
        await host.run(['kill', '-KILL', ...started.map((one) => String(one.pid))]);
      },
    },
  );
  if (stillness.isStuck()) throw rpmStuck(await stuckAdvice(host), quietMs);
  if (result.stopped) throw rpmLocked(await rpmLockHolder(host), lockMs);
  return { result, text: (await host.read(log))?.toString('utf8') ?? '', hung };
}

/** @throws BundleError exit 6, which says what is in the rpm database and what is not */
async function judge(host: Host, paths: readonly string[], ended: RpmEnded, log: string): Promise<void> {
  const { result, text, hung } = ended;
  const failures = [...hung, ...rpmFailures(text)];
  if (result.dropped) failures.push('rpm printed more than is kept: what it said at first cannot be judged');
  if (result.exitCode === 0 && failures.length === 0) return;
  throw rpmFailed(`rpm ${outcome(result)}, log ${log}`, [
    ...(failures.length > 0 ? failures.slice(0, MOST_LINES) : lastLines(result)),
    ...(await whatIsIn(host, paths).catch(() => [])),
  ]);
}

const MOST_LINES = 20;

/** A transaction is not atomic (FACTS): which of these packages the rpm database names now. */
async function whatIsIn(host: Host, paths: readonly string[]): Promise<string[]> {
  const asked = await host.run(['rpm', '-qp', '--nosignature', '--queryformat', RPM_QUERY, ...paths]);
  const wanted = parsePackages(asked.stdout).map(formatNevra);
  const there = new Set((await installedPackages(host)).map(formatNevra));
  const say = (word: string, nevras: readonly string[]): string[] =>
    nevras.length === 0
      ? []
      : [
          `${word}: ${nevras.slice(0, MOST_LINES).join(', ')}${nevras.length > MOST_LINES ? ` and ${String(nevras.length - MOST_LINES)} more` : ''}`,
        ];
  return [
    ...say(
      'in the rpm database now',
      wanted.filter((nevra) => there.has(nevra)),
    ),
    ...say(
      'not in it',
      wanted.filter((nevra) => !there.has(nevra)),
    ),
  ];
}

/** Pure: rpm exits 0 when a %post fails and warns only; its exit code wraps at 256 failures (FACTS). */
export function rpmFailures(log: string): string[] {
  return log.split('\n').filter((line) => /scriptlet failed|^error:|unpacking of archive failed/.test(line));
}

/**
 * Asks for each exact package: the exit code of an installation proves nothing.
 * @param stays what was installed before and has to be there still
 * @throws BundleError exit 6
 */
export async function requirePackages(
  host: Host,
  wanted: readonly Nevra[],
  stays: readonly Nevra[] = [],
): Promise<void> {
  const installed = await installedPackages(host);
  const duplicates = duplicatesOf(installed, new Set(wanted.map(({ name }) => name)));
  if (duplicates.length > 0)
    throw rpmFailed('two versions of a package are in the rpm database after rpm ran', duplicates);
  const there = new Set(installed.map(formatNevra));
  const lost = wanted.map(formatNevra).filter((nevra) => !there.has(nevra));
  if (lost.length > 0)
    throw rpmFailed(
      `${String(lost.length)} packages are not in the rpm database after rpm ran`,
      lost.slice(0, 20),
    );
  const gone = stays.map(formatNevra).filter((nevra) => !there.has(nevra));
  if (gone.length > 0) throw packagesGone(gone);
}

/** The package that owns a path, or undefined. */
export async function ownerOf(host: Host, path: string): Promise<string | undefined> {
  const result = await host.run(['rpm', '-qf', '--queryformat', '%{NAME}\\n', path]);
  return result.exitCode === 0 ? result.stdout.trim().split('\n')[0] : undefined;
}

/**
 * The packages that own these paths; absent from the map: none does. One start of rpm tells of all that nobody
 * owns, which on most nodes are all; an owner's line names no path, so the others are asked about one by one.
 */
export async function ownersOf(host: Host, paths: readonly string[]): Promise<Map<string, string>> {
  const free = paths.length > 1 ? await unowned(host, paths) : new Set();
  const entries = await Promise.all(
    paths
      .filter((path) => !free.has(path))
      .map(async (path): Promise<[string, string][]> => {
        const owner = await ownerOf(host, path);
        return owner === undefined ? [] : [[path, owner]];
      }),
  );
  return new Map(entries.flat());
}

/** Those of these paths that rpm says no package owns. */
export async function unowned(host: Host, paths: readonly string[]): Promise<Set<string>> {
  const free = new Set<string>();
  for (let at = 0; at < paths.length; at += MOST_PATHS) {
    const some = paths.slice(at, at + MOST_PATHS);
    const { stdout, stderr } = await host.run(['rpm', '-qf', '--queryformat', '%{NAME}\\n', ...some]);
    const lines = `${stdout}\n${stderr}`.split('\n');
    const said = new Set(lines);
    for (const path of some)
      if (
        said.has(`file ${path} is not owned by any package`) ||
        lines.some((line) => line.startsWith(`error: file ${path}: `))
      )
        free.add(path);
  }
  return free;
}

/**
 * The packages that own any of these paths, by one start of rpm for all of them.
 * @throws BundleError exit 6 when rpm did not answer for each path: what it does not name would count as nobody's
 */
export async function packagesOwning(host: Host, paths: readonly string[]): Promise<Nevra[]> {
  const owners: Nevra[] = [];
  for (let at = 0; at < paths.length; at += MOST_PATHS) {
    const some = paths.slice(at, at + MOST_PATHS);
    const result = await host.run(['rpm', '-qf', '--queryformat', RPM_QUERY, ...some], {
      timeoutMs: QUERY_MS,
    });
    const found = parsePackages(result.stdout);
    const lines = `${result.stdout}\n${result.stderr}`.split('\n');
    const free = lines.filter((line) => NOT_OWNED.test(line)).length;
    if (found.length + free < some.length)
      throw stepError({
        code: 'RPM_NO_ANSWER',
        message: `rpm -qf did not say whose some files are: it ${outcome(result)}`,
        details: lastLines(result),
        hint: `See: rpm -qf ${some.slice(0, 3).join(' ')}`,
      });
    owners.push(...found);
  }
  return owners;
}

const NOT_OWNED = /^file .* is not owned by any package$|^error: file /;

/** In one call of rpm: its words must fit on a command line. */
const MOST_PATHS = 400;

function formatDuration(ms: number): string {
  return ms < 60_000 ? `${String(Math.round(ms / 1000))} s` : `${String(Math.round(ms / 60_000))} min`;
}

function rpmLocked(occupant: Occupant | undefined, waitedMs: number): BundleError {
  return stepError({
    code: 'RPM_LOCKED',
    message: `another rpm or yum is at work${occupant === undefined ? '' : `: ${describeOccupant(occupant)}`}; it was waited for ${formatDuration(waitedMs)}`,
    where: 'step rpms',
    hint: `Let it end, or end it, then run the same command again. See: ${occupant === undefined ? 'ps -fC rpm,yum,dnf,packagekitd' : `ps -fp ${String(occupant.pid)}`}`,
  });
}

function rpmStuck(advice: readonly string[], quietMs: number): BundleError {
  return stepError({
    code: 'RPM_STUCK',
    message: `rpm slept for ${formatDuration(quietMs)} without using the processor, the disk or a scriptlet, and was ended; so does one that waits for the locks of an rpm that died`,
    where: 'step rpms',
    hint: [
      ...advice,
      'Then run the same command again: packages of an unfinished step are installed again.',
    ].join('\n'),
  });
}

function packagesGone(gone: readonly string[]): BundleError {
  const more = gone.length > MOST_LINES ? ` and ${String(gone.length - MOST_LINES)} more` : '';
  return rpmFailed(
    `packages that the plan does not touch are no longer in the rpm database: ${gone.slice(0, MOST_LINES).join(', ')}${more}`,
    [],
    'rpm took them away for those that went in, or somebody else did. Install again from its RPM what this node needs of them: no rollback of this program brings it back. Then run the same command again.',
  );
}

const MEND_AND_RUN_AGAIN =
  'Packages that went in stay in; nothing else was changed. Mend the cause and run the same command again: packages of an unfinished step are installed again.';

function rpmFailed(message: string, details: readonly string[], hint = MEND_AND_RUN_AGAIN): BundleError {
  return stepError({
    code: 'RPM_FAILED',
    message,
    where: 'step rpms',
    details,
    hint,
  });
}
