import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { Sha256 } from '../model/grammar.js';

/*
 * SHA-256 of the whole payload in a second thread, while the main one hashes the members: each byte of
 * a bundle is hashed twice, and both would otherwise wait for each other (docs/performance.md). Packing and
 * verifying both use it; it runs on Node 16.
 */

/** Buffers that both threads see; a slot is free again when its promise resolves. */
export interface Hasher {
  readonly slots: readonly Buffer[];
  /**
   * Hashes the first `length` bytes of a slot, in the order of the calls, and appends them to the file.
   * @param ranges of the slot that are hashed by themselves as well
   * @returns their SHA-256, hexadecimal
   * @throws the system's error when they cannot be written
   */
  update(slot: number, length: number, ranges?: readonly Range[]): Promise<readonly string[]>;
  /** How many slots the other thread has yet to hash: what it is doing now included. */
  backlog(): number;
  digest(): Promise<Sha256>;
  close(): Promise<void>;
}

/** Offsets in a slot; `to` is the first that does not belong to it. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

// Text, not a file of its own: it then runs the same from sources, from one built file, and in tests.
const WORKER = `
const { writeSync } = require('node:fs');
const { parentPort, workerData } = require('node:worker_threads');
const crypto = require('node:crypto');
const hash = crypto.createHash('sha256');
const done = new Int32Array(workerData.done);
const slots = workerData.slots.map((slot) => new Uint8Array(slot));
const append = (bytes) => {
  for (let at = 0; at < bytes.length; ) {
    const written = writeSync(workerData.file, bytes, at);
    if (written === 0) throw new Error('the file takes no more bytes');
    at += written;
  }
};
// Node has crypto.hash since 20.12: no object for each of many small pieces.
const digestOf = (bytes) =>
  crypto.hash ? crypto.hash('sha256', bytes, 'hex') : crypto.createHash('sha256').update(bytes).digest('hex');
parentPort.on('message', ({ slot, length, bounds }) => {
  if (slot === undefined) return parentPort.postMessage({ digest: hash.digest('hex') });
  const bytes = slots[slot].subarray(0, length);
  hash.update(bytes);
  try {
    if (workerData.file !== undefined) append(bytes);
    const digests = [];
    for (let at = 0; at < bounds.length; at += 2) digests.push(digestOf(bytes.subarray(bounds[at], bounds[at + 1])));
    Atomics.add(done, 0, 1);
    parentPort.postMessage({ digests });
  } catch ({ message, code }) {
    parentPort.postMessage({ failure: { message, code } });
  }
});
`;

interface Answer {
  readonly digest?: string;
  readonly digests?: readonly string[];
  /** A write that failed, as Node says it. */
  readonly failure?: { readonly message: string; readonly code?: string };
}

/**
 * @param file the descriptor of an open file that takes what is hashed: the same bytes, while they are still in
 * this core's cache
 */
export function startHasher(slotCount: number, slotBytes: number, file?: number): Hasher {
  const shared = Array.from({ length: slotCount }, () => new SharedArrayBuffer(slotBytes));
  const done = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const doneCount = new Int32Array(done);
  let askedCount = 0;
  const worker = new Worker(WORKER, {
    eval: true,
    workerData: { slots: shared, file, done },
    resourceLimits: { maxOldGenerationSizeMb: 16 },
  });
  const waiting: { resolve(answer: Answer): void; reject(error: Error): void }[] = [];
  let broken: Error | undefined;
  const fail = (error: Error): void => {
    broken ??= error;
    for (const entry of waiting.splice(0)) entry.reject(error);
  };
  worker.on('message', (answer: Answer) => {
    const { failure } = answer;
    const asked = waiting.shift();
    if (failure === undefined) asked?.resolve(answer);
    else asked?.reject(Object.assign(new Error(failure.message), { code: failure.code }));
  });
  worker.on('error', (error) => {
    fail(error instanceof Error ? error : new Error(String(error)));
  });
  worker.on('exit', () => {
    fail(new Error('the hashing thread has ended'));
  });
  const ask = (message: {
    readonly slot?: number;
    readonly length?: number;
    readonly bounds?: readonly number[];
  }): Promise<Answer> =>
    new Promise((resolve, reject) => {
      if (broken !== undefined) {
        reject(broken);
        return;
      }
      waiting.push({ resolve, reject });
      worker.postMessage(message);
    });
  return {
    slots: shared.map((slot) => Buffer.from(slot)),
    async update(slot, length, ranges = []) {
      askedCount += 1;
      const bounds = ranges.flatMap(({ from, to }) => [from, to]);
      return (await ask({ slot, length, bounds })).digests ?? [];
    },
    backlog: () => askedCount - Atomics.load(doneCount, 0),
    async digest() {
      return Sha256.parse((await ask({})).digest);
    },
    async close() {
      await worker.terminate();
    },
  };
}

/** The same in the calling thread, for so few bytes that they are hashed before a second one has started. */
export function hashHere(slotCount: number, slotBytes: number): Hasher {
  const hash = createHash('sha256');
  const slots = Array.from({ length: slotCount }, () => Buffer.alloc(slotBytes));
  return {
    slots,
    update(slot, length, ranges = []) {
      const bytes = (slots[slot] as Buffer).subarray(0, length);
      hash.update(bytes);
      return Promise.resolve(
        ranges.map(({ from, to }) => createHash('sha256').update(bytes.subarray(from, to)).digest('hex')),
      );
    },
    backlog: () => 0,
    digest: () => Promise.resolve(Sha256.parse(hash.digest('hex'))),
    close: () => Promise.resolve(),
  };
}
