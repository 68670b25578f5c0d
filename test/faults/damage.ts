import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { packTar } from '../../src/create/pack.js';
import { BundleError } from '../../src/errors.js';
import { localHost } from '../../src/host/local.js';
import { formatContents } from '../../src/model/contents.js';
import { BundlePath, Sha256 } from '../../src/model/grammar.js';
import {
  BLOCK_BYTES,
  paddingBytes,
  parseUstarHeader,
  trailerBytes,
  ustarHeader,
} from '../../src/model/ustar.js';
import { createReporter } from '../../src/report.js';
import type { TrustedKey } from '../../src/review/keys.js';
import { readKey } from '../../src/review/keys.js';
import { readPayload } from '../../src/review/payload.js';
import { examine, locate } from '../../src/review/verify.js';
import { makeBundle, makeKey, sha256Of } from '../install/bundle.js';
import { LAB } from '../lab/paths.js';
import { memoryHost } from './memory-host.js';
import type { Options } from './options.js';
import type { GroupResult } from './tally.js';
import { othersFirst, randomFrom, Tally } from './tally.js';

/*
 * Bytes that are not those that were signed, and archives that the packer would not write, before the
 * product's own verifying code; in memory, where nothing can be changed by them.
 */

const FOLDER = '/medium';
/** Reads nothing that is not there to be read: a case that takes longer hangs. 170 MB took 20 s at a load of 75. */
const HANG_MS = 120_000;

export interface Folder {
  readonly files: Map<string, Buffer>;
  readonly key: TrustedKey;
}

const quiet = createReporter({
  format: 'text',
  quiet: true,
  color: false,
  now: () => 0,
  stream: { write: () => undefined },
});

async function madeFolder(work: string): Promise<Folder> {
  const key = makeKey();
  const installSh = readFileSync(new URL('../../src/install/install.sh', import.meta.url), 'utf8');
  const file = path.join(work, 'runtime');
  writeFileSync(file, '#!/bin/sh\n');
  const { folder } = await makeBundle({ work: path.join(work, 'made'), key, installSh, runtime: file });
  const files = new Map(readdirSync(folder).map((name) => [name, readFileSync(path.join(folder, name))]));
  return { files, key: readKey(key.pem, 'made here') };
}

async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  mkdirSync(LAB, { recursive: true });
  const folder = mkdtempSync(path.join(LAB, 'damage-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const withinTime = async <T>(work: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`it hangs: more than ${String(HANG_MS)} ms`));
    }, HANG_MS);
  });
  return Promise.race([work, late]).finally(() => {
    clearTimeout(timer);
  });
};

/** undefined: refused with a reason, as it must be. */
export async function notRefused(
  { key }: Folder,
  files: ReadonlyMap<string, Buffer>,
): Promise<string | undefined> {
  const host = memoryHost(FOLDER, files);
  try {
    const { bundle, problems } = await withinTime(
      examine(host, {
        place: await locate(host, FOLDER),
        keys: [key],
        signers: 'every',
        unsigned: false,
        reporter: quiet,
      }),
    );
    if (bundle !== undefined || problems.length === 0) return 'it was accepted';
    const other = problems.find((problem) => problem.exit !== 4);
    return other === undefined ? undefined : `exit ${String(other.exit)}: ${other.message}`;
  } catch (error) {
    return error instanceof BundleError && (error.exit === 4 || error.exit === 2)
      ? undefined
      : `not a BundleError: ${String(error)}`;
  }
}

/** Many damaged folders; `next` gives undefined at its end. */
async function tryAll(
  tally: Tally,
  folder: Folder,
  options: Options,
  cases: Iterable<{ id: string; name: string; bytes: Buffer }>,
): Promise<void> {
  for (const { id, name, bytes } of cases) {
    if (performance.now() > options.deadline) return;
    await othersFirst();
    const problem = await notRefused(folder, new Map([...folder.files, [name, bytes]]));
    tally.add(id, { fired: !bytes.equals(folder.files.get(name) ?? Buffer.alloc(0)), problem });
  }
}

/** Each number below `many` once, in an order that looks random: a step that shares no factor with it. */
function* shuffled(many: number, count: number, seed: number): Generator<number> {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
  let step = (Math.floor(many * 0.618) + (seed % 97)) | 1;
  while (gcd(step, many) !== 1) step += 1;
  for (let index = 0, at = seed % many; index < Math.min(many, count); index += 1, at = (at + step) % many)
    yield at;
}

