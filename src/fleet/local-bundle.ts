import { basename, dirname, join } from 'node:path';
import { declaredValues, requiredSecrets } from '../configure/index.js';
import { BundleError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import type { Sha256 } from '../model/grammar.js';
import type { Site } from '../model/site.js';
import { parseSite } from '../model/site.js';
import type { Reporter } from '../report.js';
import type { StoredKey, TrustedKey } from '../review/keys.js';
import { givenKeys, requireNotRemoved, trustStore } from '../review/keys.js';
import type { Examined } from '../review/verify.js';
import { locate, verify } from '../review/verify.js';

/** One file that goes to every node. */
export interface FileToSend {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A file beside the bundle: small, and some of them secret. */
export interface DeskFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** A bundle that is proved, and the site that it goes to. */
export interface Consignment {
  readonly stem: string;
  readonly contents: Contents;
  readonly digest: Sha256;
  readonly files: readonly FileToSend[];
  readonly site: Site;
  /** Name of the site file among the desk's. */
  readonly siteName: string;
  /** The public key for a node that trusts none yet. */
  readonly key: { readonly name: string; readonly fingerprint: string };
  readonly desk: readonly DeskFile[];
}

export interface ConsignmentRequest {
  readonly folder: string;
  readonly site: string;
  readonly keys: readonly string[];
  readonly fingerprints: readonly string[];
  readonly reporter: Reporter;
}

/** What is sent: verified here first, whatever the nodes verify later. @throws BundleError exit 2–5 */
export async function readConsignment(host: ReadHost, request: ConsignmentRequest): Promise<Consignment> {
  const bundleGiven = { code: 'NO_BUNDLE', what: 'the bundle', path: request.folder };
  const place = await readable(bundleGiven, () => locate(host, request.folder));
  if (place.kind !== 'folder')
    throw usageError({
      code: 'NO_BUNDLE',
      message: 'this is a file; the folder of the bundle is wanted',
      where: request.folder,
      hint: `Give the folder with all its files: ${dirname(request.folder)}`,
    });
  const trust = await keysFor(host, request);
  const bundle = await readable(bundleGiven, () =>
    verify(host, { place, ...trust, unsigned: false, reporter: request.reporter }),
  );
  const { contents } = bundle.payload;
  const siteBytes = await readGiven(host, siteGiven(request.site));
  const site = parseSite(siteBytes, request.site, declaredValues(contents.components));
  const key = signerOf(bundle, trust.keys, request.folder);
  const siteName = 'site.yaml';
  const secrets = await Promise.all(
    requiredSecrets(contents.components, site).map(async ({ file, what }) => ({
      name: basename(file),
      bytes: await readGiven(host, {
        code: 'NO_SECRET',
        what: `the file with ${what}`,
        path: join(dirname(request.site), basename(file)),
      }),
    })),
  );
  return {
    stem: basename(payloadName(bundle), '.tar'),
    contents,
    digest: digestOf(bundle),
    files: await filesOf(host, bundle),
    site,
    siteName,
    key: { name: 'key.pem', fingerprint: key.fingerprint },
    desk: [
      { name: siteName, bytes: siteBytes },
      { name: 'key.pem', bytes: Buffer.from(key.pem) },
      ...secrets.filter(({ name }, index) => secrets.findIndex((other) => other.name === name) === index),
    ],
  };
}

interface Keys {
  readonly keys: readonly TrustedKey[];
  readonly signers: number | 'every';
  readonly removed: readonly StoredKey[];
}

async function keysFor(host: ReadHost, { keys: files, fingerprints }: ConsignmentRequest): Promise<Keys> {
  const store = await trustStore(host);
  if (files.length > 0) {
    if (fingerprints.length === 0)
      throw usageError({
        code: 'NO_FINGERPRINT',
        message: 'the fingerprint of the key is needed: 64 hex digits',
        hint: 'Add: --fingerprint F, as the packager told you by another way than the medium.',
      });
    const keysGiven = { code: 'NO_KEY', what: 'the key', path: files.join(', ') };
    const keys = await readable(keysGiven, () => givenKeys(host, files, fingerprints));
    for (const [index, key] of keys.entries()) requireNotRemoved(key, store.removed, files[index] ?? '--key');
    return { keys, signers: 'every', removed: store.removed };
  }
  if (store.trusted.length > 0)
    return { keys: store.trusted, signers: store.threshold, removed: store.removed };
  throw usageError({
    code: 'NO_KEY',
    message: 'no key is trusted on this machine; nothing is sent that is not proved',
    hint: 'Add: --key packager.pub.pem --fingerprint F, with the fingerprint that the packager told you by another way than the medium.',
  });
}

/** The site alone, for a command that brings no bundle. @throws BundleError exit 2 or 3 */
export async function readSiteAlone(host: Pick<ReadHost, 'read'>, path: string): Promise<Site> {
  return parseSite(await readGiven(host, siteGiven(path)), path);
}

/**
 * The VRRP secret beside the site file here; undefined: the site has none, or its file is not there.
 * @throws BundleError exit 2 when it is there and cannot be read
 */
export async function readVrrpSecret(
  host: Pick<ReadHost, 'read'>,
  sitePath: string,
  site: Site,
): Promise<string | undefined> {
  if (site.vrrp === undefined) return undefined;
  const path = join(dirname(sitePath), basename(site.vrrp.secretFile));
  const given = { code: 'NO_SECRET', what: 'the file with the VRRP secret', path };
  const bytes = await readable(given, () => host.read(path));
  return bytes?.toString('utf8').replace(/\r?\n$/, '');
}

/** What the operator gave, for the words of an error. */
interface Given {
  readonly code: string;
  readonly what: string;
  readonly path: string;
}

const siteGiven = (path: string): Given => ({ code: 'NO_SITE', what: 'the site file', path });

async function readGiven(host: Pick<ReadHost, 'read'>, given: Given): Promise<Buffer> {
  const bytes = await readable(given, () => host.read(given.path));
  if (bytes !== undefined) return bytes;
  throw usageError({
    code: given.code,
    message: `${given.what} is not there`,
    where: given.path,
    hint:
      given.code === 'NO_SITE'
        ? 'Give its path on this machine: --site site.yaml'
        : 'It lies beside the site file, on this machine; it is sent to the nodes from here.',
  });
}

/** An error of the system while something given is read is about that, and no bug of this program. */
async function readable<T>({ code, what, path }: Given, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof BundleError || !(cause instanceof Error) || !('code' in cause)) throw cause;
    const [reason, hint] = SYSTEM_WORDS[String(cause.code)] ?? [cause.message, `See: ls -l ${path}`];
    const where = 'path' in cause && typeof cause.path === 'string' ? cause.path : path;
    throw usageError({ code, message: `${what} cannot be read: ${reason}`, where, hint, cause });
  }
}

