import { refusedError } from '../errors.js';
import type { Checksums } from '../model/checksums.js';
import type { Sha256 } from '../model/grammar.js';
import type { Receipt } from './receipt.js';

/* Keys and signatures are review's: what verifies a bundle is the same on every machine. */
export type { TrustedKey } from '../review/keys.js';
export { readKey, trustStore } from '../review/keys.js';
export type { Verified } from '../review/signed.js';
export { verifyChecksums } from '../review/signed.js';

/**
 * An older release, or another bundle under the same number, is refused; going back is `rollback`.
 * @throws BundleError exit 5
 */
export function requireSequence(checksums: Checksums, digest: Sha256, receipt: Receipt | undefined): void {
  if (receipt === undefined || receipt.digest === digest) return;
  const committed = receipt.contents;
  if (checksums.name !== committed.name)
    throw refusedError({
      code: 'OTHER_BUNDLE',
      message: `${committed.name} ${committed.version} is installed here; this is ${checksums.name} ${checksums.version}`,
      hint: 'One bundle a node: take the release of the bundle that is installed here.',
    });
  if (checksums.sequence > committed.sequence) return;
  const same = checksums.sequence === committed.sequence;
  throw refusedError({
    code: same ? 'SEQUENCE_EQUAL' : 'SEQUENCE_LOWER',
    message: same
      ? `this bundle has sequence ${String(checksums.sequence)}, as the installed ${committed.name} ${committed.version}, but is another one`
      : `this bundle has sequence ${String(checksums.sequence)}; ${committed.name} ${committed.version} with ${String(committed.sequence)} is installed`,
    hint: 'Ask the packager for a release with a higher sequence.',
  });
}
