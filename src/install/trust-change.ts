import { join } from 'node:path';
import { EXIT, refusedError, usageError } from '../errors.js';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { formatFingerprint } from '../model/signature.js';
import type { Audit } from './audit.js';
import { openJournal } from './journal.js';
import { givenKey } from './keys.js';
import { alone } from './alone.js';
import { systemError } from './system-error.js';
import type { StoredKey, TrustStore } from './trust.js';
import { removedLine, requireNotRemoved, trustStore, trustStoreKeys } from './trust.js';

export interface TrustRequest {
  /** Stop after saying what would be different. */
  readonly dryRun: boolean;
  readonly runId: string;
  /** Keeps the record of this change. */
  readonly audit?: Audit;
  /** Shows what will be different and asks; false: nothing is done. */
  readonly confirm: (changes: readonly string[]) => Promise<boolean>;
}

export interface TrustResult {
  readonly outcome: 'changed' | 'unchanged' | 'planned' | 'declined';
  /** What is (or would be) different, one line each. */
  readonly changes: readonly string[];
  /** As it is now; undefined when nothing was decided. */
  readonly store: TrustStore | undefined;
}

interface Change {
  readonly changes: readonly string[];
  readonly apply: () => Promise<void>;
}

const NOTHING: Change = { changes: [], apply: () => Promise.resolve() };

export interface AddRequest extends TrustRequest {
  /** Path of the public key. */
  readonly file: string;
  /** As it was told by another way; asked for when it is not given. */
  readonly fingerprint: string | undefined;
  /** Although it was removed here. */
  readonly again: boolean;
}

/** Trusts one more key. @throws BundleError exit 2, 4 or 5 */
export async function addKey(host: Host, request: AddRequest): Promise<TrustResult> {
  return change(host, request, async () => {
    const store = await trustStore(host);
    const key = await givenKey(host, request.file, request.fingerprint);
    if (!request.again) requireNotRemoved(key, store.removed, request.file);
    const removed = store.removed.filter((other) => other.fingerprint === key.fingerprint);
    const there = store.trusted.some((other) => other.fingerprint === key.fingerprint);
    if (there) return NOTHING;
    const path = join(target.trust, `${key.keyId}.pem`);
    return {
      changes: [
        `trust the key ${key.keyId}${removed.length > 0 ? ' again, which was removed here' : ''}: ${formatFingerprint(key.fingerprint)}`,
        requirement(store.threshold, store.trusted.length + 1),
      ],
      apply: async () => {
        await host.makeDirectory(target.trust, { mode: 0o755 });
        await host.writeDurable(path, pemOf(key), { mode: 0o644 });
        // Last: killed before this, the key still counts as removed.
        for (const other of removed) await host.remove(other.path);
      },
    };
  });
}

export interface RemoveRequest extends TrustRequest {
  /** The key id, or at least its first eight digits. */
  readonly keyId: string;
  readonly date: () => Date;
}

/** Trusts a key no more, and remembers that. @throws BundleError exit 2 or 5 */
export async function removeKey(host: Host, request: RemoveRequest): Promise<TrustResult> {
  return change(host, request, async () => {
    const store = await trustStore(host);
    const key = keyOf(store, request.keyId);
    const files = [...store.trusted, ...store.idle].filter((other) => other.fingerprint === key.fingerprint);
    const path = join(target.removedKeys, `${key.keyId}.pem`);
    const remembered = key.path === path;
    if (remembered && files.length === 0) return NOTHING;
    if (!remembered) requireEnough(store, key);
    return {
      changes: [
        `trust the key ${key.keyId} no more: ${formatFingerprint(key.fingerprint)}`,
        `remember it as removed in ${path}`,
        ...(remembered ? [] : [requirement(store.threshold, store.trusted.length - 1)]),
      ],
      apply: async () => {
        await host.makeDirectory(target.removedKeys, { mode: 0o755 });
        // First: from here on it does not count, wherever else it lies.
        if (!remembered)
          await host.writeDurable(path, `${removedLine(request.date())}${pemOf(key)}`, { mode: 0o644 });
        for (const file of files) await host.remove(file.path);
      },
    };
  });
}

export interface RequireRequest extends TrustRequest {
  readonly threshold: number;
}

