import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import type { ProcHost } from './rpm-locks.js';
import { rpmAtWork } from './rpm-locks.js';

/**
 * The rpm database is whole: with a damaged one rpm leaves packages out of its answers and exits 0, and
 * what is there would be installed over itself. Ask before anything changes.
 * @param known how many packages it names
 * @throws BundleError exit 5 with advice
 */
export async function requireSoundDatabase(host: ProcHost & Pick<Host, 'run'>, known: number): Promise<void> {
  if (known === 0)
    throw damaged('the rpm database is empty: it does not even name rpm itself', [
      'a missing /var/lib/rpm or Packages file looks like this',
    ]);
  // In the middle of somebody's transaction nothing can be said of it; the installation waits for that one to end.
  const isBusy = async (): Promise<boolean> => (await rpmAtWork(host)) !== undefined;
  if (await isBusy()) return;
  const result = await host.run(['rpm', '--verifydb'], { timeoutMs: 10 * 60_000 });
  if ((result.exitCode === 0 && result.startError === undefined) || (await isBusy())) return;
  throw damaged(`rpm --verifydb ${outcome(result)}`, lastLines(result, 5));
}

/**
 * rpm finds by name what it lists: one that was killed while it wrote may have put a package into the list and not
 * yet into the index of names, and then says that it is not installed when it is asked to erase it.
 * @param labels name-version-release.arch of packages that `rpm -qa` names
 * @throws BundleError exit 5 with advice
 */
export async function requireFound(host: Pick<Host, 'run'>, labels: readonly string[]): Promise<void> {
  if (labels.length === 0) return;
  const { stdout } = await host.run(['rpm', '-q', ...labels], { timeoutMs: 60_000 });
  const lost = stdout.split('\n').filter((line) => /^package \S+ is not installed$/.test(line));
  if (lost.length > 0) throw damaged('rpm does not find by their names packages that it lists', lost);
}

/** What rpm says on stderr while it reads its database, and goes on with exit code 0. */
export function databaseProblems(stderr: string): string[] {
  return stderr.split('\n').filter((line) => line.startsWith('error: '));
}

export function damaged(message: string, details: readonly string[]): BundleError {
  return refusedError({
    code: 'RPMDB_DAMAGED',
    message,
    details: details.slice(0, 10),
    where: 'the rpm database (rpm -E %_dbpath)',
    hint: [
      'Nothing was changed. Keep a copy, then rebuild it:',
      'cp -a /var/lib/rpm /root/rpmdb.damaged && rm -f /var/lib/rpm/__db.* && rpm --rebuilddb && rpm --verifydb',
      'If packages are missing afterwards (compare: rpm -qa | wc -l with /var/log/yum.log), take /var/lib/rpm from a backup.',
    ].join('\n'),
  });
}
