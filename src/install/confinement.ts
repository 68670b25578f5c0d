import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import type { BuildWay } from '../model/packages.js';

/** Enough for `make -j` on the largest machine; a fork bomb ends here instead of at the node's own limit. */
const MAX_PROCESSES = 4096;

/**
 * How a build's command is started so that all of it stays the build's user's: no setuid program of the node gives
 * it another user (which would outlive `endProcessesOf`), and its processes are counted. From util-linux, which
 * EL7 has; where a program of the two is missing the build runs without that one. The root of an isolated build is
 * mounted nosuid, and what is started is root's until it has entered it: only its processes are counted here.
 */
export async function confinement(
  host: Pick<Host, 'lstat' | 'read'>,
  way: BuildWay,
): Promise<(argv: Argv) => Argv> {
  const has = async (program: string): Promise<boolean> => (await host.lstat(program)) !== undefined;
  const limits = (await host.read('/proc/self/limits'))?.toString('latin1') ?? '';
  // A limit that is lower already cannot be raised by the build's user.
  const isLower = Number(/^Max processes +\S+ +(\d+)/m.exec(limits)?.[1] ?? Infinity) < MAX_PROCESSES;
  const limit =
    !isLower && (await has('/usr/bin/prlimit')) ? ['prlimit', `--nproc=${String(MAX_PROCESSES)}`] : [];
  const privileges = way === 'host' && (await has('/usr/bin/setpriv')) ? ['setpriv', '--no-new-privs'] : [];
  return (argv) => {
    const [first = argv[0], ...rest] = [...limit, ...privileges, ...argv];
    return [first, ...rest];
  };
}