export async function bitGroup(options: Options): Promise<GroupResult> {
  const tally = new Tally('every bit of the four files of a small bundle', 'refused, with a reason', options);
  await inScratch(async (work) => {
    const folder = await madeFolder(work);
    const names = [...folder.files.keys()];
    const sizes = names.map((name) => (folder.files.get(name)?.length ?? 0) * 8);
    const many = sizes.reduce((sum, size) => sum + size, 0);
    tally.planned = options.long ? many : 1500;
    tally.note = `${String(many)} bits`;
    function* flips(): Generator<{ id: string; name: string; bytes: Buffer }> {
      for (let bit of shuffled(many, tally.planned, options.seed)) {
        let index = 0;
        while (bit >= (sizes[index] ?? 0)) bit -= sizes[index++] ?? 0;
        const name = names[index] ?? '';
        const bytes = Buffer.from(folder.files.get(name) ?? Buffer.alloc(0));
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        yield { id: `${name} bit ${String(bit)}`, name, bytes };
      }
    }
    const whole = await notRefused(folder, folder.files);
    if (whole !== 'it was accepted')
      tally.add('the whole one', { fired: true, problem: `the undamaged bundle: ${whole ?? 'refused'}` });
    await tryAll(tally, folder, options, flips());
  });
  return tally.result();
}

interface Raw {
  readonly header: Buffer;
  readonly body: Buffer;
}

/** The parts of a canonical tar. */
function membersOf(tar: Buffer): Raw[] {
  const members: Raw[] = [];
  for (let at = 0; ;) {
    const header = tar.subarray(at, at + BLOCK_BYTES);
    const parsed = parseUstarHeader(header);
    if (parsed === undefined) return members;
    const body = tar.subarray(at + BLOCK_BYTES, at + BLOCK_BYTES + parsed.sizeBytes);
    members.push({ header: Buffer.from(header), body: Buffer.from(body) });
    at += BLOCK_BYTES + parsed.sizeBytes + paddingBytes(parsed.sizeBytes);
  }
}

function tarOf(members: readonly Raw[]): Buffer {
  const parts = members.flatMap(({ header, body }) => [
    header,
    body,
    Buffer.alloc(paddingBytes(body.length)),
  ]);
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([...parts, Buffer.alloc(trailerBytes(size))]);
}

