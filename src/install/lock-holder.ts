import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';

/** The lock is another run's. */
export async function busyError(host: Pick<Host, 'read'>, path: string): Promise<BundleError> {
  const holder = await lockHolder(host, path);
  const look = holder === undefined ? `lslocks | grep ${path}` : `ps -fp ${String(holder.pid)}`;
  return refusedError({
    code: 'BUSY',
    message: `another airbundle is at work on this node${holder === undefined ? '' : `: process ${String(holder.pid)}`}`,
    where: path,
    details: holder === undefined ? [] : [holder.command],
    hint: `Wait for it to end, then run the same command again. See: ${look}`,
  });
}

/** Who holds a lock that `flock` took (host/local.ts), as a person finds it again. */
interface LockHolder {
  readonly pid: number;
  /** Its command line. */
  readonly command: string;
}

/**
 * From /proc/locks, which names the flock child; whoever started that one is at work. undefined when
 * neither is to be seen: the holder has just ended, or it is in another container.
 */
async function lockHolder(host: Pick<Host, 'read'>, path: string): Promise<LockHolder | undefined> {
  const table = await textOf(host, '/proc/locks');
  for (const line of table.split('\n')) {
    const flock = /^\d+: FLOCK +ADVISORY +WRITE +(\d+) /.exec(line)?.[1];
    if (flock === undefined) continue;
    const words = await wordsOf(host, flock);
    if (!words.includes(path)) continue;
    const parent = /^PPid:\s+(\d+)$/m.exec(await textOf(host, `/proc/${flock}/status`))?.[1] ?? '0';
    const parentWords = parent === '0' ? [] : await wordsOf(host, parent);
    const isAirbundle = parentWords.some((word) => word.endsWith('installer.cjs'));
    return isAirbundle
      ? { pid: Number(parent), command: parentWords.join(' ') }
      : { pid: Number(flock), command: words.join(' ') };
  }
  return undefined;
}

async function wordsOf(host: Pick<Host, 'read'>, pid: string): Promise<string[]> {
  return (await textOf(host, `/proc/${pid}/cmdline`)).split('\0').filter((word) => word !== '');
}

/** What /proc says; nothing once the process is gone. */
async function textOf(host: Pick<Host, 'read'>, path: string): Promise<string> {
  return (await host.read(path).catch(() => undefined))?.toString('utf8') ?? '';
}
