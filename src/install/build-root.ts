import { dirname, join } from 'node:path';
import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import type { BundledRpm } from '../model/contents.js';
import { target } from '../model/layout.js';
import { formatNevra } from '../model/nevra.js';
import type { Step } from '../report.js';
import { parsePackages, RPM_QUERY, rpmFailures } from './rpm.js';

/*
 * A root of its own for a build: only the bundle's RPMs are in it, and it is gone afterwards. Whatever is mounted
 * there is mounted in a namespace that ends with the command: nothing stays mounted, also after kill -9.
 */

const ROOT = target.buildRoot;

/**
 * $1 is the root. Its own mount makes devices and programs work where /var is mounted nodev or noexec.
 * util-linux 2.23 (EL7) leaves the mounts of `unshare --mount` shared with the node: that is undone first.
 */
const PRIVATE = 'mount --make-rprivate / && mount --bind "$1" "$1"';

/** As root in the namespace, not in the root: for rpm, whose files lie outside of it. */
const AROUND = `${PRIVATE} && mount -o remount,bind,suid,dev,exec "$1" && shift && exec "$@"`;

/** In the root, as user and group $2, in the folder $3: no setuid, no network, /proc but no /sys. ($@ from $3 on.) */
const INSIDE = [
  PRIVATE,
  'mount -o remount,bind,nosuid,dev,exec "$1"',
  'mount -t proc -o nosuid,noexec,nodev proc "$1/proc"',
  'root=$1 user=$2',
  'shift 2',
  `exec chroot --userspec="$user:$user" --groups="$user" "$root" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$@"`,
].join(' && ');

const NAMESPACES = ['unshare', '--mount', '--net', '--ipc', '--', 'sh', '-c'] as const;

/** A command that runs in the root as an unprivileged user. @param cwd as the command sees it */
export function insideRoot(argv: Argv, uid: number, cwd: string): Argv {
  return [...NAMESPACES, INSIDE, 'sh', ROOT, String(uid), cwd, ...argv];
}

function aroundRoot(argv: Argv): Argv {
  return [...NAMESPACES, AROUND, 'sh', ROOT, ...argv];
}

const DEVICES = [
  { name: 'null', minor: 3 },
  { name: 'zero', minor: 5 },
  { name: 'full', minor: 7 },
  { name: 'random', minor: 8 },
  { name: 'urandom', minor: 9 },
  { name: 'tty', minor: 0 },
] as const;

export interface RootRequest {
  readonly rpms: readonly BundledRpm[];
  readonly staged: string;
  /** Hashes a staged RPM again; throws when it is another one. */
  readonly requireSame: (rpm: BundledRpm) => Promise<void>;
  readonly stop: () => boolean;
}

/**
 * Puts all of the bundle's RPMs into a fresh root.
 * @throws BundleError exit 6
 */
export async function makeBuildRoot(host: Host, request: RootRequest, step: Step): Promise<void> {
  await removeBuildRoot(host);
  await host.makeDirectory(target.isolated, { mode: 0o700 });
  await host.makeDirectory(ROOT, { mode: 0o755 });
  await makeDevices(host);
  await must(host, ['rpm', '--root', ROOT, '--initdb']);
  for (const rpm of request.rpms) await request.requireSame(rpm);
  await fillRoot(host, request, step);
  for (const path of ['/proc', '/dev', '/tmp', '/var/tmp', '/var/lib'])
    await host.makeDirectory(join(ROOT, path), { mode: path.endsWith('tmp') ? 0o1777 : 0o755 });
}

/** Before rpm: a scriptlet that writes to /dev/null would make a file of it. */
async function makeDevices(host: Host): Promise<void> {
  await host.makeDirectory(join(ROOT, 'dev'), { mode: 0o755 });
  for (const { name, minor } of DEVICES)
    await must(host, [
      'mknod',
      '-m',
      '666',
      join(ROOT, 'dev', name),
      'c',
      name === 'tty' ? '5' : '1',
      String(minor),
    ]);
}

async function must(host: Host, argv: Argv): Promise<void> {
  const result = await host.run(argv, { timeoutMs: 60_000 });
  if (result.exitCode === 0) return;
  throw rootFailed(`${argv.join(' ')} ${outcome(result)}`, lastLines(result));
}

async function fillRoot(host: Host, { rpms, staged, stop }: RootRequest, step: Step): Promise<void> {
  const log = `${target.log}/rpm-root.log`;
  await host.remove(log);
  const files = rpms.map((rpm) => join(staged, rpm.path));
  const result = await host.runLogged(
    aroundRoot(['rpm', '--root', ROOT, '-ivh', '--force', '--nodeps', ...files]),
    log,
    {
      onNote: (line) => {
        step.note(line.trim().slice(0, 60));
      },
      // Nothing outside of the root is half done when this rpm is ended.
      stop,
    },
  );
  if (result.stopped)
    throw stepError({ code: 'INTERRUPTED', message: 'stopped as asked', where: 'step root' });
  const failures = rpmFailures((await host.read(log))?.toString('utf8') ?? '');
  if (result.exitCode !== 0 || failures.length > 0)
    throw rootFailed(
      `rpm ${outcome(result)}, log ${log}`,
      failures.length > 0 ? failures : lastLines(result),
    );
  await requireInRoot(host, rpms);
}

