import type { SerializedError } from 'vitest';
import { DefaultReporter } from 'vitest/node';
import type { TestModule, TestRunEndReason } from 'vitest/node';
import { isTestTimeOver } from './test-time.js';

/** What one run came to. */
export interface Tally {
  passed: number;
  /** Tests, and suites or files that failed outside of a test (a hook, an import): each is one. */
  failed: Named[];
  skipped: Named[];
  /** Files that had not begun when the time for all tests was over, with the number of their tests. */
  late: { file: string; tests: number }[];
}

interface Named {
  name: string;
  reason: string;
}

/**
 * Vitest's own output, then every skipped test with its reason, then what failed, once more: who is shown only the end
 * of a long output sees it. Last `N passed, N failed, N skipped`.
 */
export default class TallyReporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, unhandledErrors, reason);
    for (const line of tallyLines(tally(modules, unhandledErrors))) console.log(line);
  }
}

export function tally(modules: readonly TestModule[], unhandled: readonly SerializedError[]): Tally {
  const result: Tally = { passed: 0, failed: [], skipped: [], late: [] };
  const fail = (name: string, errors: readonly { message: string }[]): void => {
    result.failed.push({ name, reason: errors.map(({ message }) => message).join('; ') });
  };
  for (const module of modules) {
    const file = module.relativeModuleId;
    if (module.errors().length > 0) fail(file, module.errors());
    for (const suite of module.children.allSuites()) {
      if (suite.errors().length > 0) fail(`${file} > ${suite.fullName}`, suite.errors());
    }

    let late = 0;
    for (const test of module.children.allTests()) {
      const outcome = test.result();
      const name = `${file} > ${test.fullName}`;
      if (outcome.state === 'passed') result.passed += 1;
      else if (outcome.state === 'failed') fail(name, outcome.errors);
      else if (outcome.state === 'pending' && isTestTimeOver()) late += 1;
      else {
        const reason = outcome.state === 'pending' ? 'the run ended before it' : outcome.note;
        const unsaid = test.options.mode === 'todo' ? 'still to be written' : 'no reason given';
        result.skipped.push({ name, reason: reason ?? unsaid });
      }
    }
    if (late > 0) result.late.push({ file, tests: late });
  }
  for (const error of unhandled) fail('outside of every test', [error]);
  return result;
}

export function tallyLines({ passed, failed, skipped, late }: Tally): string[] {
  const skippedCount = late.reduce((sum, { tests }) => sum + tests, skipped.length);
  return [
    ...skipped.map(({ name, reason }) => `skipped: ${name}: ${reason}`),
    ...late.map(
      ({ file, tests }) =>
        `skipped: ${file}, ${tests} of its tests: the time for all tests was over (AIRBUNDLE_TEST_MINUTES); npm test -- ${file} runs them`,
    ),
    ...failed.map(({ name, reason }) => `failed: ${name}: ${firstLine(reason)}`),
    `${passed} passed, ${failed.length} failed, ${skippedCount} skipped`,
  ];
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}
