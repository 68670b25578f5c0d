import { describe, expect, it } from 'vitest';
import type { Contender, Cost } from './harness.js';
import { figureOf, plainFigure, race, spread } from './harness.js';
import { commands, markdown, table } from './table.js';

const contender = (name: string, costs: readonly Cost[], log: string[] = []): Contender => {
  const left = [...costs];
  return {
    name,
    command: `${name} --now`,
    round: async () => {
      log.push(name);
      return left.shift() ?? { ms: Number.NaN };
    },
    after: async () => {
      log.push(`after ${name}`);
    },
  };
};
const ms = (...numbers: readonly number[]): Cost[] => numbers.map((number) => ({ ms: number }));

describe('a race', () => {
  it('lets the contenders take turns, and puts things as they were after each', async () => {
    const log: string[] = [];
    await race({
      ours: [contender('a', ms(1, 1), log)],
      rivals: [contender('b', ms(1, 1), log)],
      rounds: 2,
    });
    const round = ['a', 'after a', 'b', 'after b'];
    expect(log).toEqual([...round, ...round]);
  });

  it('divides rounds that stood beside each other, not the medians of all', async () => {
    // The machine was ten times as slow in the second round: both were.
    const [figure] = await race({
      ours: [contender('ours', ms(100, 1000, 130))],
      rivals: [{ ...contender('theirs', ms(100, 1000, 100)), goal: 1 }],
      rounds: 3,
    });
    expect(figure).toMatchObject({
      name: 'ours ÷ theirs',
      ratio: 1,
      goal: 1,
      met: true,
      ours: 0.13,
      theirs: 0.1,
    });
    expect(figure?.more).toMatchObject({ ratioMin: 1, ratioMax: 1.3, rounds: 3 });
  });

  it('holds the goal against the first of ours alone', async () => {
    const figures = await race({
      ours: [contender('one', ms(3)), contender('two', ms(3))],
      rivals: [{ ...contender('rival', ms(1)), goal: 2 }],
      rounds: 1,
    });
    expect(figures.map(({ met }) => met)).toEqual([false, null]);
  });
});

describe('figures', () => {
  it('have the median of an odd and of an even number', () => {
    expect(spread([5, 1, 3])).toEqual({ median: 3, min: 1, max: 5 });
    expect(spread([4, 1, 2, 3]).median).toBe(2.5);
    expect(() => spread([])).toThrow(RangeError);
  });

  it('compare processor time and memory where both sides count it', () => {
    const cost = { ms: 10, cpuMs: 8, peakMiB: 50 };
    const theirs = { ms: 20, cpuMs: 16 };
    const { more } = figureOf(contender('a', []), contender('b', []), [cost], [theirs]);
    expect(more?.cpuRatio).toBe(0.5);
    expect([more?.oursCost.peakMiB?.median, more?.theirsCost.peakMiB]).toEqual([50, null]);
  });

  it('are a line of the table each, with what was not run and why', () => {
    const ratio = figureOf(contender('a', []), { ...contender('b', []), goal: 0.5 }, ms(1500), ms(2000));
    const all = [ratio, plainFigure('memory', 100, 'MiB', 120), { name: 'c', skipped: 'no docker' }];
    const lines = table(all).split('\n');
    expect(lines[1]).toMatch(/^a ÷ b +0\.75 +0\.75 – 0\.75 +≤ 0\.50 +missed +1\.5 s +2\.0 s$/);
    expect(lines[2]).toMatch(/^memory +≤ 120 MiB +met +100 MiB$/);
    expect(lines[3]).toMatch(/^c +not run: no docker$/);
    expect(markdown(all).split('\n')[2]).toBe(
      '| a ÷ b | 0.75 | 0.75 – 0.75 |  | ≤ 0.50 missed | 1.5 s | 2.0 s |  |',
    );
    expect(commands(all)).toEqual(['a: a --now', 'b: b --now']);
    // Of a program that failed, its error; and a pipe does not end a cell.
    const failed = {
      name: 'tar | tee',
      skipped: 'it failed: exit code 6\n  ✓ one step\nerror[SYSTEM]: no\n  at: x',
    };
    expect(markdown([failed]).split('\n')[2]).toBe(
      '| tar \\| tee | not run: error[SYSTEM]: no |  |  |  |  |  |  |',
    );
  });
});