const DENIED = [
  'permission denied',
  'Let this user read it, with the folders above it (namei -l shows them), or run this as a user who may.',
] as const;

const SYSTEM_WORDS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  EACCES: DENIED,
  EPERM: DENIED,
  EISDIR: ['it is a folder, not a file', 'Give the path of the file itself.'],
};

/** The first of the keys that we go by whose signature is good: what a node without trust is given. */
function signerOf(bundle: Examined, keys: readonly TrustedKey[], where: string): TrustedKey {
  const good = keys.find((key) =>
    bundle.signatures.some(({ keyId, state }) => keyId === key.keyId && state === 'good'),
  );
  if (good === undefined) throw new Error(`${where} was verified without a signer`);
  return good;
}

function payloadName(bundle: Examined): string {
  const name = bundle.checksums?.files[0]?.name;
  if (name === undefined) throw new Error('a verified folder has a payload');
  return name;
}

function digestOf(bundle: Examined): Sha256 {
  if (bundle.digest === undefined) throw new Error('a verified folder has a digest');
  return bundle.digest;
}

/** The payload last: what is small is there when it comes. */
async function filesOf(host: ReadHost, bundle: Examined): Promise<FileToSend[]> {
  const stem = basename(payloadName(bundle), '.tar');
  const signed = (bundle.checksums?.files ?? []).map(({ name, sha256 }) => ({
    name,
    sha256: String(sha256),
  }));
  const beside = await Promise.all(
    [`${stem}.sha256`, ...bundle.signatures.map(({ file }) => file)].map(async (name) => ({
      name,
      sha256: (await host.sha256(join(bundle.path, name))) ?? '',
    })),
  );
  const files = await Promise.all(
    [...beside, ...signed].map(async ({ name, sha256 }) => {
      const path = join(bundle.path, name);
      return { name, sha256, path, sizeBytes: (await host.lstat(path))?.sizeBytes ?? 0 };
    }),
  );
  return files.sort((a, b) => a.sizeBytes - b.sizeBytes);
}
