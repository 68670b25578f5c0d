import crypto from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { untrustedError } from '../errors.js';
import type { Range } from '../host/hasher.js';
import { startHasher } from '../host/hasher.js';
import type { Member } from '../model/contents.js';
import type { Sha256 } from '../model/grammar.js';
import { BLOCK_BYTES, paddingBytes, trailerBytes, ustarHeader } from '../model/ustar.js';
import { unwritable } from './store.js';

/** A member and the file that holds its bytes. */
export interface PackMember extends Member {
  readonly file: string;
}

export interface PackRequest {
  /** The first member, in memory. */
  readonly first: { readonly path: string; readonly bytes: Uint8Array };
  /** The others, in the tar's order. */
  readonly members: readonly PackMember[];
  /** A new file. */
  readonly output: string;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface Packed {
  readonly sha256: Sha256;
  readonly sizeBytes: number;
  /** Of these, how long the disk took to confirm. */
  readonly syncMs: number;
}

/** A few of these stay in a core's own cache from reading to writing; larger ones cost twice the time (docs/performance.md). */
const CHUNK_BYTES = 256 * 1024;
const CHUNKS = 8;
/** So few chunks wait for the other thread that it would soon have none. */
const FEW = 2;

/**
 * Writes the canonical tar. The bytes that go into it are the bytes that are hashed: each member is
 * compared with its digest on the way. This thread reads, another one hashes the whole and writes; the members
 * are hashed by whichever has less to do. Memory is constant.
 * @throws BundleError exit 4 naming the member that has other bytes; exit 6 when it cannot be written
 */
export async function packTar(request: PackRequest): Promise<Packed> {
  const { output, signal } = request;
  const totalBytes = packedBytes(request);
  const read = tarReader(request);
  const cannotWrite = (cause: unknown): never => {
    throw unwritable(output, cause);
  };
  const file = await open(output, 'wx', 0o644).catch(cannotWrite);
  const sink = startHasher(CHUNKS, CHUNK_BYTES, file.fd);
  const busy: Promise<unknown>[] = sink.slots.map(() => Promise.resolve());
  const memberHashes = new Map<PackMember, Hash>();
  try {
    let position = 0;
    for (let chunk = 0; ; chunk += 1) {
      const slot = chunk % CHUNKS;
      await busy[slot];
      signal?.throwIfAborted();
      const bytes = sink.slots[slot] as Buffer;
      const { length, parts } = read.fill(bytes);
      if (length === 0) break;
      // The other thread takes what lies in this chunk as a whole, if it has nothing else to do soon.
      const [theirs, ours] = sink.backlog() < FEW ? split(parts) : [[], parts];
      const kept = sink.update(slot, length, theirs).then((digests) => {
        for (const [index, { member }] of theirs.entries()) requireDigest(member, digests[index]);
      }, cannotWrite);
      busy[slot] = kept;
      // It is awaited when the slot is wanted again; until then a failure must not count as unhandled.
      kept.catch(() => undefined);
      for (const part of ours) hashPart(part, bytes, memberHashes);
      position += length;
      request.onProgress?.(position, totalBytes);
    }
    await Promise.all(busy);
    const sha256 = await sink.digest();
    const startedMs = performance.now();
    await file.sync().catch(cannotWrite);
    return { sha256, sizeBytes: position, syncMs: performance.now() - startedMs };
  } finally {
    await Promise.allSettled(busy);
    read.close();
    await sink.close();
    await file.close();
  }
}

/** Those that are a member as a whole, and the others, whose hash goes on from chunk to chunk. */
function split(parts: readonly Part[]): [readonly Part[], readonly Part[]] {
  const isWhole = ({ member, from, to }: Part): boolean => to - from === member.sizeBytes;
  return [parts.filter(isWhole), parts.filter((part) => !isWhole(part))];
}

/** The size of the tar, before it is written. */
export function packedBytes(request: Pick<PackRequest, 'first' | 'members'>): number {
  const sizes = [request.first.bytes.length, ...request.members.map((member) => member.sizeBytes)];
  const body = sizes.reduce((sum, size) => sum + BLOCK_BYTES + size + paddingBytes(size), 0);
  return body + trailerBytes(body);
}

/** These bytes of a chunk are `member`'s; `last` ends it. */
interface Part extends Range {
  readonly member: PackMember;
  readonly last: boolean;
}

interface Filled {
  readonly length: number;
  readonly parts: readonly Part[];
}

/**
 * The tar as a sequence of full chunks: headers, padding and small members share one. Its calls do not go through
 * the thread pool, whose round trips cost more than the bytes of a small member; they hold this thread up for one
 * chunk at a time.
 */
function tarReader(request: PackRequest): { fill(into: Buffer): Filled; close(): void } {
  const { first, members } = request;
  const header = (path: string, mode: number, sizeBytes: number): Buffer =>
    ustarHeader({ path, mode, sizeBytes });
  let pending: Buffer = Buffer.concat([
    header(first.path, 0o644, first.bytes.length),
    first.bytes,
    Buffer.alloc(paddingBytes(first.bytes.length)),
  ]);
  let body = pending.length;
  let index = 0;
  let ended = false;
  let current: { readonly member: PackMember; readonly file: number; read: number } | undefined;

  const advance = (): void => {
    const member = members[index];
    index += 1;
    if (member === undefined) {
      pending = Buffer.alloc(ended ? 0 : trailerBytes(body));
      ended = true;
      return;
    }
    current = { member, file: readable(member, () => openSync(member.file, 'r')), read: 0 };
    pending = header(member.path, member.mode, member.sizeBytes);
    body += BLOCK_BYTES + member.sizeBytes + paddingBytes(member.sizeBytes);
  };

  return {
    fill(into) {
      const parts: Part[] = [];
      let at = 0;
      while (at < into.length) {
        if (pending.length > 0) {
          const copied = pending.copy(into, at);
          pending = pending.subarray(copied);
          at += copied;
        } else if (current === undefined) {
          advance();
          if (pending.length === 0) break;
        } else {
          const { member, file, read } = current;
          const left = member.sizeBytes - read;
          // A byte more, where there is room: what is longer than it should be shows without a call of its own.
          const wanted = Math.min(into.length - at, left + 1);
          const bytesRead = readable(member, () => readSync(file, into, at, wanted, read));
          const last = bytesRead >= left;
          if (bytesRead > left || bytesRead === 0 || wanted === left) requireSize(member, file);
          if (bytesRead > left || (bytesRead === 0 && !last))
            throw damaged(member, 'it changes while it is read');
          current.read += bytesRead;
          parts.push({ member, from: at, to: at + bytesRead, last });
          at += bytesRead;
          if (last) {
            current = undefined;
            closeSync(file);
            pending = PADDING.subarray(0, paddingBytes(member.sizeBytes));
          }
        }
      }
      return { length: at, parts };
    },
    close() {
      if (current !== undefined) closeSync(current.file);
    },
  };
}

const PADDING = Buffer.alloc(BLOCK_BYTES);

/** @throws BundleError exit 4 when the file has another size now than the member */
function requireSize(member: PackMember, file: number): void {
  const { size } = fstatSync(file);
  if (size === member.sizeBytes) return;
  throw damaged(member, `it has ${String(size)} bytes instead of ${String(member.sizeBytes)}`);
}

function readable<T>(member: PackMember, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw damaged(member, 'it cannot be read', cause);
  }
}