/** With a checksum that is right again, so that only the change itself can be refused. */
function withField(header: Buffer, offset: number, bytes: Buffer): Buffer {
  const block = Buffer.from(header);
  bytes.copy(block, offset);
  block.write(' '.repeat(8), 148, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

const text = (value: string): Buffer => Buffer.from(value, 'latin1');
/** Header fields (POSIX ustar) and what they may be made to say. */
const FIELDS: readonly { name: string; offset: number; values: readonly Buffer[] }[] = [
  {
    name: 'name',
    offset: 0,
    values: [
      '../out\0',
      '/etc/passwd\0',
      './a\0',
      'a//b\0',
      'a\nb\0',
      '\0',
      ' \0',
      'rpms/..\0',
      'bundle.json\0',
      'A\\b\0',
      '\x1b[2J\0',
      'a'.repeat(100),
    ].map(text),
  },
  {
    name: 'mode',
    offset: 100,
    values: [
      '0004755\0',
      '0002755\0',
      '0001644\0',
      '0000777\0',
      '0000600\0',
      '0000000\0',
      '100644 \0',
      '   644 \0',
      '\x80\0\0\0\0\0\x01\xa4',
    ].map(text),
  },
  {
    name: 'uid',
    offset: 108,
    values: ['0001750\0', '7777777\0', '       \0', '\x80\0\0\0\0\0\0\0'].map(text),
  },
  { name: 'gid', offset: 116, values: ['0001750\0', '7777777\0', '-000001\0'].map(text) },
  {
    name: 'size',
    offset: 124,
    values: [
      '00000000000\0',
      '77777777777\0',
      '00000000001\0',
      '-0000000001\0',
      '99999999999\0',
      '\x80\0\0\0\0\0\0\0\0\0\x10\0',
      '\xff'.repeat(12),
      '0x000000010\0',
      '           \0',
    ].map(text),
  },
  {
    name: 'mtime',
    offset: 136,
    values: ['00000000001\0', '77777777777\0', '\x80\0\0\0\0\0\0\0\0\0\0\x01'].map(text),
  },
  { name: 'type', offset: 156, values: Array.from({ length: 256 }, (_, byte) => Buffer.of(byte)) },
  { name: 'linkname', offset: 157, values: ['/etc/shadow\0', 'installer.cjs\0', 'x'.repeat(100)].map(text) },
  {
    name: 'magic',
    offset: 257,
    values: ['ustar  \0', 'ustar\x0001', '\0\0\0\0\0\0\0\0', 'USTAR\x0000'].map(text),
  },
  { name: 'uname', offset: 265, values: ['root\0', 'x'.repeat(32)].map(text) },
  { name: 'gname', offset: 297, values: ['root\0', 'wheel\0'].map(text) },
  { name: 'devmajor', offset: 329, values: ['0000001\0', '\0\0\0\0\0\0\0\0'].map(text) },
  { name: 'devminor', offset: 337, values: ['0000003\0', '7777777\0'].map(text) },
  { name: 'prefix', offset: 345, values: ['..\0', '/\0', 'rpms\0', 'x'.repeat(155)].map(text) },
  { name: 'padding', offset: 500, values: ['x', '\0x', '\0\0\0\0\0\0\0\0\0\0\0x'].map(text) },
];

/** Families of archives that the packer does not write, each over every member that it can be about. */
function* hostile(good: Buffer): Generator<{ id: string; tar: Buffer }> {
  const members = membersOf(good);
  for (const [index, member] of members.entries()) {
    const replaced = (header: Buffer, body = member.body): Buffer =>
      tarOf(members.map((one, at) => (at === index ? { header, body } : one)));
    for (const { name, offset, values } of FIELDS)
      for (const [number, value] of values.entries())
        yield {
          id: `member ${String(index)}: ${name} ${String(number)}`,
          tar: replaced(withField(member.header, offset, value)),
        };
    const badSum = Buffer.from(member.header);
    badSum.write('0000000\0', 148, 'latin1');
    yield { id: `member ${String(index)}: checksum`, tar: replaced(badSum) };
    yield {
      id: `member ${String(index)}: a byte more`,
      tar: replaced(member.header, Buffer.concat([member.body, text('x')])),
    };
    yield { id: `member ${String(index)}: missing`, tar: tarOf(members.filter((_, at) => at !== index)) };
    yield { id: `member ${String(index)}: twice`, tar: tarOf([...members, member]) };
    yield {
      id: `member ${String(index)}: twice in a row`,
      tar: tarOf(members.flatMap((one, at) => (at === index ? [one, one] : [one]))),
    };
    for (let other = index + 1; other < members.length; other += 1)
      yield {
        id: `members ${String(index)} and ${String(other)} exchanged`,
        tar: tarOf(
          members
            .map((one, at) => (at === index ? members[other] : at === other ? member : one))
            .filter((one) => one !== undefined),
        ),
      };
    const folder = withField(ustarHeader({ path: 'rpms', mode: 0o755, sizeBytes: 0 }), 156, text('5'));
    for (const type of ['1', '2', '3', '5', '6', 'g', 'x', 'L', 'K', 'S', 'V'])
      yield {
        id: `before member ${String(index)}: an entry of type ${type}`,
        tar: tarOf([
          ...members.slice(0, index),
          { header: withField(folder, 156, text(type)), body: Buffer.alloc(0) },
          ...members.slice(index),
        ]),
      };
  }
  for (let size = 0; size < good.length; size += BLOCK_BYTES)
    yield { id: `cut at ${String(size)}`, tar: good.subarray(0, size) };
  for (const more of [1, BLOCK_BYTES, 10_240]) {
    yield { id: `${String(more)} zeros behind`, tar: Buffer.concat([good, Buffer.alloc(more)]) };
    yield { id: `${String(more)} bytes behind`, tar: Buffer.concat([good, Buffer.alloc(more, 'x')]) };
  }
  yield { id: 'itself twice', tar: Buffer.concat([good, good]) };
  yield { id: 'zeros alone', tar: Buffer.alloc(good.length) };
}

/** The reader alone, without a signature: as if an attacker had the key. */
export async function archiveGroup(options: Options): Promise<GroupResult> {
  const tally = new Tally(
    'hostile archives, without the help of a signature',
    'refused, with a reason',
    options,
  );
  await inScratch(async (work) => {
    const folder = await madeFolder(work);
    const name = [...folder.files.keys()].find((one) => one.endsWith('.tar')) ?? '';
    const good = folder.files.get(name) ?? Buffer.alloc(0);
    const all = [...hostile(good)];
    const below = randomFrom(options.seed + 7);
    const chosen = all
      .map((one) => ({ one, at: below(2 ** 31) }))
      .sort((a, b) => a.at - b.at)
      .map(({ one }) => one);
    tally.planned = options.long ? all.length : Math.min(all.length, 320);
    tally.note = `${String(all.length)} archives in ${String(FIELDS.length)} fields and 8 families`;
    for (const [index, { id, tar }] of chosen.slice(0, tally.planned).entries()) {
      // A group without a case has shown nothing.
      if (index > 0 && performance.now() > options.deadline) break;
      await othersFirst();
      const host = memoryHost(FOLDER, new Map([[name, tar]]));
      const problem = await withinTime(readPayload(host, `${FOLDER}/${name}`, {})).then(
        () => (tar.equals(good) ? undefined : 'it was accepted, and the packer does not write it'),
        (error: unknown) =>
          error instanceof BundleError && error.exit === 4 ? undefined : `not a refusal: ${String(error)}`,
      );
      tally.add(id, { fired: !tar.equals(good), problem });
    }
  });
  return tally.result();
}

const GIB = 1024 ** 3;

/** Around the sizes at which counters of 31, 32 and 33 bits and ustar's 11 octal digits end. */
export async function sizeGroup(options: Options): Promise<GroupResult> {
  const tally = new Tally('sizes around 2, 4 and 8 GiB', 'held exactly, or refused with a reason', options);
  for (const edge of [2 * GIB, 4 * GIB, 8 * GIB])
    for (const sizeBytes of [edge - 513, edge - 512, edge - 1, edge, edge + 1, edge + 512]) {
      const given = { path: 'rpms/big.rpm', mode: 0o644, sizeBytes };
      let problem: string | undefined;
      try {
        const back = parseUstarHeader(ustarHeader(given));
        problem =
          back?.sizeBytes === sizeBytes && sizeBytes < 8 * GIB
            ? undefined
            : `it was written, and is read as ${String(back?.sizeBytes)}`;
      } catch (error) {
        problem =
          sizeBytes >= 8 * GIB && error instanceof BundleError && error.code === 'USTAR_SIZE'
            ? undefined
            : String(error);
      }
      tally.add(`header of ${String(sizeBytes)} bytes`, { fired: true, problem });
    }
  await inScratch(async (work) => {
    for (const sizeBytes of [8 * GIB, ...(options.long ? [2 * GIB + 1, 4 * GIB + 1] : [])]) {
      if (performance.now() > options.deadline) break;
      tally.add(`sparse member of ${String(sizeBytes)} bytes`, {
        fired: true,
        problem: await sparseProblem(work, sizeBytes),
      });
    }
  });
  return tally.result();
}

/** A sparse file through the packer and back through the reader; the tar it writes is not sparse. */
async function sparseProblem(work: string, sizeBytes: number): Promise<string | undefined> {
  const file = path.join(work, 'big');
  const output = path.join(work, 'big.tar');
  writeFileSync(file, '');
  truncateSync(file, sizeBytes);
  const host = localHost();
  try {
    const digest = sizeBytes >= 8 * GIB ? sha256Of('') : Sha256.parse(await host.sha256(file));
    const member = {
      path: BundlePath.parse('rpms/big.rpm'),
      mode: 0o644 as const,
      sizeBytes,
      sha256: digest,
    };
    const contents = await contentsWith(work, member);
    await packTar({
      first: { path: 'bundle.json', bytes: Buffer.from(contents) },
      members: [{ ...member, file }],
      output,
    });
    if (sizeBytes >= 8 * GIB) return 'it was packed';
    const { contents: read } = await readPayload(host, output, {});
    return read.members[0]?.sizeBytes === sizeBytes
      ? undefined
      : `it is read as ${String(read.members[0]?.sizeBytes)}`;
  } catch (error) {
    return sizeBytes >= 8 * GIB && error instanceof BundleError && error.code === 'USTAR_SIZE'
      ? undefined
      : String(error);
  } finally {
    rmSync(file, { force: true });
    rmSync(output, { force: true });
  }
}

/** A bundle.json that names this member alone. */
async function contentsWith(
  work: string,
  member: { path: BundlePath; mode: 0o644; sizeBytes: number; sha256: Sha256 },
): Promise<string> {
  const { contents } = await makeBundle({ work: path.join(work, 'names'), key: makeKey() });
  return formatContents({
    ...contents,
    members: [member],
    rpms: [],
    runtime: { ...contents.runtime, path: member.path },
    components: contents.components.map((one) => ({ ...one, source: { ...one.source, path: member.path } })),
  });
}
