import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Evr } from '../../src/model/evr.js';
import { compareEvr, compareVersion } from '../../src/model/evr.js';
import { formatNevra, rpmFileName } from '../../src/model/nevra.js';
import { seedFor } from '../support/seed.js';
import { skipUnless } from '../support/skip.js';

/** From rpm's own tests/rpmvercmp.at, without "^", which 4.11 does not know. */
const TABLE: readonly [string, string, -1 | 0 | 1][] = [
  ['1.0', '1.0', 0],
  ['1.0', '2.0', -1],
  ['2.0.1', '2.0.1', 0],
  ['2.0', '2.0.1', -1],
  ['2.0.1a', '2.0.1a', 0],
  ['2.0.1a', '2.0.1', 1],
  ['5.5p1', '5.5p2', -1],
  ['5.5p10', '5.5p1', 1],
  ['10xyz', '10.1xyz', -1],
  ['xyz10', 'xyz10.1', -1],
  ['xyz.4', 'xyz.4', 0],
  ['xyz.4', '8', -1],
  ['8', 'xyz.4', 1],
  ['xyz.4', '2', -1],
  ['5.5p2', '5.6p1', -1],
  ['5.6p1', '6.5p1', -1],
  ['6.0.rc1', '6.0', 1],
  ['6.0', '6.0.rc1', -1],
  ['10b2', '10a1', 1],
  ['1.0aa', '1.0a', 1],
  ['1.0a', '1.0aa', -1],
  ['10.0001', '10.1', 0],
  ['10.0001', '10.0039', -1],
  ['4.999.9', '5.0', -1],
  ['20101121', '20101122', -1],
  ['2_0', '2.0', 0],
  ['a', 'a', 0],
  ['a+', 'a_', 0],
  ['+a', '_a', 0],
  ['+_', '_+', 0],
  ['1.0~rc1', '1.0', -1],
  ['1.0', '1.0~rc1', 1],
  ['1.0~rc1', '1.0~rc2', -1],
  ['1.0~rc1~git123', '1.0~rc1', -1],
  ['1.0~rc1', '1.0arc1', -1],
];

describe('the order of versions', () => {
  it.each(TABLE)('%s against %s is %i, and the other way round', (a, b, order) => {
    expect(Math.sign(compareVersion(a, b))).toBe(order);
    expect(Math.sign(compareVersion(b, a))).toBe(order === 0 ? 0 : -order);
  });

  it('puts the epoch before the version and the version before the release', () => {
    const evr = (epoch: number, version: string, release: string) => ({ epoch, version, release });
    expect(compareEvr(evr(1, '1', '1'), evr(0, '9', '9'))).toBeGreaterThan(0);
    expect(compareEvr(evr(0, '1.10', '1'), evr(0, '1.9', '9'))).toBeGreaterThan(0);
    expect(compareEvr(evr(0, '1', '2.el7'), evr(0, '1', '2.el7_5.1'))).toBeLessThan(0);
  });
});

/** EVRs as packages of EL7 have them, and of Fedora where EL7 has no "~". */
const REAL = [
  '2.17-222.el7 2.17-260.el7_6.3 2.17-317.el7 1:1.0.2k-12.el7 1:1.0.2k-16.el7_6.1 1:1.0.2k-8.el7',
  '32:9.9.4-61.el7 32:9.9.4-61.el7_5.1 32:9.11.4-26.P2.el7_9.16 2.0-0.25.20131004git.el7 2018c-1.el7',
  '1:1.8.0.161-2.b14.el7 1:1.8.0.282.b08-1.el7_9 3.10.0-862.el7 3.10.0-862.14.4.el7 3.10.0-1160.el7',
  '2:7.4.160-4.el7 2:7.4.629-8.el7_9 2.7.5-68.el7 2.7.5-90.el7 2017.2.20-71.el7 2020.2.41-70.0.el7_8',
  '7:1.02.146-4.el7 7:1.02.170-6.el7_9.5 1:2.02-0.65.el7.centos.2 1:2.02-0.87.0.1.el7.centos.9 219-57.el7',
  '219-57.el7_5.1 12:4.2.5-68.el7.centos 4.8.5-28.el7 4.8.5-28.el7_5.1 8.32-17.el7 4:5.16.3-292.el7',
  '1:1.04-292.el7 3.0-12.20121213cvs.el7 5.9-14.20130511.el7_4 1:3.82-23.el7 1.3.5-6.el7 1.3.5-19.el7',
  '6.0-19.el7 6.0-22.el7_9 4.25.0-2.el7_9 4.32.0-1.el7_9 7.1-1.el7 245~rc2-1.fc32 245-1.fc32',
  '3.0.0~beta2-1.fc36 3.0.0~beta2-1.fc36.1 1:2.0~20200101git0a1b2c3-1 0-0.1.rc1 0-0.10.rc1',
].flatMap((line) => line.split(' '));

