import { refusedError } from '../errors.js';
import type { Checksums } from '../model/checksums.js';
import type { Sha256 } from '../model/grammar.js';
import type { Floor } from './floor.js';
import type { Receipt } from './receipt.js';

/* Keys and signatures are review's: what verifies a bundle is the same on every machine. */
export type { StoredKey, Trust, TrustStore, TrustedKey } from '../review/keys.js';
export { readKey, removedLine, requireNotRemoved, trustStore, trustStoreKeys } from '../review/keys.js';
export type { Verified } from '../review/signed.js';
export { verifyChecksums } from '../review/signed.js';

/**
 * An older release, or another bundle under the same number, is refused, also after an uninstall; going back
 * is `rollback`. What is installed here is never refused.
 * @throws BundleError exit 5
 */
export function requireSequence(
  checksums: Checksums,
  digest: Sha256,
  receipt: Receipt | undefined,
  floor: Floor,
): void {
  if (receipt?.digest === digest) return;
  if (receipt !== undefined && checksums.name !== receipt.contents.name)
    throw refusedError({
      code: 'OTHER_BUNDLE',
      message: `${receipt.contents.name} ${receipt.contents.version} is installed here; this is ${checksums.name} ${checksums.version}`,
      hint: 'One bundle a node: take the release of the bundle that is installed here.',
    });
  const committed = floor.get(checksums.name);
  if (committed === undefined || committed.digest === digest || checksums.sequence > committed.sequence)
    return;
  const same = checksums.sequence === committed.sequence;
  const before =
    receipt?.digest === committed.digest
      ? `the installed ${checksums.name} ${receipt.contents.version}`
      : `a release of ${checksums.name} that was here before, installed or as a jump host's tools`;
  throw refusedError({
    code: same ? 'SEQUENCE_EQUAL' : 'SEQUENCE_LOWER',
    message: same
      ? `this bundle has sequence ${String(checksums.sequence)}, as ${before}, but is another one`
      : `this bundle has sequence ${String(checksums.sequence)}; ${before} has ${String(committed.sequence)}`,
    hint: 'Ask the packager for a release with a higher sequence.',
  });
}

/**
 * What to tell of a clock that went back. Nothing here expires, so that a wrong clock locks nobody out.
 * @returns undefined when the clock is not before the last installation
 */
export function clockWarning(now: Date, receipt: Receipt | undefined): string | undefined {
  if (receipt === undefined || !(now.getTime() < Date.parse(receipt.committedAt))) return undefined;
  return `this node's clock says ${now.toISOString()}, before the last installation here (${receipt.committedAt}); nothing depends on it, but logs and receipts will say so`;
}
