import type { Host } from '../host/host.js';

/** A process that keeps rpm from working. */
export interface Occupant {
  readonly pid: number;
  readonly command: string;
}

export type ProcHost = Pick<Host, 'read' | 'list' | 'readlink'>;

const YUM_PID = '/var/run/yum.pid';

/** yum, from the moment it begins to resolve: it takes rpm's own lock only later, and would not expect a change. */
export async function yumAtWork(host: ProcHost): Promise<Occupant | undefined> {
  const pid = Number((await textOf(host, YUM_PID)).trim());
  if (!Number.isSafeInteger(pid) || pid < 2) return undefined;
  const command = await commandOf(host, pid);
  // The number may be another process's by now.
  return /yum|dnf|packagekit/i.test(command) ? { pid, command } : undefined;
}

/** Who holds rpm's transaction lock, wherever its database is; undefined: nobody any more, or not to be seen. */
export async function rpmLockHolder(host: ProcHost): Promise<Occupant | undefined> {
  const pids = (await textOf(host, '/proc/locks'))
    .split('\n')
    .flatMap((line) => /^\d+: (?:POSIX|OFDLCK) +\w+ +WRITE +(\d+) /.exec(line)?.[1] ?? []);
  for (const pid of new Set(pids)) {
    const folder = `/proc/${pid}/fd`;
    for (const name of await host.list(folder).catch(() => [])) {
      const open = await host.readlink(`${folder}/${name}`).catch(() => undefined);
      if (open?.endsWith('/.rpm.lock') === true)
        return { pid: Number(pid), command: await commandOf(host, Number(pid)) };
    }
  }
  return undefined;
}

/** Whoever keeps rpm from working now. */
export async function rpmAtWork(host: ProcHost): Promise<Occupant | undefined> {
  return (await yumAtWork(host)) ?? (await rpmLockHolder(host));
}

/**
 * Pure: whether rpm's words say that somebody else holds its lock. They begin the same where the lock's file could
 * not be made, on a full disk for example; waiting would not help then.
 */
export function isLockedOut(text: string): boolean {
  const said = /can't create transaction lock(?: on \S+ \(([^)\n]*)\))?/.exec(text);
  return said !== null && (said[1] === undefined || said[1] === 'Resource temporarily unavailable');
}

/** Everything that a process has started and that still belongs to it, the outermost first. */
export async function startedBy(host: ProcHost, ancestor: number): Promise<Occupant[]> {
  const children = new Map<number, number[]>();
  for (const name of await host.list('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await textOf(host, `/proc/${name}/stat`);
    // The name in brackets may hold anything; field 4 is the parent.
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found: Occupant[] = [];
  for (let next = children.get(ancestor) ?? []; next.length > 0;) {
    for (const pid of next) found.push({ pid, command: await commandOf(host, pid) });
    next = next.flatMap((pid) => children.get(pid) ?? []);
  }
  return found;
}

export function describeOccupant({ pid, command }: Occupant): string {
  return `process ${String(pid)} (${command.slice(0, 200)})`;
}

async function commandOf(host: ProcHost, pid: number): Promise<string> {
  return (await textOf(host, `/proc/${String(pid)}/cmdline`)).replaceAll('\0', ' ').trim();
}

/** What /proc says; nothing once the process is gone. */
export async function textOf(host: Pick<Host, 'read'>, path: string): Promise<string> {
  return (await host.read(path).catch(() => undefined))?.toString('utf8') ?? '';
}