type Pair = readonly [string, string];

function evrOf(text: string): Evr {
  const match = /^(?:(\d+):)?([^-]+)-([^-]+)$/.exec(text);
  if (match === null) throw new Error(`"${text}" is no EVR`);
  return { epoch: Number(match[1] ?? 0), version: match[2] ?? '', release: match[3] ?? '' };
}

/** rpm's own comparison of whole EVRs, all pairs in one process. */
function askRpm(pairs: readonly Pair[]): number[] {
  const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-evr-'));
  try {
    const file = path.join(folder, 'pairs');
    writeFileSync(file, pairs.map(([a, b]) => `${a} ${b}\n`).join(''));
    const lua = [
      `for line in io.lines("${file}") do`,
      'local a, b = line:match("^([^ ]+) ([^ ]+)$")',
      // print() keeps everything in one buffer, which rpm 4.18 overruns.
      'io.stdout:write(rpm.vercmp(a, b), "\\n")',
      'end',
    ].join(' ');
    const text = execFileSync('rpm', ['--eval', `%{lua: ${lua}}`], {
      encoding: 'utf8',
      stdio: 'pipe',
    });
    return text.trim().split(/\s+/).map(Number);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("beside this machine's rpm", () => {
  const there = (() => {
    try {
      // As versions alone, without epochs, the first pair would be the other way round.
      return (
        askRpm([
          ['1:1-1', '2-1'],
          ['1-1', '1-2'],
        ]).join() === '1,-1'
      );
    } catch {
      return false;
    }
  })();
  skipUnless(there, 'no rpm here whose lua compares EVRs (rpm 4.16 or later)');

  // 4.11 has no "^", a newer rpm orders it; "-" cannot be in a version, a newer rpm splits there.
  const piece = fc.constantFrom(
    ...['0', '1', '2', '9', '10', '01', '007', '20180101', '4294967296', '99999999999999999999'],
    ...['a', 'A', 'b', 'Z', 'z', 'el7', 'el7_5', 'rc', 'git0a1b2c3', '.', '..', '_', '+', '~', '~~', '._+'],
  );
  const part = fc.array(piece, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
  const epoch = fc.constantFrom('', '', '', '0:', '1:', '2:', '10:', '32:');
  const anyEvr = fc.tuple(epoch, part, part).map(([e, v, r]) => `${e}${v}-${r}`);
  const realEvr = fc.constantFrom(...REAL);

  /** One small edit of an EVR, at a place that `at` picks among those where it can be made. */
  const edits: readonly ((text: string, at: number) => string)[] = [
    ...['~', '~rc1', '0', '00', '.', '_', '+', 'a', '1', 'Z'].map(
      (put) => (text: string, at: number) => spliced(text, at, 0, put),
    ),
    (text, at) => spliced(text, at, 1, ''),
    ...['0', '9', 'a', 'B', '.', '_', '~', '+'].map(
      (put) => (text: string, at: number) => spliced(text, at, 1, put),
    ),
    (text) => text.replace(/\d+(?=\D*$)/, (digits) => String(BigInt(digits) + 1n)),
    (text) => text.replace(/([.:-])(\d)/, '$10$2'),
    (text) => text.replace(/([.:-])0+(\d)/, '$1$2'),
    (text) => text.replace(/[a-z](?=[^a-z]*$)/, (letter) => letter.toUpperCase()),
    (text) => text.replace(/\./, '_'),
    (text) => text.replace(/(\d)([a-z])/i, '$1.$2'),
    (text) => text.replace('-', '.0-'),
    (text) => text.replace('-', '~-'),
    (text) => `${text}.1`,
    (text) => `${text}~`,
    (text) => (text.includes(':') ? text.replace(/^\d+:/, '') : `0:${text}`),
    (text) => (text.includes(':') ? text.replace(/^\d+/, '1') : `1:${text}`),
  ];
  const spliced = (text: string, at: number, cut: number, put: string): string => {
    const from = text.indexOf(':') + 1;
    const place = from + (at % (text.length - from));
    return text[place] === '-' ? text : text.slice(0, place) + put + text.slice(place + cut);
  };
  const edit = fc.tuple(fc.constantFrom(...edits), fc.nat(100));
  const nearMiss = fc
    .tuple(fc.oneof(realEvr, anyEvr), fc.array(edit, { minLength: 1, maxLength: 2 }))
    .map(([text, made]): Pair => [text, made.reduce((now, [change, at]) => change(now, at), text)])
    .filter(([a, b]) => a !== b && /^(?:\d+:)?[^-:]+-[^-:]+$/.test(b));

  /** The pairs that rpm orders otherwise, and how many of each answer rpm gave. */
  function compared(pairs: readonly Pair[]): { wrong: unknown[]; answers: Map<number, number> } {
    const rpm = askRpm(pairs);
    expect(rpm).toHaveLength(pairs.length);
    const answers = new Map<number, number>();
    const wrong: unknown[] = [];
    for (const [index, [a, b]] of pairs.entries()) {
      const wanted = rpm[index] ?? NaN;
      answers.set(wanted, (answers.get(wanted) ?? 0) + 1);
      const ours = Math.sign(compareEvr(evrOf(a), evrOf(b)));
      const back = Math.sign(compareEvr(evrOf(b), evrOf(a)));
      if (ours !== wanted || ours + back !== 0) wrong.push({ a, b, rpm: wanted, ours, back });
    }
    return { wrong, answers };
  }

  it('orders every two EVRs of real packages as rpm does', () => {
    const pairs = REAL.flatMap((a) => REAL.map((b): Pair => [a, b]));
    expect(pairs.length).toBeGreaterThan(2000);
    expect(compared(pairs).wrong).toEqual([]);
  });

  it.each([
    ['near misses', 8000, nearMiss],
    ['pairs of any two', 6000, fc.tuple(fc.oneof(realEvr, anyEvr), anyEvr)],
  ] as const)('agrees with rpm on random %s: %i of them', (what, count, pair) => {
    const seed = seedFor(`EVRs, ${what}`);
    const { wrong, answers } = compared(fc.sample<Pair>(pair, { numRuns: count, seed }));
    expect(wrong, `seed ${String(seed)}`).toEqual([]);
    // Each answer is there often enough to say something.
    for (const answer of what === 'near misses' ? [-1, 0, 1] : [-1, 1])
      expect(answers.get(answer) ?? 0, `rpm's answer ${String(answer)}`).toBeGreaterThan(count / 12);
  });
});

describe('names of exact packages', () => {
  it('show the epoch only when there is one, and never in a file name', () => {
    const make = { name: 'make', epoch: 1, version: '3.82', release: '23.el7', arch: 'x86_64' };
    expect(formatNevra(make)).toBe('make-1:3.82-23.el7.x86_64');
    expect(formatNevra({ ...make, epoch: 0 })).toBe('make-3.82-23.el7.x86_64');
    expect(rpmFileName(make)).toBe('make-3.82-23.el7.x86_64.rpm');
  });
});
