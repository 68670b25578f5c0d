import { execFile } from 'node:child_process';
import { cpSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifySignature } from '../../src/model/signature.js';
import { read, shellBlocksOf } from '../docs/support.js';
import { seedFor } from '../support/seed.js';
import type { MadeBundle } from './bundle.js';
import { examined, makeBundle, makeContents, makeSigner, placesOf } from './bundle.js';

/*
 * A signed folder, changed by as little as can be, against what a person types (README.md's chain of
 * openssl, sha256sum and sh) and against what `bundle verify` does. Neither may let it through.
 */

const FILES = ['tar', 'sums', 'signature', 'installSh'] as const;
type File = (typeof FILES)[number];

/** What refuses a change of each file: the command that ends the chain, and the code of `bundle verify`. */
const REFUSALS: Readonly<Record<File, Answers>> = {
  tar: { stock: 'sha256sum', verify: 'BAD_PAYLOAD' },
  sums: { stock: 'openssl', verify: 'BAD_SIGNATURE' },
  signature: { stock: 'openssl', verify: 'BAD_SIGNATURE' },
  installSh: { stock: 'sha256sum', verify: 'ALTERED' },
};

const PER_FILE = 250;
const SIDE_BY_SIDE = 2;
const TYPE_CHAIN = fileURLToPath(new URL('./chain.sh', import.meta.url));

const signer = makeSigner();
let work = '';
let made: MadeBundle;
let originals: Readonly<Record<File, Buffer>>;
let folders = 0;

beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'airbundle-flips-'));
  const contents = makeContents((given) => ({ ...given, name: 'tts-ha', version: '1.0.0', sequence: 1 }));
  const written = await makeBundle(signer, contents, read('src/install/install.sh'));
  const folder = path.join(work, 'whole');
  // The builder's folder ends with the first test.
  cpSync(written.folder, folder, { recursive: true });
  made = placesOf(folder, written.stem, signer);
  originals = {
    tar: readFileSync(made.tar),
    sums: readFileSync(made.sums),
    signature: readFileSync(made.signature),
    installSh: readFileSync(made.installSh),
  };
  writeFileSync(path.join(work, 'packager.pub.pem'), signer.trusted.pem);
  writeFileSync(path.join(work, 'chain'), chainOf('README.md'));
});
afterAll(() => {
  rmSync(work, { recursive: true, force: true });
});

/** The page's chain for this bundle and key; what would run install.sh says that it was reached. */
function chainOf(page: string): string {
  const block = shellBlocksOf(page).find(({ text }) => /openssl dgst[^]*sh install\.sh/.test(text));
  const typed = (block?.text ?? '')
    .replace(/^airbundle status$/m, '')
    .replaceAll('KEYID', signer.trusted.keyId)
    .replace(/(?<=-verify )packager\.pub\.pem/, path.join(work, 'packager.pub.pem'))
    .replace(/sh install\.sh .*/, 'echo reached');
  expect(typed.match(/&&/g)).toHaveLength(2);
  expect(typed).toMatch(/^openssl dgst [^]*&& sha256sum --strict -c [^]*&& echo reached\s*$/);
  return typed;
}

interface Change {
  readonly file: File;
  readonly what: string;
  readonly bytes: Buffer;
}

interface Answers {
  /** The command of the chain that stopped it. */
  readonly stock: 'openssl' | 'sha256sum' | 'reached';
  /** The codes of what `bundle verify` found. */
  readonly verify: string;
}

/** The folder with one other file. */
function changedFolder({ file, bytes }: Change): string {
  folders += 1;
  const folder = path.join(work, String(folders));
  mkdirSync(folder);
  for (const each of FILES) {
    const to = path.join(folder, path.basename(made[each]));
    if (each === file) writeFileSync(to, bytes);
    else linkSync(made[each], to);
  }
  return folder;
}

async function stockAnswers(asked: readonly string[]): Promise<Answers['stock'][]> {
  const chain = path.join(work, 'chain');
  const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
  const share = Math.ceil(asked.length / SIDE_BY_SIDE);
  const shares = Array.from({ length: SIDE_BY_SIDE }, (_, n) => asked.slice(n * share, (n + 1) * share));
  await Promise.all(shares.map((some) => promisify(execFile)('sh', [TYPE_CHAIN, chain, ...some], { env })));
  return asked.map((folder) => {
    const printed = readFileSync(`${folder}.out`, 'utf8');
    const code = readFileSync(`${folder}.code`, 'utf8');
    if (code === '0\n' || /^reached$/m.test(printed)) return 'reached';
    return /^Verified OK$/m.test(printed) ? 'sha256sum' : 'openssl';
  });
}

