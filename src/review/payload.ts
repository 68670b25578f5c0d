import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import type { BundleError } from '../errors.js';
import { untrustedError } from '../errors.js';
import type { Hasher } from '../host/hasher.js';
import { hashHere, startHasher } from '../host/hasher.js';
import type { OpenFile, ReadHost } from '../host/host.js';
import type { Contents, Member } from '../model/contents.js';
import { MAX_CONTENTS_BYTES, parseContents } from '../model/contents.js';
import { BundlePath, Sha256 } from '../model/grammar.js';
import { member } from '../model/layout.js';
import { BLOCK_BYTES, paddingBytes, parseUstarHeader, trailerBytes } from '../model/ustar.js';
import type { Step } from '../report.js';

/** A member as its header describes it. */
export interface MemberHeader {
  readonly path: BundlePath;
  readonly mode: 0o644 | 0o755;
  readonly sizeBytes: number;
}

export interface PayloadRequest {
  /** SHA-256 of the whole tar, from the verified X.sha256. Without it, nothing says that these bytes are the right ones. */
  readonly expected?: Sha256;
  /** Where a member's bytes go; the installer's stage, for example. They are not proved yet. */
  readonly open?: (header: MemberHeader) => Promise<OpenFile>;
  /** When the whole is not what was signed, say which member differs, by the payload's own bundle.json. */
  readonly locate?: boolean;
  readonly step?: Step | undefined;
}

export interface Payload {
  readonly contents: Contents;
  readonly sha256: Sha256;
  readonly sizeBytes: number;
}

const CHUNK_BYTES = 1024 * 1024;
const CHUNKS = 6;
/** Up to here, a second thread is not worth its start of some 30 ms. */
const SMALL_BYTES = 256 * 1024;
const SMALL_CHUNK_BYTES = 16 * 1024;

/** More than any bundle.json of the largest size can name. */
const MAX_MEMBERS = 100_000;

/**
 * Reads a payload once, front to end: the bytes are hashed as a whole (a large one in a second thread) and for each
 * member, which may be written elsewhere on the way. Only headers are interpreted while reading;
 * bundle.json is read after the whole has proved to be what was signed, and must then name every member,
 * in order, and nothing else. Memory is constant.
 * @param path the tar
 * @throws BundleError exit 4, with the place
 */
export async function readPayload(host: ReadHost, path: string, request: PayloadRequest): Promise<Payload> {
  const totalBytes = await requireFile(host, path);
  const hasher =
    totalBytes > SMALL_BYTES ? startHasher(CHUNKS, CHUNK_BYTES) : hashHere(CHUNKS, SMALL_CHUNK_BYTES);
  try {
    const bytes = hashedAhead(host, path, hasher, request.step, totalBytes);
    const { first, members, sizeBytes } = await splitMembers(bytes, path, totalBytes, request.open);
    const sha256 = await hasher.digest();
    if (request.expected !== undefined && sha256 !== request.expected)
      throw badPayload(path, `SHA-256 is ${sha256}, the signed one is ${request.expected}`, [
        ...(request.locate === true ? [firstDamage(first, members, path)] : []),
      ]);
    const contents = contentsOf(first, path);
    requireNamed(contents, members, path);
    return { contents, sha256, sizeBytes };
  } finally {
    await hasher.close();
  }
}

/**
 * bundle.json alone, for a look at a payload that nobody vouches for.
 * @throws BundleError exit 4
 */
export async function peekContents(host: ReadHost, path: string): Promise<Contents> {
  await requireFile(host, path);
  const reader = new Reader(host.chunks(path), path);
  try {
    const header = await readHeader(reader, 0);
    return contentsOf(header === undefined ? Buffer.alloc(0) : await reader.exactly(header.sizeBytes), path);
  } finally {
    await reader.close();
  }
}

/** Its size; a pipe or a device would never end. */
async function requireFile(host: ReadHost, path: string): Promise<number> {
  const facts = await host.lstat(path);
  if (facts?.kind === 'file') return facts.sizeBytes;
  throw badPayload(
    path,
    facts === undefined ? 'the payload is missing' : 'the payload is not a regular file',
  );
}

