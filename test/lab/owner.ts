import { readFileSync } from 'node:fs';

const BOOT = '/proc/sys/kernel/random/boot_id';

/** When a process started, in ticks since boot: with its id, a process's name for good. */
const startOf = (pid: number): string | undefined => {
  try {
    // The command's name stands in brackets and may hold anything: count from behind it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
};

/** Names a process of this boot: `BOOT/PID/START`. @throws Error where there is no such process */
export const ownerLabel = (pid: number = process.pid): string => {
  const start = startOf(pid);
  if (start === undefined) throw new Error(`there is no process ${pid}`);
  return [readFileSync(BOOT, 'utf8').trim(), pid, start].join('/');
};

/** True when the process that the label names has ended; what is no such label says nothing, and is false. */
export const isOwnerGone = (label: string): boolean => {
  const [, boot, pid, start] = /^([0-9a-f-]{36})\/(\d+)\/(\d+)$/.exec(label) ?? [];
  if (boot === undefined || pid === undefined) return false;
  return boot !== readFileSync(BOOT, 'utf8').trim() || startOf(Number(pid)) !== start;
};