async function verifyAnswer(folder: string): Promise<string> {
  const { bundle, problems } = await examined(folder, [signer.trusted]);
  expect(bundle === undefined).toBe(problems.length > 0);
  expect(problems.every((problem) => problem.exit === 4)).toBe(true);
  return bundle === undefined ? problems.map((problem) => problem.code).join(' ') : 'good';
}

async function ask(asked: readonly string[]): Promise<Answers[]> {
  const typed = stockAnswers(asked);
  const verified: string[] = [];
  for (const folder of asked) verified.push(await verifyAnswer(folder));
  return (await typed).map((stock, index) => ({ stock, verify: verified[index] ?? '' }));
}

/** Tries each change in a folder of its own. @returns those that were not refused by both, as they must be */
async function notRefused(changes: readonly Change[]): Promise<unknown[]> {
  const answers = await ask(changes.map(changedFolder));
  expect(answers).toHaveLength(changes.length);
  return changes.flatMap(({ file, what }, index) => {
    const { stock, verify } = answers[index] ?? {};
    if (stock === REFUSALS[file].stock && verify === REFUSALS[file].verify) return [];
    return [{ file, what, stock, verify, signature: originals.signature.toString('hex') }];
  });
}

/** Changes of one byte, no two alike; a draw that leaves the byte as it was is void and drawn again. */
function flipsOf(file: File, seed: number): Change[] {
  const original = originals[file];
  const flip = fc
    .record({ at: fc.nat(original.length - 1), to: fc.nat(255) })
    .filter(({ at, to }) => original[at] !== to);
  const drawn = fc.uniqueArray(flip, {
    minLength: PER_FILE,
    maxLength: PER_FILE,
    selector: ({ at, to }) => at * 256 + to,
  });
  const flips = fc.sample(drawn, { seed, numRuns: 1 }).flat();
  return flips.map(({ at, to }) => {
    const bytes = Buffer.from(original);
    bytes[at] = to;
    return { file, bytes, what: `byte ${String(at)} from ${String(original[at])} to ${String(to)}` };
  });
}

/** How many bytes of two buffers differ. */
const distance = (a: Buffer, b: Buffer): number =>
  a.reduce((sum, byte, at) => sum + (byte === b[at] ? 0 : 1), Math.abs(a.length - b.length));

describe('a signed folder', () => {
  it('is good as it is, for the chain and for bundle verify', async () => {
    expect(await ask([made.folder])).toEqual([{ stock: 'reached', verify: 'good' }]);
  });

  it(`is refused by both for each of ${String(PER_FILE)} random single-byte changes a file`, async () => {
    const seed = seedFor('single-byte changes');
    const changes = FILES.flatMap((file) => flipsOf(file, seed));
    expect(changes).toHaveLength(1000);
    expect(changes.filter(({ file, bytes }) => distance(bytes, originals[file]) !== 1)).toEqual([]);
    expect(await notRefused(changes), `seed ${String(seed)}`).toEqual([]);
  }, 120_000);

  it('is refused by both when a byte is added to a file or taken from it', async () => {
    const changes = FILES.flatMap((file): Change[] => {
      const bytes = originals[file];
      const middle = bytes.length >> 1;
      const without = (at: number): Buffer => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
      const added = [0, 0x0a, 0x20, 0x23, 0xff].flatMap((byte) => [
        { what: `${String(byte)} behind it`, bytes: Buffer.concat([bytes, Buffer.of(byte)]) },
        { what: `${String(byte)} before it`, bytes: Buffer.concat([Buffer.of(byte), bytes]) },
      ]);
      const removed = [
        { what: 'without its first byte', bytes: without(0) },
        { what: `without byte ${String(middle)}`, bytes: without(middle) },
        { what: 'without its last byte', bytes: without(bytes.length - 1) },
        { what: 'empty', bytes: Buffer.alloc(0) },
      ];
      return [...added, ...removed].map((change) => ({ file, ...change }));
    });
    expect(changes).toHaveLength(56);
    // openssl reads 72 bytes of a signature, the longest there is, and never sees what lies behind: the signed
    // file is the same, and bundle verify refuses it all the same.
    const unseen = (given: unknown): boolean => {
      const one = given as { file: File; what: string; verify: string };
      return (
        one.file === 'signature' &&
        originals.signature.length === 72 &&
        one.what.endsWith(' behind it') &&
        one.verify === 'BAD_SIGNATURE'
      );
    };
    expect((await notRefused(changes)).filter((one) => !unseen(one))).toEqual([]);
  });
});

