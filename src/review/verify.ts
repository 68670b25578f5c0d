import { join } from 'node:path';
import { BundleError, untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Checksums } from '../model/checksums.js';
import type { Contents } from '../model/contents.js';
import type { Sha256 } from '../model/grammar.js';
import { folder, member } from '../model/layout.js';
import { plain } from '../model/plain.js';
import type { Reporter } from '../report.js';
import { formatBytes, inStep } from '../report.js';
import type { StoredKey, TrustedKey } from './keys.js';
import type { Payload } from './payload.js';
import { readPayload } from './payload.js';
import type { RawChecksums, ReadChecksums, Signature } from './signed.js';
import { parseRaw, rawChecksums, requireSigners, signaturesIn } from './signed.js';

export interface VerifyRequest {
  readonly place: Place;
  /** Trusted already: given by the reviewer, or the node's store. */
  readonly keys: readonly TrustedKey[];
  /** A reviewer who gives two keys asks for both signatures; a node's store says how many of its keys, as for install. */
  readonly signers: number | 'every';
  /** Keys of this node that do not count any more; a bundle that only they have signed is told apart. */
  readonly removed?: readonly StoredKey[];
  /** Without proof of who made it: only whether the files agree with each other. */
  readonly unsigned: boolean;
  readonly reporter: Reporter;
}

/** A bundle folder or a payload alone. */
export interface Place {
  readonly kind: 'folder' | 'tar';
  /** Without links. */
  readonly path: string;
}

/** A bundle whose bytes agree, from the signature (if there was one to check) to each member. */
export interface Examined {
  readonly kind: Place['kind'];
  readonly path: string;
  /** False: nothing was proved about who made it. */
  readonly signed: boolean;
  /** SHA-256 of X.sha256; a bare payload has none. */
  readonly digest: Sha256 | undefined;
  /** X.sha256's lines, with the header; a bare payload has none. */
  readonly checksums: Checksums | undefined;
  readonly signatures: readonly Signature[];
  /** Other names in the folder: no part of the bundle, not signed, fit for a terminal. */
  readonly others: readonly string[];
  readonly payload: Payload;
}

export interface Examination {
  readonly problems: readonly BundleError[];
  /** Only when there is no problem. */
  readonly bundle: Examined | undefined;
}

/** @throws BundleError exit 2 when there is nothing */
export async function locate(host: ReadHost, given: string): Promise<Place> {
  const path = await host.realpath(given);
  const kind = path === undefined ? undefined : (await host.lstat(path))?.kind;
  if (path !== undefined && kind === 'directory') return { kind: 'folder', path };
  if (path !== undefined && kind === 'file') return { kind: 'tar', path };
  throw usageError({
    code: 'NO_BUNDLE',
    message: kind === undefined ? 'there is no such folder or file' : 'this is neither a folder nor a file',
    where: given,
    hint: 'Give the folder that "bundle create" made, or its X.tar.',
  });
}

/**
 * signature → X.sha256 → X.tar and install.sh → bundle.json → every member; writes nothing. Files that
 * can be judged without each other are, so that all that is wrong with a folder is told at once; nothing
 * is concluded from an X.sha256 that is not proved.
 */
export async function examine(host: ReadHost, request: VerifyRequest): Promise<Examination> {
  const problems: BundleError[] = [];
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      problems.push(asProblem(error, request.place.path));
      return undefined;
    }
  };
  const { place } = request;
  const found =
    place.kind === 'tar'
      ? await attempt(() => examineTar(host, request))
      : await examineFolder(host, request, problems, attempt);
  return { problems, bundle: problems.length === 0 ? found : undefined };
}

/** The same, for flows that go on only with a good bundle. @throws BundleError exit 4 */
export async function verify(host: ReadHost, request: VerifyRequest): Promise<Examined> {
  const { problems, bundle } = await examine(host, request);
  if (bundle === undefined) throw asOne(problems, request.place.path);
  return bundle;
}

