import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { untrustedError } from '../errors.js';
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

/**
 * Writes the canonical tar. The bytes that go into it are the bytes that are hashed: each member is
 * compared with its digest on the way. This thread reads and hashes the members, another one hashes the whole
 * and writes; memory is constant.
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
      const kept = sink.update(slot, length).catch(cannotWrite);
      busy[slot] = kept;
      // It is awaited when the slot is wanted again; until then a failure must not count as unhandled.
      kept.catch(() => undefined);
      for (const part of parts) hashPart(part, bytes, memberHashes);
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

/** The size of the tar, before it is written. */
export function packedBytes(request: Pick<PackRequest, 'first' | 'members'>): number {
  const sizes = [request.first.bytes.length, ...request.members.map((member) => member.sizeBytes)];
  const body = sizes.reduce((sum, size) => sum + BLOCK_BYTES + size + paddingBytes(size), 0);
  return body + trailerBytes(body);
}

/** Bytes `from`..`to` of a chunk are `member`'s; `last` ends it. */
interface Part {
  readonly member: PackMember;
  readonly from: number;
  readonly to: number;
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
    const file = readable(member, () => openSync(member.file, 'r'));
    current = { member, file, read: 0 };
    const { size } = fstatSync(file);
    if (size !== member.sizeBytes)
      throw damaged(member, `it has ${String(size)} bytes instead of ${String(member.sizeBytes)}`);
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
          const wanted = Math.min(into.length - at, member.sizeBytes - read);
          const bytesRead = wanted === 0 ? 0 : readable(member, () => readSync(file, into, at, wanted, read));
          if (bytesRead === 0 && wanted > 0) throw damaged(member, 'it ends too early');
          current.read += bytesRead;
          const last = current.read === member.sizeBytes;
          parts.push({ member, from: at, to: at + bytesRead, last });
          at += bytesRead;
          if (last) {
            current = undefined;
            closeSync(file);
            pending = Buffer.alloc(paddingBytes(member.sizeBytes));
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

function readable<T>(member: PackMember, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw damaged(member, 'it cannot be read', cause);
  }
}

function hashPart(part: Part, bytes: Buffer, hashes: Map<PackMember, Hash>): void {
  const { member, from, to, last } = part;
  const hash = hashes.get(member) ?? createHash('sha256');
  hash.update(bytes.subarray(from, to));
  hashes.set(member, hash);
  if (!last) return;
  hashes.delete(member);
  const actual = hash.digest('hex');
  if (actual !== member.sha256) throw damaged(member, `its sha256 is ${actual} instead of ${member.sha256}`);
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
