import { expect, it } from 'vitest';
import { createReporter } from '../src/report.js';

it('shows what a build says without anything that steers a terminal', () => {
  const lines: string[] = [];
  let nowMs = 0;
  const reporter = createReporter({
    format: 'json',
    quiet: false,
    color: false,
    now: () => nowMs,
    stream: { write: (text) => lines.push(text) },
  });
  const step = reporter.step('build', 'build redis');
  nowMs = 60_000;
  step.note('\u001b[34mCC\u001b[0m \u001b[33mzmalloc.o\u001b[0m\u0007\u001b]0;title');
  reporter.close();
  expect(lines.join('')).toContain('"note":"CC zmalloc.o  ]0;title"');
});
