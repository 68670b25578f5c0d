import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, constants, mkdir, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { refusedError, usageError } from '../errors.js';
import type { Checksums } from '../model/checksums.js';
import { formatChecksums, stemOf } from '../model/checksums.js';
import { Sha256 } from '../model/grammar.js';
import { folder as names } from '../model/layout.js';
import { keyId, verifySignature } from '../model/signature.js';
import { publicKeyOf } from './keys.js';
import { ownedName, removeAbandoned } from './owner.js';
import type { PackRequest, Packed } from './pack.js';
import { packedBytes, packTar } from './pack.js';
import { signChecksums } from './sign.js';
import { ifThere, reasonOf } from './read-bounded.js';
import { unwritable } from './store.js';

export interface FolderRequest {
  /** The folder X appears in this one; made when missing. */
  readonly out: string;
  readonly release: Pick<Checksums, 'name' | 'version' | 'sequence' | 'target'>;
  readonly payload: Omit<PackRequest, 'output'>;
  readonly installSh: Uint8Array;
  /** Undefined: nobody signs here; the folder waits for its first signature. */
  readonly key: KeyObject | undefined;
  /** Replaces an existing folder that differs. */
  readonly force: boolean;
}

export interface WrittenFolder {
  readonly folder: string;
  readonly stem: string;
  /** Undefined: this run signed nothing. */
  readonly keyId: string | undefined;
  readonly payload: Packed;
  /** `written`; `same`: the folder was there with these bytes; `signed`: and now has this key's signature too. */
  readonly state: 'written' | 'same' | 'signed' | 'replaced';
}

/**
 * Writes OUT/X: payload, checksums, signature, install.sh. It is made under another name beside its place
 * and appears, whole and on the disk, by one rename. Who may read it is the packager's umask's business;
 * the payload does not know.
 * @throws BundleError exit 4 for a damaged member; exit 5 when X exists and differs, or the disk has no room;
 * exit 6 when it cannot be written. Nothing is left in any of these cases.
 */
