import type { Host } from '../host/host.js';
import type { ProcHost } from './rpm-locks.js';
import { startedBy, textOf } from './rpm-locks.js';

/**
 * Whether an rpm does nothing at all. One that meets the locks of an rpm that died (full disk, kill) sleeps in
 * futex(2) without a timeout, for good; measured on a Berkeley database, as EL7 has. A working one has used the
 * processor, or waits for the disk (state D), or for what it started.
 */
export interface Stillness {
  /** Call when it has printed nothing for a while, each time. */
  look(pid: number): Promise<void>;
  /** It has not been woken once between the last two looks. */
  isStuck(): boolean;
}

export function watchStillness(host: ProcHost): Stillness {
  let last: string | undefined;
  let stuck = false;
  return {
    async look(pid) {
      const alone = (await startedBy(host, pid)).length === 0;
      const now = alone ? await sleepingSince(host, pid) : undefined;
      stuck = now !== undefined && now === last;
      last = now;
    },
    isStuck: () => stuck,
  };
}

/** What an operator types, one line each. */
export async function stuckAdvice(host: Pick<Host, 'run'>): Promise<string[]> {
  const asked = (await host.run(['rpm', '--eval', '%{_dbpath}'])).stdout.trim();
  const database = asked.startsWith('/') ? asked : '/var/lib/rpm';
  return [
    'See that no rpm or yum runs: ps -fC rpm,yum,dnf,packagekitd',
    `Then remove the locks of the one that died, and look at the database: rm -f ${database}/__db.* && rpm --verifydb`,
    `If that complains, its data are damaged: cp -a ${database} /root/rpmdb.damaged && rpm --rebuilddb`,
  ];
}

/** The same words as long as it sleeps and is not woken; undefined: it works, or is gone. */
async function sleepingSince(host: Pick<Host, 'read'>, pid: number): Promise<string | undefined> {
  const folder = `/proc/${String(pid)}`;
  const status = await textOf(host, `${folder}/status`);
  if (!/^State:\s+S/m.test(status)) return undefined;
  const switches = [...status.matchAll(/^(?:non)?voluntary_ctxt_switches:\s+(\d+)$/gm)].map(
    (match) => match[1],
  );
  const stat = await textOf(host, `${folder}/stat`);
  // Behind the name, which may hold anything: user and system time of itself and its children, when it began.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const times = [...fields.slice(11, 15), fields[19]];
  return switches.length < 2 || times.includes(undefined) ? undefined : [...switches, ...times].join(' ');
}