describe('the signature', () => {
  it('is refused with any one of its bytes replaced by any other value', () => {
    const good = originals.signature;
    expect(verifySignature(originals.sums, good, signer.trusted.key)).toBe(true);
    const taken: string[] = [];
    for (const at of good.keys())
      for (let to = 0; to < 256; to += 1) {
        if (to === good[at]) continue;
        const bytes = Buffer.from(good);
        bytes[at] = to;
        if (verifySignature(originals.sums, bytes, signer.trusted.key)) taken.push(bytes.toString('hex'));
      }
    expect(taken, good.toString('hex')).toEqual([]);
  }, 120_000);

  it('is refused by both in any other spelling of the same two numbers', async () => {
    const { r, s } = numbersOf(originals.signature);
    expect(sequence(integer(r), integer(s)).equals(originals.signature)).toBe(true);
    const padded = (value: bigint): Buffer => tagged(2, Buffer.concat([Buffer.of(0), magnitude(value)]));
    const body = Buffer.concat([integer(r), integer(s)]);
    const spellings: Record<string, Buffer> = {
      'a length of two bytes': Buffer.concat([Buffer.of(0x30, 0x81, body.length), body]),
      'no length': Buffer.concat([Buffer.of(0x30, 0x80), body, Buffer.of(0, 0)]),
      'a zero before r': sequence(padded(r), integer(s)),
      'a zero before s': sequence(integer(r), padded(s)),
      'a third number': sequence(integer(r), integer(s), integer(0n)),
      'r and s as 64 bytes': Buffer.concat([fixed(r), fixed(s)]),
      's and the order of the group': sequence(integer(r), integer(s + ORDER)),
      zeros: sequence(integer(0n), integer(0n)),
      'the order itself': sequence(integer(r), integer(ORDER)),
    };
    const changes = Object.entries(spellings).map(([what, bytes]): Change => ({
      file: 'signature',
      what,
      bytes,
    }));
    expect(await notRefused(changes)).toEqual([]);
  });

  /*
   * ECDSA itself: with (r, s), (r, n - s) is a signature of the same bytes by the same key. Whoever has no
   * key can write it, and gets nothing: X.sha256, which it is over, is the same, and names the bundle.
   */
  it('may be the other one that ECDSA has over the very same X.sha256', async () => {
    const { r, s } = numbersOf(originals.signature);
    const other = sequence(integer(r), integer(ORDER - s));
    expect(distance(other, originals.signature)).toBeGreaterThan(1);
    const folder = changedFolder({ file: 'signature', what: 'n - s', bytes: other });
    expect(await ask([folder])).toEqual([{ stock: 'reached', verify: 'good' }]);
  });
});

/** The order of P-256's group (FIPS 186-4, D.1.2.3). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The two numbers of a DER signature that is known to be good. */
function numbersOf(signature: Buffer): { r: bigint; s: bigint } {
  const first = 4 + (signature[3] ?? 0);
  const number = (from: number, to: number): bigint =>
    BigInt(`0x${signature.subarray(from, to).toString('hex')}`);
  return { r: number(4, first), s: number(first + 2, signature.length) };
}

const tagged = (tag: number, body: Buffer): Buffer => Buffer.concat([Buffer.of(tag, body.length), body]);
const sequence = (...parts: readonly Buffer[]): Buffer => tagged(0x30, Buffer.concat(parts));
const integer = (value: bigint): Buffer => tagged(2, magnitude(value));

/** Big-endian, as short as a number that is not negative can be in DER. */
function magnitude(value: bigint): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return (bytes[0] ?? 0) > 127 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
}

const fixed = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');