/** Says how many of the trusted keys must have signed. @throws BundleError exit 5 */
export async function requireThreshold(host: Host, request: RequireRequest): Promise<TrustResult> {
  return change(host, request, async () => {
    const { trusted } = await trustStoreKeys(host);
    const before = await trustStore(host).then(
      (store) => store.threshold,
      // A threshold that is none is what this mends; whatever else is wrong was found above.
      () => undefined,
    );
    const { threshold } = request;
    if (threshold > trusted.length)
      throw refusedError({
        code: 'TOO_FEW_KEYS',
        message: `${String(threshold)} signers cannot be required: ${count(trusted.length)} trusted here`,
        where: target.trust,
        hint: 'Trust the other signers first: airbundle trust add FILE --fingerprint F',
      });
    if (before === threshold) return NOTHING;
    return {
      changes: [
        `${requirement(threshold, trusted.length)} (before: ${before === undefined ? 'nothing that could be read' : String(before)})`,
      ],
      apply: () => host.writeDurable(target.threshold, `${String(threshold)}\n`, { mode: 0o644 }),
    };
  });
}

/** One at a time, with the same lock as an installation; the store is read again afterwards. */
async function change(host: Host, request: TrustRequest, plan: () => Promise<Change>): Promise<TrustResult> {
  const work = async (): Promise<TrustResult> => {
    try {
      const { changes, apply } = await plan();
      const outcome = await carryOut(host, request, changes, apply);
      const settled = outcome === 'changed' || outcome === 'unchanged';
      return { outcome, changes, store: settled ? await trustStore(host) : undefined };
    } catch (error) {
      throw systemError(error, 'changing the trust store', EXIT.stepFailed);
    }
  };
  return alone(host, work, request.audit);
}

async function carryOut(
  host: Host,
  request: TrustRequest,
  changes: readonly string[],
  apply: () => Promise<void>,
): Promise<TrustResult['outcome']> {
  if (changes.length === 0) return 'unchanged';
  if (request.dryRun) {
    await request.confirm(changes);
    return 'planned';
  }
  if (!(await request.confirm(changes))) return 'declined';
  request.audit?.note({ changes: [...changes] });
  await request.audit?.begin();
  await openJournal(host, request.runId).record({ event: 'change', kind: 'trust', changes });
  await apply();
  return 'changed';
}

/** The trusted or removed key that the digits begin. @throws BundleError exit 2 */
function keyOf(store: TrustStore, given: string): StoredKey {
  const digits = given.replace(/[\s:]/g, '').toLowerCase();
  const all = [...store.trusted, ...store.removed];
  const found = /^[0-9a-f]{8,64}$/.test(digits)
    ? all.filter((key) => key.fingerprint.startsWith(digits))
    : [];
  const [key, ...others] = found;
  if (key !== undefined && others.length === 0) return key;
  throw usageError({
    code: 'NO_SUCH_KEY',
    message:
      key === undefined
        ? 'no key here has an id that begins like this; at least 8 hex digits are wanted'
        : `${String(found.length)} keys begin like this`,
    where: given,
    details: (key === undefined ? all : found).map((one) => one.keyId),
    hint: 'See: airbundle trust list',
  });
}

/** @throws BundleError exit 5 */
function requireEnough({ trusted, threshold }: TrustStore, key: StoredKey): void {
  if (trusted.length === 1)
    throw refusedError({
      code: 'LAST_KEY',
      message: `${key.keyId} is the last trusted key: without it no release could be installed`,
      where: target.trust,
      hint: 'Trust its successor first: airbundle trust add FILE --fingerprint F',
    });
  if (trusted.length - 1 < threshold)
    throw refusedError({
      code: 'TOO_FEW_KEYS',
      message: `${String(threshold)} of the trusted keys must sign, and ${String(trusted.length - 1)} would be left`,
      where: target.trust,
      hint: `Trust another key first (airbundle trust add FILE --fingerprint F), or require fewer signers (airbundle trust require ${String(trusted.length - 1)}).`,
    });
}

export function requirement(threshold: number, keys: number): string {
  return `${String(threshold)} of ${String(keys)} trusted ${keys === 1 ? 'key' : 'keys'} must sign a release`;
}

const count = (keys: number): string => `${String(keys)} ${keys === 1 ? 'key is' : 'keys are'}`;

function pemOf({ key }: Pick<StoredKey, 'key'>): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}
