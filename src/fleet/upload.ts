import { createHash, scryptSync } from 'node:crypto';
import { BundleError, refusedError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { RemoteProcess } from '../host/remote.js';
import type { RunResult } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import { target } from '../model/layout.js';
import { formatBytes } from '../report.js';
import type { UploadProgress, UploadResult } from './agent.js';
import type { Consignment, FileToSend } from './local-bundle.js';
import { NODE_SIDE } from './node-side.js';
import type { NodeShell, ShellOptions } from './shell.js';
import { silentShell } from './shell.js';

/** Room that an upload leaves to others. */
const SPARE_BYTES = 64 * 1024 * 1024;

/** Asks the node as root through node-side.sh. @throws BundleError for its own exit codes */
export async function askNode(
  shell: NodeShell,
  words: readonly [string, ...string[]],
  options: Omit<ShellOptions, 'asRoot'> = {},
): Promise<RunResult> {
  const result = await shell.run(['/bin/sh', '-c', NODE_SIDE, 'node-side', ...words], {
    ...options,
    asRoot: true,
  });
  if (result.exitCode === 0) return result;
  if (result.timedOut) throw silentShell(shell, `"${words[0]}" as root`, options.timeoutMs ?? 0);
  throw nodeSideError(shell.where, words[0], result);
}

const NOT_PRIVATE = 71;
const NOT_WRITTEN = 72;

function nodeSideError(where: string, verb: string, result: RunResult): BundleError {
  const details = lastLines(result, 5);
  const text = result.stderr;
  if (result.exitCode === NOT_PRIVATE)
    return refusedError({
      code: 'PLACE_NOT_PRIVATE',
      message: 'others than root could change what is sent there',
      where,
      details,
      hint: 'Find out who wrote there, then on the node: chown root and chmod go-w for the place above; a link has to go.',
    });
  if (/No space left on device|Disk quota exceeded/.test(text))
    return refusedError({
      code: 'NO_ROOM',
      message: 'the disk of the node is full',
      where,
      details,
      hint: `Make room there (df -h ${target.state}), then run the same command again: what has arrived stays.`,
    });
  return refusedError({
    code: result.exitCode === NOT_WRITTEN ? 'NODE_NOT_WRITABLE' : 'NODE_COMMAND',
    message: `the node could not do its part (${verb}): it ${outcome(result)}`,
    where,
    details,
    hint: 'See the lines above; then run the same command again.',
  });
}

/** What the node has of the bundle already. */
interface There {
  readonly freeBytes: number;
  readonly sizes: ReadonlyMap<string, number>;
}

/**
 * Brings the bundle's folder and the desk's files to /var/lib/airbundle/incoming: what is there is proved by
 * its SHA-256 before it counts, whole files and beginnings alike. @throws BundleError
 */
export async function upload(
  host: Pick<ReadHost, 'chunks'>,
  shell: NodeShell,
  consignment: Consignment,
  onProgress: (progress: UploadProgress) => void,
): Promise<UploadResult> {
  const { stem, files } = consignment;
  const desk = deskOf(consignment);
  const there = thereOf((await askNode(shell, ['prepare', stem, desk])).stdout);
  const totalBytes = sum(files.map(({ sizeBytes }) => sizeBytes));
  requireRoom(shell.where, there, files, totalBytes);
  let sentBytes = 0;
  let keptBytes = 0;
  const told = (): void => {
    onProgress({ doneBytes: sentBytes + keptBytes, totalBytes });
  };
  for (const file of files) {
    const kept = await bringFile(host, shell, { stem, file, there }, (bytes) => {
      sentBytes += bytes;
      told();
    });
    keptBytes += kept;
    told();
  }
  for (const { name, bytes } of consignment.desk)
    await askNode(shell, ['put', stem, `desk/${desk}/${name}`], { input: bytes });
  const folder = `${INCOMING}/${stem}`;
  return {
    folder,
    site: `${folder}/desk/${desk}/${consignment.siteName}`,
    key: `${folder}/desk/${desk}/${consignment.key.name}`,
    sentBytes,
    keptBytes,
  };
}

const INCOMING = `${target.state}/incoming`;

/** 32 MiB and about a tenth of a second a guess: the name is seen by everyone, and all but a short secret is known. */
const DESK_COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const;

/**
 * Named by what lies there: another site or secret is another place, and so another command line of the installer,
 * which is not taken for the run that is under way.
 */
function deskOf({ desk }: Consignment): string {
  const hash = createHash('sha256');
  for (const { name, bytes } of desk) hash.update(`${name}\0${String(bytes.length)}\0`).update(bytes);
  return scryptSync(hash.digest(), 'airbundle desk', 8, DESK_COST).toString('hex');
}

interface OneFile {
  readonly stem: string;
  readonly file: FileToSend;
  readonly there: There;
}

/** @returns the bytes that did not have to be sent */
async function bringFile(
  host: Pick<ReadHost, 'chunks'>,
  shell: NodeShell,
  { stem, file, there }: OneFile,
  onSent: (bytes: number) => void,
): Promise<number> {
  if (there.sizes.get(file.name) === file.sizeBytes) {
    const { stdout } = await askNode(shell, ['hash', stem, file.name, String(file.sizeBytes)]);
    if (stdout.trim() === file.sha256) return file.sizeBytes;
  }
  // Named by what it is to become: the beginning of another build of the same version is another file.
  const part = `${file.name}.${file.sha256.slice(0, 16)}.part`;
  const offset = await goodBeginning(host, shell, { stem, file, part, size: there.sizes.get(part) });
  await askNode(shell, ['receive', stem, part, String(offset)], {
    feed: (process) => sendFrom(host, file, offset, process, onSent),
  });
  try {
    await askNode(shell, ['finish', stem, part, file.sha256, file.name]);
  } catch (error) {
    await askNode(shell, ['discard', stem, part]);
    throw damagedOnTheWay(error, shell.where, file);
  }
  return offset;
}

interface Beginning {
  readonly stem: string;
  readonly file: FileToSend;
  readonly part: string;
  readonly size: number | undefined;
}

/** How much of a partial file is right; a damaged one is removed. */
async function goodBeginning(
  host: Pick<ReadHost, 'chunks'>,
  shell: NodeShell,
  { stem, file, part, size }: Beginning,
): Promise<number> {
  if (size === undefined || size === 0) return 0;
  const { stdout } = await askNode(shell, ['hash', stem, part, String(size)]);
  if (size <= file.sizeBytes && stdout.trim() === (await hashOfBeginning(host, file.path, size))) return size;
  await askNode(shell, ['discard', stem, part]);
  return 0;
}

async function hashOfBeginning(
  host: Pick<ReadHost, 'chunks'>,
  path: string,
  sizeBytes: number,
): Promise<string> {
  const hash = createHash('sha256');
  let left = sizeBytes;
  for await (const chunk of host.chunks(path)) {
    hash.update(chunk.subarray(0, left));
    left -= Math.min(left, chunk.length);
    if (left === 0) break;
  }
  return hash.digest('hex');
}

async function sendFrom(
  host: Pick<ReadHost, 'chunks'>,
  file: FileToSend,
  offset: number,
  process: RemoteProcess,
  onSent: (bytes: number) => void,
): Promise<void> {
  const pipe = pipeInto(process);
  const pool = bufferPool();
  let skip = offset;
  for await (const chunk of host.chunks(file.path, pool.next)) {
    const piece = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - piece.length;
    if (piece.length === 0) continue;
    if (!(await pipe.put(piece, pool.lent()))) return;
    onSent(piece.length);
  }
  process.stdin.end();
}

interface Pipe {
  /**
   * Waits until there is room for more; false when nobody takes it any more.
   * @param done called when the piece is not needed any more
   */
  put(piece: Buffer, done: () => void): Promise<boolean>;
}

interface BufferPool {
  readonly next: () => Promise<Buffer>;
  /** @returns what gives back the buffer that `next` gave last */
  lent(): () => void;
}

/** The same few buffers again and again: fresh ones cost the kernel more than the reading. */
function bufferPool(): BufferPool {
  const free: Buffer[] = [];
  let last: Buffer = Buffer.alloc(0);
  return {
    next: () => {
      last = free.pop() ?? Buffer.allocUnsafe(PIECE_BYTES);
      return Promise.resolve(last);
    },
    lent: () => {
      const lent = last;
      return () => void free.push(lent);
    },
  };
}

const PIECE_BYTES = 1024 * 1024;

/** So much is under way while the next piece is read: waiting until all is gone would leave the line idle. */
const UNDER_WAY_BYTES = 4 * 1024 * 1024;

function pipeInto(process: RemoteProcess): Pipe {
  const far = { isEnded: false, underWayBytes: 0 };
  const isFull = (): boolean => far.underWayBytes > UNDER_WAY_BYTES && !far.isEnded;
  let wake: () => void = () => undefined;
  // The far side may end first (a full disk, a cut): there is then nobody who takes the rest.
  const ends = (): void => {
    far.isEnded = true;
    wake();
  };
  process.ended.then(ends, ends);
  return {
    async put(piece, done) {
      far.underWayBytes += piece.length;
      process.stdin.write(piece, () => {
        done();
        far.underWayBytes -= piece.length;
        wake();
      });
      while (isFull())
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return !far.isEnded;
    },
  };
}

function thereOf(text: string): There {
  const sizes = new Map<string, number>();
  let freeBytes = 0;
  for (const line of text.split('\n')) {
    const [kind, first = '', ...rest] = line.split(' ');
    if (kind === 'free') freeBytes = Number(first) * Number(rest[0]);
    if (kind === 'file') sizes.set(rest.join(' '), Number(first));
  }
  return { freeBytes, sizes };
}

/** For the upload, and for the copy that the installer makes of it before anything else. */
function requireRoom(where: string, there: There, files: readonly FileToSend[], totalBytes: number): void {
  const missing = sum(
    files
      .filter(({ name, sizeBytes }) => there.sizes.get(name) !== sizeBytes)
      .map(
        ({ name, sha256, sizeBytes }) =>
          sizeBytes - Math.min(sizeBytes, there.sizes.get(`${name}.${sha256.slice(0, 16)}.part`) ?? 0),
      ),
  );
  const needed = missing + totalBytes + SPARE_BYTES;
  if (there.freeBytes >= needed) return;
  throw refusedError({
    code: 'NO_ROOM',
    message: `${formatBytes(needed)} are needed there, for what is sent and for the copy that is verified; ${formatBytes(there.freeBytes)} are free`,
    where: `${where}: ${INCOMING}`,
    hint: `Make room on the node (df -h ${target.state}) and run the same command again.`,
  });
}

function damagedOnTheWay(error: unknown, where: string, file: FileToSend): unknown {
  if (!(error instanceof BundleError) || error.code !== 'NODE_COMMAND') return error;
  return refusedError({
    code: 'UPLOAD_DAMAGED',
    message: `${file.name} is not on the node what it is here; it was removed there`,
    where,
    details: error.details,
    hint: 'Run the same command again. If it happens again: the memory or the disk of one of the two machines.',
    cause: error,
  });
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