/** The bytes of a file, one piece ahead of whoever takes them; each is hashed meanwhile. */
async function* hashedAhead(
  host: ReadHost,
  path: string,
  hasher: Hasher,
  step: Step | undefined,
  total: number,
): AsyncGenerator<Buffer> {
  const { slots } = hasher;
  const busy: Promise<unknown>[] = slots.map(() => Promise.resolve());
  let filled = 0;
  const nextSlot = async (): Promise<Buffer> => {
    const slot = filled % slots.length;
    filled += 1;
    await busy[slot];
    return slots[slot] as Buffer;
  };
  const chunks = host.chunks(path, nextSlot)[Symbol.asyncIterator]();
  let ahead: Promise<IteratorResult<Buffer, unknown>> = chunks.next();
  const readAhead = (): void => {
    ahead = chunks.next();
    // Awaited later; until then a failure must not count as unhandled.
    ahead.catch(() => undefined);
  };
  let done = 0;
  const hash = (piece: Buffer): Buffer => {
    const slot = slots.findIndex((candidate) => candidate.buffer === piece.buffer);
    const hashed = hasher.update(slot, piece.length);
    busy[slot] = hashed;
    hashed.catch(() => undefined);
    done += piece.length;
    step?.progress({ done, total, unit: 'bytes' });
    return piece;
  };
  try {
    for (;;) {
      const next = await ahead;
      if (next.done === true) break;
      const { value } = next;
      if (slots.some((slot) => slot.buffer === value.buffer)) {
        const piece = hash(value);
        readAhead();
        yield piece;
        continue;
      }
      // A host may have used a buffer of its own, of any size, which the other thread does not see.
      for (let at = 0; at < value.length;) {
        const copy = await nextSlot();
        const piece = hash(copy.subarray(0, value.copy(copy, 0, at)));
        at += piece.length;
        yield piece;
      }
      readAhead();
    }
    await Promise.all(busy);
  } finally {
    await ahead.catch(() => undefined);
    await chunks.return?.();
  }
}

/** Exactly so many bytes at a time out of a stream of pieces, and where in the stream that is. */
class Reader {
  offset = 0;
  private readonly iterator: AsyncIterator<Buffer, unknown>;
  private rest: Buffer = Buffer.alloc(0);
  constructor(
    chunks: AsyncIterable<Buffer>,
    private readonly path: string,
  ) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  /** Between 1 and `limit` bytes, which stay as they are until the next call; undefined at the end. */
  async some(limit: number): Promise<Buffer | undefined> {
    if (this.rest.length === 0) {
      const next = await this.iterator.next();
      if (next.done === true) return undefined;
      this.rest = next.value;
    }
    const piece = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(piece.length);
    this.offset += piece.length;
    return piece;
  }

  /** A copy. */
  async exactly(length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const piece = await this.some(length - at);
      if (piece === undefined) throw this.bad('the payload is cut off');
      at += piece.copy(bytes, at);
    }
    return bytes;
  }

  bad(message: string, offset = this.offset): BundleError {
    return badPayload(`${this.path}, byte ${String(offset)}`, message);
  }

  async close(): Promise<void> {
    await this.iterator.return?.();
  }
}

interface Split {
  /** bundle.json's bytes. */
  readonly first: Buffer;
  /** As they were found; bundle.json first. */
  readonly members: readonly Member[];
  readonly sizeBytes: number;
}

async function splitMembers(
  chunks: AsyncIterable<Buffer>,
  path: string,
  totalBytes: number,
  open: PayloadRequest['open'],
): Promise<Split> {
  const reader = new Reader(chunks, path);
  try {
    const members: Member[] = [];
    const names = new Names();
    let first: Buffer = Buffer.alloc(0);
    let isAnnounced: (header: MemberHeader, index: number) => boolean = () => true;
    let isOpen = true;
    for (;;) {
      const at = reader.offset;
      const header = await readHeader(reader, members.length);
      if (header === undefined) break;
      const clash = names.add(header.path);
      if (clash !== undefined) throw reader.bad(clash, at);
      if (members.length === MAX_MEMBERS) throw reader.bad('there are too many members', at);
      // Read on to the end all the same: the whole's digest says what is wrong.
      isOpen &&= isAnnounced(header, members.length);
      const file = isOpen ? await open?.(header) : undefined;
      const hash = createHash('sha256');
      try {
        if (members.length === 0) {
          first = await reader.exactly(header.sizeBytes);
          hash.update(first);
          await file?.write(first);
          isAnnounced = announcedBy(first, totalBytes, path);
        } else await copyMember(reader, header, hash, file);
      } finally {
        await file?.close();
      }
      if ((await reader.exactly(paddingBytes(header.sizeBytes))).some((byte) => byte !== 0))
        throw reader.bad(`${header.path} is padded with something`);
      members.push({ ...header, sha256: Sha256.parse(hash.digest('hex')) });
    }
    const bodyBytes = reader.offset - BLOCK_BYTES;
    const rest = await reader.exactly(trailerBytes(bodyBytes) - BLOCK_BYTES);
    if (rest.some((byte) => byte !== 0) || (await reader.some(1)) !== undefined)
      throw reader.bad('there is something behind the end of the archive');
    return { first, members, sizeBytes: reader.offset };
  } finally {
    await reader.close();
  }
}

/**
 * What may be written elsewhere before the whole is proved: bundle.json's members, in its order, with its
 * sizes, out of a file that is exactly as long as they are. So no more is ever written than the signed list says.
 */
