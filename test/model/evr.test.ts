import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { skipUnless } from '../support/skip.js';
import { compareEvr, compareVersion } from '../../src/model/evr.js';
import { formatNevra, rpmFileName } from '../../src/model/nevra.js';

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

/** rpm's own comparison, many pairs a call. */
function askRpm(pairs: readonly (readonly [string, string])[]): number[] {
  const lines = pairs.map(([a, b]) => `print(rpm.vercmp("${a}","${b}"),"")`).join(' ');
  const text = execFileSync('rpm', ['--eval', `%{lua: ${lines}}`], { encoding: 'utf8' });
  return text.trim().split(/\s+/).map(Number);
}

describe("beside this machine's rpm", () => {
  const there = (() => {
    try {
      return askRpm([['1', '2']])[0] === -1;
    } catch {
      return false;
    }
  })();
  skipUnless(there, 'no rpm with lua here');

  it('agrees on thousands of random versions', () => {
    // 4.11 has no "^", a newer rpm orders it; "-" cannot be in a version, a newer rpm splits there.
    const piece = fc.constantFrom('0', '1', '10', '01', '9', 'a', 'A', 'b', 'el7', 'rc', '.', '_', '+', '~');
    const version = fc.array(piece, { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
    const pairs = fc.sample(fc.tuple(version, version), { numRuns: 3000, seed: 7 });
    const wrong: unknown[] = [];
    for (let at = 0; at < pairs.length; at += 300) {
      const some = pairs.slice(at, at + 300);
      const answers = askRpm(some);
      for (const [index, [a, b]] of some.entries())
        if (Math.sign(compareVersion(a, b)) !== answers[index]) wrong.push([a, b, answers[index]]);
    }
    expect(wrong).toEqual([]);
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