/** One error for all problems; each keeps its place. */
export function asOne(problems: readonly BundleError[], where: string): BundleError {
  const [first] = problems;
  if (first !== undefined && problems.length === 1) return first;
  return untrustedError({
    code: 'NOT_VERIFIED',
    message: `${String(problems.length)} things are wrong with this bundle`,
    where,
    details: problems.flatMap((problem) => [
      `${problem.code}: ${problem.message}`,
      ...(problem.where === undefined ? [] : [`  at: ${problem.where}`]),
      ...problem.details.map((line) => `  ${line}`),
    ]),
    hint: 'Copy the folder again from its origin.',
  });
}

/**
 * What X.sha256 says of the release is what bundle.json says: one signer wrote both, but the first is
 * what a node's sequence floor is compared with.
 * @throws BundleError exit 4
 */
export function requireSameRelease(checksums: Checksums, contents: Contents, where: string): void {
  const outer = releaseWords(checksums);
  const inner = releaseWords({ ...contents, target: `${contents.target.os}.${contents.target.arch}` });
  if (outer === inner) return;
  throw untrustedError({
    code: 'OTHER_RELEASE',
    message: `the checksum file says ${outer}, bundle.json says ${inner}`,
    where,
    hint: 'This was not made by "bundle create": ask the packager.',
  });
}

export function releaseWords(release: Pick<Checksums, 'name' | 'version' | 'sequence' | 'target'>): string {
  return `${release.name} ${release.version}, sequence ${String(release.sequence)}, ${release.target}`;
}

async function examineTar(host: ReadHost, { place, unsigned, reporter }: VerifyRequest): Promise<Examined> {
  if (!unsigned)
    throw untrustedError({
      code: 'UNSIGNED',
      message: 'a payload alone has no signature: nothing can be proved about who made it',
      where: place.path,
      hint: 'Give its folder, with the signature. To check only that it agrees with its own bundle.json: --unsigned',
    });
  const payload = await payloadAt(host, place.path, undefined, reporter);
  return {
    kind: 'tar',
    path: place.path,
    signed: false,
    digest: undefined,
    checksums: undefined,
    signatures: [],
    others: [],
    payload,
  };
}

async function examineFolder(
  host: ReadHost,
  request: VerifyRequest,
  problems: BundleError[],
  attempt: <T>(work: () => Promise<T>) => Promise<T | undefined>,
): Promise<Examined | undefined> {
  const { keys, unsigned, reporter } = request;
  const directory = request.place.path;
  const names = await attempt(() => host.list(directory));
  if (names === undefined) return undefined;
  const lost = missingFiles(names, unsigned ? undefined : keys);
  problems.push(...lost.map((name) => missing(join(directory, name))));
  if (lost.some((name) => name.endsWith('.sha256') || name.endsWith('.sig'))) return undefined;

  const raw = await attempt(() => rawChecksums(host, directory));
  if (raw === undefined) return undefined;
  if (!unsigned) {
    const { signers, removed = [] } = request;
    const asked =
      signers === 'every'
        ? keys.map((key) => ({ trusted: [key], removed, threshold: 1 }))
        : [{ trusted: keys, removed, threshold: signers }];
    const proved = await Promise.all(
      asked.map((trust) => attempt(() => requireSigners(host, directory, raw, trust))),
    );
    if (proved.length === 0 || proved.includes(undefined)) return undefined;
  }
  const read = await attempt(() => Promise.resolve().then(() => parseRaw(directory, raw)));
  if (read === undefined) return undefined;

  const [payloadLine, ...otherLines] = read.checksums.files;
  for (const line of otherLines)
    if (!lost.includes(line.name))
      await attempt(() => requireSha256(host, join(directory, line.name), line.sha256));
  if (payloadLine === undefined || lost.includes(payloadLine.name)) return undefined;
  const path = join(directory, payloadLine.name);
  const payload = await attempt(async () => {
    const whole = await payloadAt(host, path, payloadLine.sha256, reporter);
    requireSameRelease(read.checksums, whole.contents, `${path}: ${member.contents}`);
    return whole;
  });
  if (payload === undefined) return undefined;
  return attempt(() => describe(host, directory, names, raw, read, payload, request));
}

