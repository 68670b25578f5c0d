import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { BundleError } from '../errors.js';
import { untrustedError } from '../errors.js';
import type { Host, OpenFile } from '../host/host.js';
import type { Contents, Member } from '../model/contents.js';
import { MAX_CONTENTS_BYTES, parseContents } from '../model/contents.js';
import { BundlePath, Sha256 } from '../model/grammar.js';
import { member } from '../model/layout.js';
import { BLOCK_BYTES, paddingBytes, parseUstarHeader, trailerBytes } from '../model/ustar.js';
import type { Step } from '../report.js';

interface Unpacked extends Member {
  readonly path: BundlePath;
}

/**
 * Copies a payload into a folder, member by member, in one pass: the bytes are hashed as a whole and
 * for each member while they are written. Only headers are interpreted on the way; bundle.json is
 * read after the whole has proved to be what was signed.
 *
 * @param expected SHA-256 of the whole tar, from the verified X.sha256
 * @param into an empty directory that only root can enter
 * @throws BundleError exit 4; the caller removes `into`
 */
export async function unpack(
  host: Host,
  payload: string,
  expected: Sha256,
  into: string,
  step?: Step,
): Promise<Contents> {
  const bad = (message: string): BundleError =>
    untrustedError({
      code: 'BAD_PAYLOAD',
      message,
      where: payload,
      hint: 'The payload is damaged or was not made by airbundle: copy the folder again from its origin.',
    });
  const facts = await host.lstat(payload);
  if (facts === undefined) throw bad('the payload is missing');
  // A FIFO would be waited for.
  if (facts.kind !== 'file') throw bad('the payload is not a regular file');
  const whole = createHash('sha256');
  const members = await split(host, hashed(host.chunks(payload), whole, step, facts.sizeBytes), into, bad);
  const actual = whole.digest('hex');
  if (actual !== expected) throw bad(`SHA-256 is ${actual}, the signed one is ${expected}`);
  const contents = parseContents(
    (await host.read(join(into, member.contents)))?.toString('utf8') ?? '',
    payload,
  );
  compare(contents, members, bad);
  return contents;
}

async function* hashed(
  chunks: AsyncIterable<Buffer>,
  hash: ReturnType<typeof createHash>,
  step: Step | undefined,
  total: number,
): AsyncGenerator<Buffer> {
  let done = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    done += chunk.length;
    step?.progress({ done, total, unit: 'bytes' });
    yield chunk;
  }
}

/** Exactly `length` bytes at a time out of a stream of pieces. */
class Reader {
  private readonly iterator: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);
  constructor(
    chunks: AsyncIterable<Buffer>,
    private readonly bad: (message: string) => BundleError,
  ) {
    this.iterator = chunks[Symbol.asyncIterator]();
  }

  /** Closes the file behind the stream, also when it was not read to its end. */
  async close(): Promise<void> {
    await this.iterator.return?.();
  }

  /** Between 1 and `limit` bytes; undefined at the end. */
  async some(limit: number): Promise<Buffer | undefined> {
    if (this.rest.length === 0) {
      const next = await this.iterator.next();
      if (next.done === true) return undefined;
      this.rest = next.value;
    }
    const piece = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(piece.length);
    return piece;
  }

  async exactly(length: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let left = length; left > 0;) {
      const piece = await this.some(left);
      if (piece === undefined) throw this.bad('the payload is cut off');
      pieces.push(piece);
      left -= piece.length;
    }
    return Buffer.concat(pieces);
  }
}

async function split(
  host: Host,
  chunks: AsyncIterable<Buffer>,
  into: string,
  bad: (message: string) => BundleError,
): Promise<Unpacked[]> {
  const reader = new Reader(chunks, bad);
  try {
    return await splitMembers(host, reader, into, bad);
  } finally {
    await reader.close();
  }
}