function announcedBy(
  first: Buffer,
  totalBytes: number,
  path: string,
): (header: MemberHeader, index: number) => boolean {
  let contents: Contents;
  try {
    contents = contentsOf(first, path);
  } catch {
    return () => false;
  }
  const taken = (sizeBytes: number): number => BLOCK_BYTES + sizeBytes + paddingBytes(sizeBytes);
  const bodyBytes = contents.members.reduce((sum, one) => sum + taken(one.sizeBytes), taken(first.length));
  const isAsLong = bodyBytes + trailerBytes(bodyBytes) === totalBytes;
  return (header, index) => {
    const named = contents.members[index - 1];
    return (
      isAsLong &&
      named?.path === header.path &&
      named.sizeBytes === header.sizeBytes &&
      named.mode === header.mode
    );
  };
}

/** undefined: a block of zeros, the end of the archive. */
async function readHeader(reader: Reader, index: number): Promise<MemberHeader | undefined> {
  const at = reader.offset;
  const block = await reader.exactly(BLOCK_BYTES);
  if (index > 0 && block.every((byte) => byte === 0)) return undefined;
  const header = parseUstarHeader(block);
  const path = BundlePath.safeParse(header?.path);
  // bundle.json does not name itself: its mode is not proved by it, and is always the same.
  const notExecutable = index === 0;
  if (
    header === undefined ||
    !path.success ||
    (header.mode !== 0o644 && (header.mode !== 0o755 || notExecutable))
  )
    throw reader.bad(`member ${String(index + 1)} has a header that airbundle does not write`, at);
  if (index === 0 && (header.path !== member.contents || header.sizeBytes > MAX_CONTENTS_BYTES))
    throw reader.bad('bundle.json is not the first member', at);
  return { path: path.data, mode: header.mode, sizeBytes: header.sizeBytes };
}

async function copyMember(
  reader: Reader,
  header: MemberHeader,
  hash: Hash,
  file: OpenFile | undefined,
): Promise<void> {
  for (let left = header.sizeBytes; left > 0;) {
    const piece = await reader.some(left);
    if (piece === undefined) throw reader.bad(`the payload is cut off, in ${header.path}`);
    const written = file?.write(piece);
    hash.update(piece);
    await written;
    left -= piece.length;
  }
}

/** The names of an archive: none twice, none that is a file and a folder. */
class Names {
  private readonly files = new Set<string>();
  private readonly folders = new Set<string>();

  /** What is wrong with this one, in words. */
  add(path: string): string | undefined {
    if (this.files.has(path)) return `${path} is there twice`;
    const parts = path.split('/');
    const parents = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
    const both = this.folders.has(path) ? path : parents.find((parent) => this.files.has(parent));
    if (both !== undefined) return `${both} is there as a file and as a folder`;
    this.files.add(path);
    for (const parent of parents) this.folders.add(parent);
    return undefined;
  }
}

function contentsOf(bytes: Buffer, path: string): Contents {
  return parseContents(bytes.toString('utf8'), `${path}: ${member.contents}`);
}

/** bundle.json must name exactly what was there, in the same order. */
function requireNamed(contents: Contents, members: readonly Member[], path: string): void {
  const difference = differenceOf(contents, members.slice(1));
  if (difference !== undefined) throw badPayload(path, difference);
  const named = [
    contents.runtime.path,
    ...contents.rpms.map((rpm) => rpm.path),
    ...contents.components.map((component) => component.source.path),
  ];
  const held = new Set<string>(contents.members.map((entry) => entry.path));
  const lost = named.find((name) => !held.has(name));
  if (lost !== undefined)
    throw badPayload(path, `bundle.json speaks of ${lost}, which is not among its members`);
}

function differenceOf(contents: Contents, actual: readonly Member[]): string | undefined {
  if (actual.length !== contents.members.length)
    return `bundle.json names ${String(contents.members.length)} members, the archive holds ${String(actual.length)}`;
  for (const [index, expected] of contents.members.entries()) {
    const found = actual[index];
    if (found?.path !== expected.path)
      return `${found?.path ?? 'nothing'} stands where bundle.json names ${expected.path}`;
    if (
      found.sha256 !== expected.sha256 ||
      found.sizeBytes !== expected.sizeBytes ||
      found.mode !== expected.mode
    )
      return `${expected.path} is not what bundle.json says`;
  }
  return undefined;
}

/** Evidence, not proof: bundle.json may be what was altered. */
function firstDamage(first: Buffer, members: readonly Member[], path: string): string {
  try {
    const difference = differenceOf(contentsOf(first, path), members.slice(1));
    return difference === undefined
      ? 'it holds together in itself: it is another bundle, or one that was made anew'
      : `by its own, unproved bundle.json: ${difference}`;
  } catch {
    return 'its bundle.json cannot be read';
  }
}

function badPayload(where: string, message: string, details: readonly string[] = []): BundleError {
  return untrustedError({
    code: 'BAD_PAYLOAD',
    message,
    where,
    details,
    hint: 'The payload is damaged or was not made by airbundle: copy the folder again from its origin.',
  });
}