async function describe(
  host: ReadHost,
  directory: string,
  names: readonly string[],
  raw: RawChecksums,
  { checksums, digest }: ReadChecksums,
  payload: Payload,
  { keys, removed, unsigned }: Pick<VerifyRequest, 'keys' | 'removed' | 'unsigned'>,
): Promise<Examined> {
  const signatures = await signaturesIn(host, directory, raw, keys, removed);
  const ours = new Set([
    raw.name,
    ...checksums.files.map((file) => file.name),
    ...signatures.map((signature) => signature.file),
  ]);
  return {
    kind: 'folder',
    path: directory,
    signed: !unsigned,
    digest,
    checksums,
    signatures,
    others: names.filter((name) => !ours.has(name)).map(plain),
    payload,
  };
}

/** Which of the four files are not in the folder; none when the folder does not tell what they are called. */
function missingFiles(names: readonly string[], keys: readonly TrustedKey[] | undefined): string[] {
  const stems = ['.sha256', '.tar'].map((ending) =>
    names.filter((name) => name.endsWith(ending)).map((name) => name.slice(0, -ending.length)),
  );
  const [stem, ...more] = stems.find((found) => found.length > 0) ?? [];
  if (stem === undefined || more.length > 0) return [];
  const wanted = [folder.checksums(stem), folder.payload(stem), folder.installer];
  const lost = wanted.filter((name) => !names.includes(name));
  const unsignedFolder = !names.some((name) => name.endsWith('.sig'));
  const [key] = keys ?? [];
  return unsignedFolder && key !== undefined ? [...lost, folder.signature(stem, key.keyId)] : lost;
}

function missing(path: string): BundleError {
  return untrustedError({
    code: 'MISSING',
    message: `${plain(path.slice(path.lastIndexOf('/') + 1))} is missing`,
    where: plain(path),
    hint: 'Copy the whole folder again from its origin.',
  });
}

async function requireSha256(host: ReadHost, path: string, expected: Sha256): Promise<void> {
  const actual = await host.sha256(path);
  if (actual === expected) return;
  throw untrustedError({
    code: 'ALTERED',
    message:
      actual === undefined
        ? 'this is not a regular file'
        : `SHA-256 is ${actual}, the signed one is ${expected}`,
    where: path,
    hint: 'Do not run it. Copy it again from its origin.',
  });
}

async function payloadAt(
  host: ReadHost,
  path: string,
  expected: Sha256 | undefined,
  reporter: Reporter,
): Promise<Payload> {
  return inStep(
    reporter,
    'payload',
    'read the payload',
    (step) =>
      readPayload(host, path, { step, locate: true, ...(expected === undefined ? {} : { expected }) }),
    ({ contents, sizeBytes }) => `${formatBytes(sizeBytes)}, ${String(contents.members.length + 1)} members`,
  );
}

/** A medium that cannot be read has not proved anything; a fault of this program stays one. */
export function asProblem(error: unknown, place: string): BundleError {
  if (error instanceof BundleError) return error;
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) throw error;
  const denied = error.code === 'EACCES' || error.code === 'EPERM';
  return untrustedError({
    code: 'UNREADABLE',
    message: `it cannot be read: ${denied ? 'permission denied' : plain(error.message)}`,
    where: plain('path' in error && typeof error.path === 'string' ? error.path : place),
    hint: denied
      ? 'Copy the folder to a place where you may read it, or run this with sudo.'
      : 'Copy the folder again from its origin; is the medium damaged?',
    cause: error,
  });
}
