import { execFileSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { BLOCK_BYTES, RECORD_BYTES, ustarHeader } from '../../src/model/ustar.js';
import { sha256Of } from '../create/create-support.js';
import { seedFor } from '../support/seed.js';
import { changedHeader, rawMember, rawTar } from './bundle.js';
import type { Seen } from './gnu-tar.js';
import { contentsOf, gnuTar, packed, readGnu, readOurs } from './gnu-tar.js';

/*
 * Three programs over the same archives: the packer, our reader, and GNU tar, with which a reviewer looks
 * into a payload. What one of them reads otherwise than another would be a place to hide something.
 */

let scratch = '';
beforeAll(() => {
  scratch = mkdtempSync(path.join(tmpdir(), 'airbundle-archive-'));
});
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(path.join(scratch, 'one-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Members in a form that a failure can show. */
const shown = (members: readonly Seen[]): unknown[] =>
  members.map(({ path: name, mode, bytes }) => [name, mode.toString(8), bytes.length, sha256Of(bytes)]);

const withContents = (members: readonly Seen[]): Seen[] => [
  { path: 'bundle.json', mode: 0o644, bytes: Buffer.from(contentsOf(members)) },
  ...members,
];

/**
 * The reader's refusal in words, or 'accepted'; then GNU tar has to see the same members, and the packer to
 * write the same bytes for them.
 */
async function judged(tar: string, folder: string): Promise<string> {
  let ours: Seen[];
  try {
    ours = await readOurs(tar);
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    expect(error.exit).toBe(4);
    expect(error.where).toContain(tar);
    return error.message;
  }
  expect(shown(ours)).toEqual(shown(readGnu(tar, folder)));
  expect(readFileSync(await packed(ours, folder)).equals(readFileSync(tar))).toBe(true);
  return 'accepted';
}

const noise = (seed: number, length: number): Buffer =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length));

/** Bytes that an archive could be made of itself. */
const FILLS: Readonly<Record<string, (length: number) => Buffer>> = {
  zeros: (length) => Buffer.alloc(length),
  noise: (length) => noise(length, length),
  'a header, again and again': (length) =>
    Buffer.alloc(length, ustarHeader({ path: 'etc/passwd', mode: 0o755, sizeBytes: 512 })),
};

const letters = /^[A-Za-z0-9._+~^-]{1,60}$/;
const anyMember = fc
  .record({
    folder: fc.constantFrom('', 'rpms/', 'sources/deep/er/', 'A~^+.-/'),
    leaf: fc.stringMatching(letters).filter((text) => text !== '.' && text !== '..'),
    longest: fc.boolean(),
    mode: fc.constantFrom(0o644, 0o755),
    sizeBytes: fc.oneof(
      fc.constantFrom(0, 1, 511, 512, 513, 1024, RECORD_BYTES - 512, RECORD_BYTES, RECORD_BYTES + 1, 65_536),
      fc.nat(30_000),
    ),
    fill: fc.constantFrom(...Object.keys(FILLS)),
  })
  .map(({ folder, leaf, longest, mode, sizeBytes, fill }): Seen => {
    const name = `${folder}${leaf}`;
    return {
      path: longest ? name.padEnd(100, 'x') : name,
      mode,
      bytes: FILLS[fill]?.(sizeBytes) ?? Buffer.alloc(0),
    };
  });
const anyMembers = fc
  .uniqueArray(anyMember, { minLength: 1, maxLength: 8, selector: (member) => member.path })
  .filter((members) => {
    const names = ['bundle.json', ...members.map((member) => member.path)];
    return (
      names.every((name) =>
        names.every((other) => (other === name ? true : !other.startsWith(`${name}/`))),
      ) && new Set(names).size === names.length
    );
  });

describe('what the packer writes', () => {
  it(
    'is read back by the reader and by GNU tar: names, modes, sizes, bytes',
    { timeout: 120_000 },
    async () => {
      const seed = seedFor('archives of the packer');
      await fc.assert(
        fc.asyncProperty(anyMembers, async (members) =>
          inFolder(async (folder) => {
            const all = withContents(members);
            const tar = await packed(all, folder);
            expect(shown(await readOurs(tar))).toEqual(shown(all));
            expect(shown(readGnu(tar, folder))).toEqual(shown(all));
          }),
        ),
        { numRuns: 80, seed },
      );
    },
  );
});

/** How GNU tar writes the canonical form. */
const FORMAT = '--format=ustar';
const PLAIN = [
  '--owner=:0',
  '--group=:0',
  '--numeric-owner',
  '--mtime=@0',
  '--no-recursion',
  '--no-unquote',
  '-P',
];

const MEMBERS: readonly Seen[] = [
  { path: 'installer.cjs', mode: 0o644, bytes: Buffer.from('console.log(1)\n') },
  { path: 'runtime/node', mode: 0o755, bytes: noise(1, 3000) },
  { path: 'rpms/a.rpm', mode: 0o644, bytes: noise(2, 512) },
  { path: 'rpms/empty.rpm', mode: 0o644, bytes: Buffer.alloc(0) },
  { path: 'sources/x.tar', mode: 0o644, bytes: noise(3, 700) },
];
const NAMES = ['bundle.json', ...MEMBERS.map((member) => member.path)];

/** A folder with these files and a bundle.json that names them all, and `more` that the test makes itself. */
function treeOf(folder: string, members: readonly Seen[], more: readonly Seen[] = []): string {
  const tree = path.join(folder, 'tree');
  for (const { path: name, mode, bytes } of withContents([...members, ...more])) {
    if (more.some((member) => member.path === name)) continue;
    const file = path.join(tree, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, bytes);
    chmodSync(file, mode);
  }
  return tree;
}

const empty = (name: string): Seen => ({ path: name, mode: 0o644, bytes: Buffer.alloc(0) });

const FOREIGN = /^member \d+ has a header that airbundle does not write$/;
const BEHIND = /^there is something behind the end of the archive$/;

interface Hostile {
  readonly words: RegExp;
  /** Only root makes devices. */
  readonly asRoot?: true;
  /** Named in bundle.json as if it were a regular file. */
  readonly more?: Seen;
  /** Makes what `more` names. */
  readonly prepare?: (tree: string) => void;
  /** Instead of the canonical options. */
  readonly options?: readonly string[];
  readonly names?: readonly string[];
  /** Changes the archive afterwards. */
  readonly after?: (tar: string, tree: string) => void;
}

const make = (program: string, ...args: readonly string[]): void => {
  execFileSync(program, args, { stdio: 'pipe' });
};

function rewritten(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
}

/** One more member that only its name makes foreign; an absolute one is a file of this machine. */
const named = (name: string): Hostile => ({
  words: FOREIGN,
  more: empty(name),
  prepare: (tree) => {
    if (path.isAbsolute(name)) return;
    const file = path.join(tree, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, '');
  },
});
const inFormat = (...options: readonly string[]): Hostile => ({
  words: FOREIGN,
  options: [...options, ...PLAIN],
});
const special = (prepare: (file: string) => void): Hostile => ({
  words: FOREIGN,
  more: empty('rpms/more'),
  prepare: (tree) => {
    prepare(path.join(tree, 'rpms/more'));
  },
});
const sparse = (...options: readonly string[]): Hostile => ({
  words: FOREIGN,
  more: { path: 'rpms/holes', mode: 0o644, bytes: Buffer.alloc(1024 * 1024) },
  prepare: (tree) => {
    writeFileSync(path.join(tree, 'rpms/holes'), '');
    truncateSync(path.join(tree, 'rpms/holes'), 1024 * 1024);
  },
  options: [...options, '--sparse', ...PLAIN],
});
const mode = (bits: number): Hostile => ({
  words: FOREIGN,
  more: { ...empty('rpms/more'), mode: bits },
  prepare: (tree) => {
    writeFileSync(path.join(tree, 'rpms/more'), '');
    chmodSync(path.join(tree, 'rpms/more'), bits);
  },
});
const without = (...left: readonly string[]): string[] =>
  [FORMAT, ...PLAIN].filter((option) => !left.includes(option));

const HOSTILE: Readonly<Record<string, Hostile>> = {
  'in the format v7': inFormat('--format=v7'),
  'in the format oldgnu': inFormat('--format=oldgnu'),
  'in the format gnu': inFormat('--format=gnu'),
  'in the format pax': inFormat('--format=posix'),
  'in the format pax, without its times': inFormat(
    '--format=posix',
    '--pax-option=delete=[acm]time',
    '--pax-option=comment=x',
  ),
  'with a label': inFormat('--format=gnu', '--label=x'),
  'with times': { words: FOREIGN, options: [...without('--mtime=@0'), '--mtime=@1'] },
  'with a user': { words: FOREIGN, options: [...without('--owner=:0'), '--owner=:1000'] },
  'with the name of a user': {
    words: FOREIGN,
    options: [...without('--owner=:0', '--numeric-owner'), '--owner=root:0'],
  },
  'with a symbolic link': special((file) => {
    symlinkSync('/etc/passwd', file);
  }),
  'with a hard link': special((file) => {
    linkSync(path.join(path.dirname(file), 'empty.rpm'), file);
  }),
  'with a folder': special((file) => {
    mkdirSync(file);
  }),
  'with a pipe': special((file) => {
    make('mkfifo', file);
  }),
  'with a character device': {
    ...special((file) => {
      make('mknod', file, 'c', '1', '3');
    }),
    asRoot: true,
  },
  'with a block device': {
    ...special((file) => {
      make('mknod', file, 'b', '7', '0');
    }),
    asRoot: true,
  },
  'with a sparse file, in the format gnu': sparse('--format=gnu'),
  'with a sparse file, in the format pax 0.1': sparse('--format=posix', '--sparse-version=0.1'),
  'with a sparse file, in the format pax 1.0': sparse('--format=posix', '--sparse-version=1.0'),
  'with a setuid file': mode(0o4755),
  'with a setgid file': mode(0o2755),
  'with a sticky file': mode(0o1644),
  'with a file of mode 600': mode(0o600),
  'with a file of mode 777': mode(0o777),
  'with a file of mode 0': mode(0),
  'with an executable bundle.json': {
    words: FOREIGN,
    prepare: (tree) => {
      chmodSync(path.join(tree, 'bundle.json'), 0o755);
    },
  },
  'with a Korean name': named('rpms/한글'),
  'with a Latin-1 letter decomposed': named('rpms/e\u0301'),
  'with a space in a name': named('rpms/a b'),
  'with a space behind a name': named('rpms/a '),
  'with a line break in a name': named('rpms/a\nb'),
  'with a backslash in a name': named('rpms\\a'),
  'with a control character in a name': named('rpms/\u001b[2J'),
  'with a name from here': named('./rpms/b'),
  'with a doubled slash': named('rpms//b'),
  'with a name that climbs and comes back': named('rpms/../rpms/b'),
  'with an absolute name': named('/etc/passwd'),
  'with a name that climbs out': named('../out'),
  'with a name of 101 characters, in two fields': named(`rpms/${'a/'.repeat(40)}${'b'.repeat(16)}`),
  'with a name of 255 characters, in two fields': named(
    `${'a'.repeat(150)}/${'b'.repeat(100)}`.replace(/^a{50}/, 'rpms/'),
  ),
  'with a name of 300 characters, in the format gnu': {
    ...named(`rpms/${'a/'.repeat(97)}${'b'.repeat(101)}`),
    options: ['--format=gnu', ...PLAIN],
  },
  'with a member again, behind the others': {
    words: /^rpms\/a\.rpm is there twice$/,
    after: (tar, tree) => {
      gnuTar('-rf', tar, '-C', tree, FORMAT, ...PLAIN, 'rpms/a.rpm');
    },
  },
  'with another bundle.json behind the others': {
    words: /^bundle\.json is there twice$/,
    after: (tar, tree) => {
      gnuTar('-rf', tar, '-C', tree, FORMAT, ...PLAIN, 'bundle.json');
    },
  },
  'with a file where another member has a folder': {
    words: /^runtime is there as a file and as a folder$/,
    more: empty('runtime'),
    after: (tar, tree) => {
      rmSync(path.join(tree, 'runtime'), { recursive: true });
      writeFileSync(path.join(tree, 'runtime'), '');
      gnuTar('-rf', tar, '-C', tree, FORMAT, ...PLAIN, 'runtime');
    },
    names: NAMES,
  },
  'with a member that is not named': {
    words: /^bundle\.json names 5 members, the archive holds 6$/,
    after: (tar, tree) => {
      writeFileSync(path.join(tree, 'more'), '');
      gnuTar('-rf', tar, '-C', tree, FORMAT, ...PLAIN, 'more');
    },
  },
  'sorted otherwise': {
    words: /stands where bundle\.json names/,
    names: ['bundle.json', ...NAMES.slice(1).reverse()],
  },
  'that begins with another member': {
    words: /^bundle\.json is not the first member$/,
    names: [...NAMES.slice(1), 'bundle.json'],
  },
  'without a member': {
    words: /^bundle\.json names 5 members, the archive holds 4$/,
    names: NAMES.slice(0, -1),
  },
  'with bytes of another member': {
    words: /^rpms\/a\.rpm is not what bundle\.json says$/,
    prepare: (tree) => {
      writeFileSync(path.join(tree, 'rpms/a.rpm'), noise(9, 512));
    },
  },
  'with garbage behind it': {
    words: BEHIND,
    after: (tar) => {
      appendFileSync(tar, 'x');
    },
  },
  'with zeros behind it': {
    words: BEHIND,
    after: (tar) => {
      appendFileSync(tar, Buffer.alloc(BLOCK_BYTES));
    },
  },
  'with garbage in its last block': {
    words: BEHIND,
    after: (tar) => {
      rewritten(tar, (bytes) => bytes.write('x', bytes.length - 1));
    },
  },
  'with a member behind its end, in the same record': {
    words: BEHIND,
    after: (tar) => {
      const more = ustarHeader({ path: 'rpms/more', mode: 0o644, sizeBytes: 0 });
      rewritten(tar, (bytes) => more.copy(bytes, bytes.length - BLOCK_BYTES));
    },
  },
  'with garbage in the padding of a member': {
    words: /^sources\/x\.tar is padded with something$/,
    after: (tar) => {
      rewritten(tar, (bytes) => bytes.write('x', bytes.indexOf(noise(3, 700)) + 700));
    },
  },
  'that is itself twice': {
    words: BEHIND,
    after: (tar) => {
      appendFileSync(tar, readFileSync(tar));
    },
  },
  'joined to another by tar': {
    words: /^bundle\.json is there twice$/,
    after: (tar) => {
      writeFileSync(`${tar}.2`, readFileSync(tar));
      gnuTar('-Af', tar, `${tar}.2`);
    },
  },
  'in records of one block': {
    words: /^the payload is cut off$/,
    options: [FORMAT, ...PLAIN, '--blocking-factor=1'],
  },
  'in records of 100 blocks': { words: BEHIND, options: [FORMAT, ...PLAIN, '--blocking-factor=100'] },
  'cut before its last block': {
    words: /^the payload is cut off$/,
    after: (tar) => {
      truncateSync(tar, readFileSync(tar).length - BLOCK_BYTES);
    },
  },
  'packed with gzip': { words: FOREIGN, options: [FORMAT, ...PLAIN, '--gzip'] },
};

function gnuMade(folder: string, hostile: Partial<Hostile>): string {
  const { more, prepare, options = [FORMAT, ...PLAIN], after } = hostile;
  const tree = treeOf(folder, MEMBERS, more === undefined ? [] : [more]);
  prepare?.(tree);
  const names = hostile.names ?? [...NAMES, ...(more === undefined ? [] : [more.path])];
  const tar = path.join(folder, 'gnu.tar');
  gnuTar('-cf', tar, '-C', tree, ...options, '--', ...names);
  after?.(tar, tree);
  return tar;
}

describe('what GNU tar writes', () => {
  it('is accepted in the one form, and is then what the packer writes', async () => {
    expect(await inFolder(async (folder) => judged(gnuMade(folder, {}), folder))).toBe('accepted');
  });

  it.for(Object.entries(HOSTILE))('is refused %s', async ([, hostile], { skip }) => {
    skip(hostile.asRoot === true && process.getuid?.() !== 0, 'only root makes devices');
    expect(await inFolder(async (folder) => judged(gnuMade(folder, hostile), folder))).toMatch(hostile.words);
  });

  const anyArchive = fc.record({
    format: fc.constantFrom(FORMAT, FORMAT, FORMAT, '--format=gnu', '--format=posix', '--format=oldgnu'),
    options: fc.constantFrom(PLAIN, PLAIN, PLAIN, without('--owner=:0'), without('--mtime=@0')),
    names: fc.oneof(fc.constant(NAMES), fc.shuffledSubarray(NAMES, { minLength: 1 })),
    blocking: fc.constantFrom([], [], ['--blocking-factor=1'], ['--blocking-factor=40']),
    more: fc.option(
      fc.constantFrom('rpms/b', '-x', '/etc/passwd', '../x', 'a b', 'x'.repeat(100), 'x/'.repeat(60) + 'y'),
      {
        freq: 2,
      },
    ),
    again: fc.option(fc.constantFrom(...NAMES), { freq: 2 }),
    tail: fc.constantFrom(0, 0, 0, 1, BLOCK_BYTES, RECORD_BYTES),
    cut: fc.constantFrom(0, 0, 0, 1, BLOCK_BYTES, RECORD_BYTES),
  });

  it('is, in any mixture of these, refused or read alike by all three', { timeout: 120_000 }, async () => {
    const seed = seedFor('archives of GNU tar');
    let accepted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(anyArchive, async ({ format, options, names, blocking, more, again, tail, cut }) => {
        const hostile: Partial<Hostile> = {
          ...(more === null ? {} : named(more)),
          options: [format, ...options.filter((option) => !option.startsWith('--format')), ...blocking],
          names: [...names, ...(more === null ? [] : [more])],
          after: (tar, tree) => {
            if (again !== null) gnuTar('-rf', tar, '-C', tree, format, ...PLAIN, again);
            truncateSync(tar, Math.max(0, readFileSync(tar).length - cut));
            appendFileSync(tar, Buffer.alloc(tail));
          },
        };
        const answer = await inFolder(async (folder) => judged(gnuMade(folder, hostile), folder));
        if (answer === 'accepted') accepted += 1;
        else refused += 1;
      }),
      {
        numRuns: 60,
        seed,
        examples: [
          [
            {
              format: FORMAT,
              options: PLAIN,
              names: NAMES,
              blocking: [],
              more: 'rpms/b',
              again: null,
              tail: 0,
              cut: 0,
            },
          ],
        ],
      },
    );
    expect(accepted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(30);
  });
});

/** Fields of a ustar header: offset and length. */
const FIELDS: Readonly<Record<string, readonly [number, number]>> = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  type: [156, 1],
  link: [157, 100],
  magic: [257, 6],
  version: [263, 2],
  user: [265, 32],
  group: [297, 32],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
  rest: [500, 12],
};

