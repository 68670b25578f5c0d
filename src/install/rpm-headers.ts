import { dirname } from 'node:path';
import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';

/**
 * What the headers of RPM files say, in the words of rpm's own query format.
 * @param rpms paths of the files
 * @throws BundleError exit 6 when rpm cannot read one of them
 */
export async function rpmHeaders(host: Host, format: string, rpms: readonly string[]): Promise<string> {
  const result = await host.run(['rpm', '-qp', '--nosignature', '--queryformat', format, ...rpms], {
    timeoutMs: 10 * 60_000,
  });
  if (result.exitCode === 0) return result.stdout;
  throw stepError({
    code: 'RPM_UNREADABLE',
    message: `rpm -qp ${outcome(result)}`,
    where: dirname(rpms[0] ?? ''),
    details: lastLines(result),
    hint: "Nothing was changed by this question. Where rpm names a fault of this node (a disk, its memory), mend it and run the same command again. Otherwise the node's rpm cannot read what the bundle brought: ask the packager for packages of this release of EL.",
  });
}
