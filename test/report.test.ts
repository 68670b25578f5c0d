import { describe, expect, it } from 'vitest';
import { describeError, stepError } from '../src/errors.js';
import { createReporter, formatBytes, inStep, printable } from '../src/report.js';

function recorder(format: 'text' | 'json', given: { isTTY?: boolean; quiet?: boolean } = {}) {
  const written: string[] = [];
  let nowMs = 0;
  const reporter = createReporter({
    format,
    quiet: given.quiet ?? false,
    color: false,
    now: () => nowMs,
    stream: { write: (text) => written.push(text), isTTY: given.isTTY ?? false, columns: 60 },
  });
  return { reporter, written, after: (ms: number) => (nowMs += ms) };
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