/** Other spellings of a number that many readers of archives take; the field's own is digits and a zero byte. */
const SPELLINGS: Readonly<Record<string, (value: number, length: number) => Buffer>> = {
  'spaces before it': (value, length) => Buffer.from(`${value.toString(8).padStart(length - 1)}\0`),
  'a space behind it': (value, length) => Buffer.from(`${value.toString(8).padStart(length - 1, '0')} `),
  'a space and a zero byte behind it': (value, length) =>
    Buffer.from(`${value.toString(8).padStart(length - 2, '0')} \0`),
  'digits to the end of the field': (value, length) => Buffer.from(value.toString(8).padStart(length, '0')),
  'few digits': (value, length) => Buffer.alloc(length, `${value.toString(8)}\0${'\0'.repeat(length)}`),
  'base 256': (value, length) => {
    const bytes = Buffer.alloc(length);
    bytes[0] = 0x80;
    bytes.writeUInt32BE(value, length - 4);
    return bytes;
  },
  'something behind its end': (value, length) =>
    Buffer.from(`${value.toString(8).padStart(length - 3, '0')}\0x\0`),
};

describe('a header with a right checksum', () => {
  const all = withContents(MEMBERS);
  const archive = (index: number, change: (block: Buffer) => void): Buffer =>
    rawTar(
      all.map(({ path: name, mode: bits, bytes }, at) => {
        const member = rawMember(name, bytes, bits);
        return at === index ? { ...member, header: changedHeader(member.header, change) } : member;
      }),
    );
  const answerTo = async (bytes: Buffer): Promise<string> =>
    inFolder(async (folder) => {
      const tar = path.join(folder, 'changed.tar');
      writeFileSync(tar, bytes);
      return judged(tar, folder);
    });
  const whole = rawTar(all.map(({ path: name, mode: bits, bytes }) => rawMember(name, bytes, bits)));

  const numbers = ['mode', 'uid', 'size', 'mtime', 'major'].flatMap((field) =>
    Object.keys(SPELLINGS).map((spelling) => [field, spelling] as const),
  );
  it.each(numbers)('is refused when its %s is written with %s', async (field, spelling) => {
    const [from = 0, length = 0] = FIELDS[field] ?? [];
    const bytes = archive(3, (block) => {
      const value = parseInt(block.toString('latin1', from, from + length), 8);
      SPELLINGS[spelling]?.(value, length).copy(block, from);
    });
    expect(bytes.equals(whole)).toBe(false);
    expect(await answerTo(bytes)).toMatch(FOREIGN);
  });

  it(
    'is good only in its own bytes, whatever else is put into whichever field',
    { timeout: 120_000 },
    async () => {
      const seed = seedFor('fields of headers');
      const place = fc
        .constantFrom(...Object.values(FIELDS))
        .chain(([from, length]) => fc.integer({ min: from, max: from + length - 1 }));
      const value = fc.oneof(
        fc.constantFrom(0, 0x20, 0x2f, 0x30, 0x31, 0x35, 0x37, 0x4c, 0x67, 0x78, 0x80, 0xff),
        fc.nat(255),
      );
      const put = fc.record({ at: place, to: value });
      const anyEdits = fc.oneof(
        fc.array(put, { minLength: 1, maxLength: 3 }),
        // Exchanged: the checksum stays what it was.
        fc.record({ one: place, two: place }),
      );
      await fc.assert(
        fc.asyncProperty(fc.nat(all.length - 1), anyEdits, async (index, edits) => {
          const bytes = archive(index, (block) => {
            if (Array.isArray(edits)) for (const { at, to } of edits) block[at] = to;
            else [block[edits.one], block[edits.two]] = [block[edits.two] ?? 0, block[edits.one] ?? 0];
          });
          const answer = await answerTo(bytes);
          expect(answer === 'accepted').toBe(bytes.equals(whole));
        }),
        { numRuns: 250, seed },
      );
    },
  );
});
