import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { Header, Parser } from 'tar';
import type { ReadEntry } from 'tar';

/** A regular file on its way into a container; `path` is relative. */
export type FileIn =
  | { readonly path: string; readonly text: string }
  /** A file of this machine. */
  | { readonly path: string; readonly from: string };

/** A member of a tar on its way out of a container. `bytes` is there for regular files, and is read in turn. */
export interface MemberOut {
  readonly path: string;
  readonly type: 'file' | 'folder' | 'other';
  readonly sizeBytes: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

const BLOCK = 512;

/** A tar stream of regular files, owned by root, mode 0644. */
export async function* writeTar(files: Iterable<FileIn>): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    const text = 'text' in file ? Buffer.from(file.text) : undefined;
    const size = text?.length ?? (await stat('from' in file ? file.from : '')).size;
    const header = new Header({
      path: file.path,
      type: 'File',
      mode: 0o644,
      uid: 0,
      gid: 0,
      size,
      mtime: new Date(0),
    });
    const block = Buffer.alloc(BLOCK);
    if (header.encode(block, 0)) throw new Error(`not a name for a ustar header: ${file.path}`);
    yield block;
    if (text !== undefined) yield text;
    else if ('from' in file && size > 0)
      yield* createReadStream(file.from, { end: size - 1 }) as AsyncIterable<Uint8Array>;
    yield Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
  }
  yield Buffer.alloc(2 * BLOCK);
}

/** Calls `take` for each member, one after the other; its first error is thrown once the stream has ended. */
export async function readTar(from: Readable, take: (member: MemberOut) => Promise<void>): Promise<void> {
  let failure: unknown;
  let turn = Promise.resolve();
  const handle = async (entry: ReadEntry): Promise<void> => {
    if (failure === undefined) {
      try {
        await take(memberOf(entry));
      } catch (error) {
        failure = error ?? new Error('a tar member was refused');
      }
    }
    if (!entry.emittedEnd) entry.resume();
  };
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry) => {
      turn = turn.then(() => handle(entry));
    },
  });
  await new Promise<void>((resolve, reject) => {
    parser.on('end', () => {
      resolve();
    });
    parser.on('error', reject);
    from.on('error', reject);
    from.pipe(parser);
  });
  await turn;
  if (failure !== undefined) throw failure as Error;
}

/**
 * As a generator, not as the entry itself: a pipeline that fails destroys a stream, and the parser would
 * then wait for it without end. So it would for an empty entry, which has ended before anyone reads it.
 */
async function* bytesOf(entry: ReadEntry): AsyncGenerator<Uint8Array> {
  if (entry.size > 0) yield* entry as AsyncIterable<Uint8Array>;
}

function memberOf(entry: ReadEntry): MemberOut {
  const type =
    entry.type === 'File' || entry.type === 'OldFile'
      ? 'file'
      : entry.type === 'Directory'
        ? 'folder'
        : 'other';
  return {
    path: entry.path.replace(/\/$/, ''),
    type,
    sizeBytes: entry.size,
    bytes: bytesOf(entry),
  };
}

/** @throws Error when there are more than `limitBytes` */
export async function readText(member: MemberOut, limitBytes: number): Promise<string> {
  return (await readBytes(member, limitBytes)).toString('utf8');
}

/** @throws Error when there are more than `limitBytes` */
export async function readBytes(member: MemberOut, limitBytes: number): Promise<Buffer> {
  if (member.sizeBytes > limitBytes)
    throw new Error(
      `${member.path} has ${String(member.sizeBytes)} bytes; at most ${String(limitBytes)} are read`,
    );
  const chunks: Uint8Array[] = [];
  for await (const chunk of member.bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}