async function splitMembers(
  host: Host,
  reader: Reader,
  into: string,
  bad: (message: string) => BundleError,
): Promise<Unpacked[]> {
  const members: Unpacked[] = [];
  const made = new Set<string>();
  let bodyBytes = 0;
  for (;;) {
    const block = await reader.exactly(BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) break;
    const header = parseUstarHeader(block);
    const path = BundlePath.safeParse(header?.path);
    if (header === undefined || !path.success || (header.mode !== 0o644 && header.mode !== 0o755))
      throw bad(`member ${String(members.length + 1)} has a header that airbundle does not write`);
    if (members.length === 0 && (header.path !== member.contents || header.sizeBytes > MAX_CONTENTS_BYTES))
      throw bad('bundle.json is not the first member');
    if (made.has(header.path) || made.has(`${header.path}/`)) throw bad(`${header.path} is there twice`);
    if (parentsOf(header.path).some((parent) => made.has(parent)))
      throw bad(`${header.path} lies under another member`);
    made.add(header.path);
    await makeParents(host, into, header.path, made);
    const file = await host.create(join(into, header.path), { mode: header.mode === 0o755 ? 0o700 : 0o600 });
    const sha256 = await copyMember(reader, header.sizeBytes, file, bad);
    if ((await reader.exactly(paddingBytes(header.sizeBytes))).some((byte) => byte !== 0))
      throw bad(`${header.path} is padded with something`);
    members.push({
      path: path.data,
      mode: header.mode,
      sizeBytes: header.sizeBytes,
      sha256,
    });
    bodyBytes += BLOCK_BYTES + header.sizeBytes + paddingBytes(header.sizeBytes);
  }
  const rest = await reader.exactly(trailerBytes(bodyBytes) - BLOCK_BYTES);
  if (rest.some((byte) => byte !== 0) || (await reader.some(1)) !== undefined)
    throw bad('there is something behind the end of the archive');
  return members;
}

/** "a/b/c" → "a/b", "a". */
function parentsOf(path: string): string[] {
  const parent = dirname(path);
  return parent === '.' ? [] : [parent, ...parentsOf(parent)];
}

async function makeParents(host: Host, into: string, path: string, made: Set<string>): Promise<void> {
  const parent = dirname(path);
  if (parent === '.' || made.has(`${parent}/`)) return;
  await makeParents(host, into, parent, made);
  await host.makeDirectory(join(into, parent), { mode: 0o700 });
  made.add(`${parent}/`);
}

async function copyMember(
  reader: Reader,
  sizeBytes: number,
  file: OpenFile,
  bad: (message: string) => BundleError,
): Promise<Sha256> {
  const hash = createHash('sha256');
  try {
    for (let left = sizeBytes; left > 0;) {
      const piece = await reader.some(left);
      if (piece === undefined) throw bad('the payload is cut off');
      hash.update(piece);
      await file.write(piece);
      left -= piece.length;
    }
  } finally {
    await file.close();
  }
  return Sha256.parse(hash.digest('hex'));
}

/** bundle.json must name exactly what was there, in the same order. */
function compare(
  contents: Contents,
  members: readonly Unpacked[],
  bad: (message: string) => BundleError,
): void {
  const actual = members.slice(1);
  if (actual.length !== contents.members.length)
    throw bad(
      `bundle.json names ${String(contents.members.length)} members, the archive holds ${String(actual.length)}`,
    );
  for (const [index, expected] of contents.members.entries()) {
    const found = actual[index];
    if (found?.path !== expected.path)
      throw bad(`${found?.path ?? 'nothing'} stands where bundle.json names ${expected.path}`);
    if (
      found.sha256 !== expected.sha256 ||
      found.sizeBytes !== expected.sizeBytes ||
      found.mode !== expected.mode
    )
      throw bad(`${expected.path} is not what bundle.json says`);
  }
  const named = [
    contents.runtime.path,
    ...contents.rpms.map((rpm) => rpm.path),
    ...contents.components.map((component) => component.source.path),
  ];
  const held = new Set<string>(contents.members.map((entry) => entry.path));
  const lost = named.find((path) => !held.has(path));
  if (lost !== undefined) throw bad(`bundle.json speaks of ${lost}, which is not among its members`);
}
