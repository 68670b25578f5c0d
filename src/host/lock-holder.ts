import { promises as fs } from 'node:fs';
import type { LockHolder } from './host.js';

const TICKS_PER_SECOND = 100;

/**
 * Who holds a flock(2): the kernel's list names a process and an inode, and the process must have that
 * file open. A lock of ours is held by a flock child (docs/decisions/0004), so its parent is the one at work.
 */
export async function findLockHolder(path: string): Promise<LockHolder | undefined> {
  const real = await fs.realpath(path);
  const { ino } = await fs.stat(real);
  const table = await fs.readFile('/proc/locks', 'utf8');
  for (const pid of holders(table, ino)) {
    if (!(await hasOpen(pid, real))) continue;
    const child = await describe(pid);
    if (child === undefined) continue;
    const ours = child.command.startsWith('flock -n -E ');
    // Its airbundle has just died, and it is about to: that lock does not count.
    if (ours && child.parent === 1) continue;
    const parent = ours ? await describe(child.parent) : undefined;
    const { command, since, pid: id } = parent ?? child;
    return { pid: id, command, since };
  }
  return undefined;
}

/** Pure: /proc/locks → processes with a flock on an inode. `1: FLOCK  ADVISORY  WRITE 1234 00:19:567 0 EOF` */
export function holders(table: string, inode: number): number[] {
  return table.split('\n').flatMap((line) => {
    const match = /^\d+: FLOCK +\w+ +\w+ +(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line);
    return match?.[1] !== undefined && Number(match[2]) === inode ? [Number(match[1])] : [];
  });
}

async function hasOpen(pid: number, path: string): Promise<boolean> {
  const folder = `/proc/${String(pid)}/fd`;
  const names = await fs.readdir(folder).catch(() => []);
  const links = await Promise.all(names.map((name) => fs.readlink(`${folder}/${name}`).catch(() => '')));
  return links.includes(path);
}

async function describe(pid: number): Promise<(LockHolder & { readonly parent: number }) | undefined> {
  const read = (name: string): Promise<string> => fs.readFile(`/proc/${name}`, 'utf8').catch(() => '');
  const stat = await read(`${String(pid)}/stat`);
  // The name in brackets may hold anything; field 3, the state, follows the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [parent, started] = [Number(fields[1]), Number(fields[19])];
  const uptimeS = Number((await read('uptime')).split(' ')[0]);
  if (stat === '' || !Number.isFinite(started) || !Number.isFinite(uptimeS)) return undefined;
  const command = (await read(`${String(pid)}/cmdline`)).split('\0').join(' ').trim();
  return {
    pid,
    parent,
    command,
    since: new Date(Date.now() - (uptimeS - started / TICKS_PER_SECOND) * 1000),
  };
}