/** The exit code of rpm proves nothing (FACTS). */
async function requireInRoot(host: Host, rpms: readonly BundledRpm[]): Promise<void> {
  const result = await host.run(['rpm', '--root', ROOT, '-qa', '--queryformat', RPM_QUERY]);
  const there = new Set(parsePackages(result.stdout).map(formatNevra));
  const lost = rpms.map((rpm) => formatNevra(rpm.nevra)).filter((nevra) => !there.has(nevra));
  if (lost.length > 0)
    throw rootFailed(`${String(lost.length)} packages are not in the root after rpm ran`, lost.slice(0, 20));
}

/**
 * A folder in the root whose parents are root's own directories: a scriptlet could have made a link of one.
 * @returns its path on the node
 */
export async function folderInRoot(host: Host, path: string): Promise<string> {
  const parents: string[] = [];
  for (let at = dirname(path); at !== '/'; at = dirname(at)) parents.unshift(at);
  for (const parent of parents) {
    const place = join(ROOT, parent);
    if ((await host.lstat(place)) === undefined) await host.makeDirectory(place, { mode: 0o755 });
    const facts = await host.lstat(place);
    if (facts?.kind !== 'directory' || facts.uid !== 0 || (facts.mode & 0o022) !== 0)
      throw rootFailed(`${parent} in the root is not a directory that only root can write`, [place]);
  }
  return join(ROOT, path);
}

/**
 * Ends what still runs in the root, makes sure that nothing is mounted there, and removes it.
 * @throws BundleError exit 6 when one of these cannot be done: nothing is removed across a mount
 */
export async function removeBuildRoot(host: Host): Promise<void> {
  if ((await host.lstat(target.isolated)) === undefined) return;
  await endProcessesInRoot(host);
  for (const point of mountsBelow(await mountinfo(host), target.isolated)) {
    await host.run(['umount', '--', point], { timeoutMs: 60_000 });
  }
  const left = mountsBelow(await mountinfo(host), target.isolated);
  if (left.length > 0)
    throw stepError({
      code: 'BUILD_ROOT_MOUNTED',
      message: 'something is mounted in the build root, which is therefore not removed',
      where: target.isolated,
      details: left,
      hint: `See who uses it: fuser -vm ${left[0] ?? ''}; then: umount ${left[0] ?? ''}`,
    });
  const result = await host.run(['rm', '-rf', '--one-file-system', '--', target.isolated], {
    timeoutMs: 10 * 60_000,
  });
  if ((await host.lstat(target.isolated)) === undefined) return;
  throw stepError({
    code: 'BUILD_ROOT_LEFT',
    message: `the build root could not be removed: rm ${outcome(result)}`,
    where: target.isolated,
    details: lastLines(result),
    hint: `By hand, when nothing is mounted there: rm -rf --one-file-system ${target.isolated}`,
  });
}

async function mountinfo(host: Host): Promise<string> {
  return (await host.read('/proc/self/mountinfo'))?.toString('utf8') ?? '';
}

/** Pure: the mount points at or below a folder, the innermost first. */
export function mountsBelow(mountinfo: string, folder: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, octal: string) =>
        String.fromCharCode(parseInt(octal, 8)),
      ),
    )
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .reverse();
}

/** A killed run leaves its rpm or build at work in there. Thrown away with the root: they may be ended at any point. */
async function endProcessesInRoot(host: Host): Promise<void> {
  for (let round = 0; round < 50; round += 1) {
    const found = await processesInRoot(host);
    if (found.length === 0) return;
    await host.run(['kill', '-KILL', ...found]);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw stepError({
    code: 'BUILD_PROCESSES',
    message: 'processes in the build root do not end',
    where: ROOT,
    hint: `See: ls -l /proc/[0-9]*/root | grep ${target.isolated}`,
  });
}

/**
 * Those in whose namespace the root is mounted on itself, chrooted or not: mountinfo tells it also of another
 * user's process, where /proc/PID/root takes CAP_SYS_PTRACE. And rpm where it is asked from outside.
 */
async function processesInRoot(host: Host): Promise<string[]> {
  const pids = (await host.list('/proc')).filter((name) => /^\d+$/.test(name));
  const found: string[] = [];
  for (const pid of pids) {
    const text = async (file: string): Promise<string> =>
      (await host.read(`/proc/${pid}/${file}`).catch(() => undefined))?.toString('utf8') ?? '';
    const words = (await text('cmdline')).split('\0');
    if (MOUNTED.test(await text('mountinfo')) || (words.includes('--root') && words.includes(ROOT)))
      found.push(pid);
  }
  return found;
}

/** The path's end: what stands before it depends on which filesystem is mounted where. */
const MOUNTED = new RegExp(`${ROOT.slice(target.build.length)}[ /]`);

function rootFailed(message: string, details: readonly string[]): ReturnType<typeof stepError> {
  return stepError({
    code: 'BUILD_ROOT_FAILED',
    message,
    where: `step root, ${ROOT}`,
    details,
    hint: 'Nothing of the node itself was changed. Mend the cause and run the same command again, or build with --build host.',
  });
}