export async function writeFolder(request: FolderRequest): Promise<WrittenFolder> {
  const { out, release, key } = request;
  const stem = stemOf(release);
  const folder = path.join(out, stem);
  const temporary = path.join(out, ownedName(`.${stem}`));
  await mkdir(out, { recursive: true }).catch((cause: unknown) => {
    throw unwritable(out, cause);
  });
  await removeAbandoned(out, `.${stem}.`);
  await requireRoom(out, packedBytes(request.payload) + request.installSh.length);
  try {
    await mkdir(temporary, { mode: 0o755 }).catch((cause: unknown) => {
      throw unwritable(out, cause);
    });
    const payload = await packTar({ ...request.payload, output: path.join(temporary, names.payload(stem)) });
    const checksums = formatChecksums({
      ...release,
      files: [
        { name: names.payload(stem), sha256: payload.sha256 },
        { name: names.installer, sha256: sha256Of(request.installSh) },
      ],
    });
    const signature = key === undefined ? undefined : signatureBy(key, stem, checksums);
    await writeDurable(path.join(temporary, names.installer), request.installSh);
    await writeDurable(path.join(temporary, names.checksums(stem)), checksums);
    if (signature !== undefined) await writeDurable(path.join(temporary, signature.name), signature.bytes);
    await syncFolder(temporary);
    const state = await publish({ temporary, folder, stem, checksums, signature, force: request.force });
    await syncFolder(out);
    return { folder, stem, keyId: signature?.keyId, payload, state };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

interface Ready {
  readonly temporary: string;
  readonly folder: string;
  readonly stem: string;
  readonly checksums: string;
  readonly signature: NewSignature | undefined;
  readonly force: boolean;
}

interface NewSignature {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly keyId: string;
  readonly publicKey: KeyObject;
}

function signatureBy(key: KeyObject, stem: string, checksums: string): NewSignature {
  const publicKey = publicKeyOf(key);
  const id = keyId(publicKey);
  return {
    name: names.signature(stem, id),
    bytes: signChecksums(checksums, key),
    keyId: id,
    publicKey,
  };
}

async function publish(ready: Ready): Promise<WrittenFolder['state']> {
  const { temporary, folder, force } = ready;
  if ((await lookAt(folder, stat(folder))) === undefined) {
    await rename(temporary, folder).catch((cause: unknown) => {
      throw unwritable(folder, cause);
    });
    return 'written';
  }
  const difference = await firstDifference(ready);
  if (difference === undefined) return addSignature(ready);
  if (!force)
    throw refusedError({
      code: 'FOLDER_DIFFERS',
      message: `there is another bundle of this name and version: ${difference}`,
      where: folder,
      hint: 'A released version does not change: give the manifest a new "version:" and "sequence:". To replace a bundle that nobody has: --force',
    });
  const displaced = `${temporary}.old`;
  await rename(folder, displaced).catch((cause: unknown) => {
    throw unwritable(folder, cause);
  });
  try {
    await rename(temporary, folder);
  } catch (cause) {
    await rename(displaced, folder);
    throw unwritable(folder, cause);
  }
  await rm(displaced, { recursive: true, force: true }).catch((cause: unknown) => {
    throw unwritable(displaced, cause);
  });
  return 'replaced';
}

/** What differs between the folder that is there and the new one, in words; signatures aside. */
async function firstDifference({ folder, stem, checksums }: Ready): Promise<string | undefined> {
  const file = path.join(folder, names.checksums(stem));
  const there = await lookAt(file, readFile(file, 'utf8'));
  if (there === undefined) return `it has no ${names.checksums(stem)}`;
  if (there !== checksums) return `its ${names.checksums(stem)} differs`;
  for (const line of checksums.split('\n').slice(1, -1)) {
    const [sha256 = '', name = ''] = line.split('  ');
    const member = path.join(folder, name);
    const found = await lookAt(member, hashFile(member));
    if (found === undefined) return `it has no ${name}`;
    if (found !== sha256) return `its ${name} is damaged`;
  }
  return undefined;
}

/** ECDSA signatures differ each time: a good one of this key stays, others' are not touched. */
async function addSignature({ temporary, folder, checksums, signature }: Ready): Promise<'same' | 'signed'> {
  if (signature === undefined) return 'same';
  const file = path.join(folder, signature.name);
  const there = await lookAt(file, readFile(file));
  if (there !== undefined && verifySignature(Buffer.from(checksums), there, signature.publicKey))
    return 'same';
  await rename(path.join(temporary, signature.name), file).catch((cause: unknown) => {
    throw unwritable(file, cause);
  });
  await syncFolder(folder);
  return 'signed';
}

/** @throws BundleError exit 5 for what is there and may not be looked at */
async function lookAt<T>(file: string, work: Promise<T>): Promise<T | undefined> {
  return ifThere(work).catch((cause: unknown) => {
    throw refusedError({
      code: 'FOLDER_DIFFERS',
      message: `there is a bundle of this name already, and it cannot be compared: ${reasonOf(cause)}`,
      where: file,
      hint: `See: ls -l ${file}\nor choose another folder with --out.`,
      cause,
    });
  });
}

/** What writeFolder would find wrong with it, before anything is fetched. Makes nothing. */
export async function requireFolder(out: string): Promise<void> {
  const folder = path.resolve(out);
  await access(path.join(folder, path.sep), constants.W_OK | constants.X_OK).catch(async (cause: unknown) => {
    const parent = path.dirname(folder);
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || parent === folder)
      throw unwritable(folder, cause);
    await requireFolder(parent);
  });
}

async function requireRoom(out: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(out).catch((cause: unknown) => {
    throw unwritable(out, cause);
  });
  if (bavail * bsize >= neededBytes) return;
  throw refusedError({
    code: 'NO_ROOM',
    message: `the bundle takes ${String(neededBytes)} bytes; ${String(bavail * bsize)} are free`,
    where: out,
    hint: `Make room there (see: df -h ${out}), or choose another folder with --out.`,
  });
}

/** The companion's first step. @throws BundleError exit 2 when it was not built */
export async function readInstallSh(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: unknown) => {
    throw usageError({
      code: 'NO_INSTALLER',
      message: 'install.sh is missing from this installation of airbundle',
      where: file,
      hint: 'Install airbundle again, in its clone: npm ci && npm install -g .',
      cause,
    });
  });
}

/** A new file, 0644 or what the umask leaves of it, on the disk when this returns. @throws BundleError exit 6 */
export async function writeDurable(file: string, bytes: Uint8Array | string): Promise<void> {
  try {
    const handle = await open(file, 'wx', 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw unwritable(file, cause);
  }
}

async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw unwritable(folder, cause);
  }
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 }))
    hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

function sha256Of(bytes: Uint8Array): Sha256 {
  return Sha256.parse(createHash('sha256').update(bytes).digest('hex'));
}
