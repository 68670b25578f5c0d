import { describe, expect, it } from 'vitest';
import { describeError, stepError } from '../src/errors.js';
import { createReporter, formatBytes, inStep, printable } from '../src/report.js';

function recorder(format: 'text' | 'json', given: { isTTY?: boolean; quiet?: boolean } = {}) {
  const written: string[] = [];
  let nowMs = 0;
  const timers = new Set<{ readonly intervalMs: number; dueMs: number; readonly work: () => void }>();
  const reporter = createReporter({
    format,
    quiet: given.quiet ?? false,
    color: false,
    now: () => nowMs,
    every(intervalMs, work) {
      const timer = { intervalMs, dueMs: nowMs + intervalMs, work };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    stream: { write: (text) => written.push(text), isTTY: given.isTTY ?? false, columns: 60 },
  });
  const after = (ms: number): void => {
    const endMs = nowMs + ms;
    for (;;) {
      const [next] = [...timers].sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      nowMs = next.dueMs;
      next.dueMs += next.intervalMs;
      next.work();
    }
    nowMs = endMs;
  };
  return { reporter, written, after, timers };
}

describe('progress', () => {
  it('without a terminal is plain lines, and a sign of life every ten seconds', async () => {
    const { reporter, written, after } = recorder('text');
    const step = reporter.step('build', 'build haproxy');
    step.note('CC a.o');
    after(11_000);
    step.note('CC b.o');
    step.done('42 files');
    expect(written).toEqual([
      '  … build haproxy\n',
      '  … build haproxy  11.0 s, CC b.o\n',
      '  ✓ build haproxy: 42 files  (11.0 s)\n',
    ]);
  });

  it('without a terminal names a silent step after 30 s, then less and less often, until it speaks', () => {
    const { reporter, written, after } = recorder('text');
    const step = reporter.step('source:haproxy', 'source of haproxy v2.3.21');
    after(29_000);
    expect(written.splice(0)).toEqual(['  … source of haproxy v2.3.21\n']);
    after(691_000);
    expect(written.splice(0)).toEqual([
      '  … still: source of haproxy v2.3.21, 30.0 s\n',
      '  … still: source of haproxy v2.3.21, 1 min 30 s\n',
      '  … still: source of haproxy v2.3.21, 3 min 30 s\n',
      '  … still: source of haproxy v2.3.21, 7 min 30 s\n',
    ]);
    step.progress({ done: 3, total: 86, unit: 'items' });
    after(30_000);
    expect(written.splice(0)).toEqual([
      '  … source of haproxy v2.3.21  3 of 86, 12 min 0 s\n',
      '  … still: source of haproxy v2.3.21, 3 of 86, 12 min 30 s\n',
    ]);
    step.done();
    after(600_000);
    expect(written).toEqual(['  ✓ source of haproxy v2.3.21  (12 min 30 s)\n']);
  });

  it('as NDJSON tells of a silent step too, and of each that is silent', () => {
    const { reporter, written, after } = recorder('json');
    reporter.step('a', 'one').note('waiting');
    reporter.step('b', 'two');
    after(30_000);
    const events = written.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.slice(2)).toMatchObject([
      { kind: 'still', id: 'a', title: 'one', note: 'waiting', elapsedMs: 30_000 },
      { kind: 'still', id: 'b', title: 'two', note: '', elapsedMs: 30_000 },
    ]);
  });

  it.each([
    ['on a terminal', { isTTY: true }],
    ['when quiet', { quiet: true }],
  ])('%s says nothing about silence, and no timer is left after the end', (_, given) => {
    const { reporter, written, after, timers } = recorder('text', given);
    reporter.step('a', 'one');
    after(120_000);
    expect(written.join('')).not.toContain('still');
    reporter.close();
    expect(timers.size).toBe(0);
  });

  it('on a terminal is one live line a step, never wider than the screen, gone at the end', () => {
    const { reporter, written } = recorder('text', { isTTY: true });
    const step = reporter.step('s', 'a step');
    step.note('x'.repeat(200));
    reporter.info('something else');
    for (const text of written.join('').split(/\n|\u001B\[1A\u001B\[J/)) expect(text.length).toBeLessThan(60);
    reporter.close();
    expect(written.at(-1)).toBe('\u001B[1A\u001B[J');
  });

  it('as NDJSON is one object a line', async () => {
    const { reporter, written } = recorder('json');
    await inStep(reporter, 'a', 'title', async () => 7, String);
    await inStep(reporter, 'b', 'title', () => Promise.reject(new Error('no\nmore'))).catch(() => undefined);
    reporter.warn('careful');
    const events = written.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events.map(({ kind, id, text }) => [kind, id, text])).toEqual([
      ['start', 'a', undefined],
      ['done', 'a', '7'],
      ['start', 'b', undefined],
      ['fail', 'b', 'no'],
      ['warn', undefined, 'careful'],
    ]);
  });

  it('when quiet says only warnings and failures', () => {
    const { reporter, written } = recorder('text', { quiet: true });
    reporter.step('a', 'one').done();
    reporter.info('x');
    reporter.warn('y');
    reporter.step('b', 'two').fail('z');
    expect(written).toEqual(['warning: y\n', '  ✗ two: z  (0.0 s)\n']);
  });

  it('gives bytes in the unit that fits', () => {
    expect([0, 1023, 1536, 5 * 1024 ** 3].map(formatBytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '5.0 GiB']);
  });
});

describe('text of other programs', () => {
  it.each([
    ['colours', '\u001B[31mred\u001B[0m', 'red'],
    ['a window title', '\u001B]0;owned\u0007text', 'text'],
    ['clearing the screen', '\u001B[2J\u001B[Htext', 'text'],
    ['a C1 introducer', '\u009B31mtext', '\uFFFD31mtext'],
    ['a bell and a backspace', 'a\u0007\b', 'a\uFFFD\uFFFD'],
    ['a carriage return', 'good\rbad', 'good\uFFFDbad'],
    ['text that runs backwards', 'a\u202Eb', 'a\uFFFDb'],
    ['Korean', '설치 완료', '설치 완료'],
    ['a tab', 'a\tb', 'a b'],
  ])('loses %s', (_, text, shown) => {
    expect(printable(text)).toBe(shown);
    for (const format of ['note', 'done', 'fail', 'warn', 'info'] as const) {
      const { reporter, written, after } = recorder('text');
      if (format === 'warn' || format === 'info') reporter[format](text);
      else {
        const step = reporter.step('a', 'a');
        after(11_000);
        step[format](text);
      }
      expect(written.join('')).not.toMatch(/[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202E]/);
    }
  });
});

describe('an error for a person', () => {
  it('says what, where, the evidence and what next', () => {
    const error = stepError({
      code: 'X',
      message: 'it broke',
      where: 'step build',
      details: ['a', 'b'],
      hint: 'one\ntwo',
    });
    expect(describeError(error)).toEqual([
      'error[X]: it broke',
      '  at: step build',
      '  | a',
      '  | b',
      '  next: one\n        two',
    ]);
    expect(describeError(new TypeError('x'))[0]).toBe('error[INTERNAL]: this is a bug in airbundle');
  });
});
