import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import type { MadeAccount } from './journal.js';

/** File systems that keep files; /proc, /sys and the network's are not searched. */
const SEARCHED = /^(?:ext[234]|xfs|btrfs|overlay|tmpfs|vfat)$/;
const SEARCH_TIMEOUT_MS = 5 * 60_000;

/**
 * Removes an account that a run made, when no process runs as it and no file on a local file system is its
 * own: a later account with its number would otherwise own them.
 * @returns why it stays; undefined: it is gone
 */
export async function removeAccount(
  host: Host,
  { name, ownGroup }: MadeAccount,
): Promise<string | undefined> {
  const [, , uid, gid] = (await host.run(['getent', 'passwd', name])).stdout.trim().split(':');
  if (uid === undefined || gid === undefined) return undefined;
  const processes = await host.run(['ps', '-o', 'pid=', '-U', name]);
  if (processes.stdout.trim() !== '')
    return `process ${processes.stdout.trim().split(/\s+/)[0] ?? ''} runs as it`;
  const owned = await fileOf(host, uid, ownGroup ? gid : undefined);
  if (owned !== undefined) return owned;
  // userdel removes a group of the same name with its user: one that was here before is not its primary one then.
  if (!ownGroup) await host.run(['usermod', '-g', '0', name]);
  const result = await host.run(['userdel', name]);
  return result.exitCode === 0 ? undefined : `userdel ${outcome(result)}: ${lastLines(result, 1).join('')}`;
}

async function fileOf(host: Host, uid: string, gid: string | undefined): Promise<string | undefined> {
  const mounts = (await host.read('/proc/self/mounts'))?.toString('utf8') ?? '';
  const places = mounts.split('\n').flatMap((line) => {
    const [, point, type] = line.split(' ');
    return point !== undefined && SEARCHED.test(type ?? '') ? [point.replaceAll('\\040', ' ')] : [];
  });
  const whose = gid === undefined ? ['-uid', uid] : ['(', '-uid', uid, '-o', '-gid', gid, ')'];
  const result = await host.run(['find', ...new Set(places), '-xdev', ...whose, '-print', '-quit'], {
    timeoutMs: SEARCH_TIMEOUT_MS,
  });
  const found = result.stdout.trim().split('\n')[0];
  if (found !== undefined && found !== '') return `${found} is its own`;
  return result.timedOut ? 'its files could not be looked for within 5 minutes' : undefined;
}