/** Node has it since 20.12: no object for each of many small members. */
const hashAtOnce = crypto.hash as typeof crypto.hash | undefined;

function hashPart(part: Part, bytes: Buffer, hashes: Map<PackMember, Hash>): void {
  const { member, from, to, last } = part;
  const piece = bytes.subarray(from, to);
  if (piece.length === member.sizeBytes && hashAtOnce !== undefined) {
    requireDigest(member, hashAtOnce('sha256', piece, 'hex'));
    return;
  }
  const hash = hashes.get(member) ?? crypto.createHash('sha256');
  hash.update(piece);
  hashes.set(member, hash);
  if (!last) return;
  hashes.delete(member);
  requireDigest(member, hash.digest('hex'));
}

function requireDigest(member: PackMember, actual: string | undefined): void {
  if (actual === member.sha256) return;
  throw damaged(member, `its sha256 is ${actual ?? 'not known'} instead of ${member.sha256}`);
}

function damaged(member: PackMember, what: string, cause?: unknown): Error {
  return untrustedError({
    code: 'STORE_DAMAGED',
    message: `${member.path} is damaged in the cache: ${what}`,
    where: member.file,
    hint: `Remove it and run the command again; it is then fetched anew: rm -f ${member.file}`,
    ...(cause === undefined ? {} : { cause }),
  });
}
