import type { SerializedError } from 'vitest';
import { DefaultReporter } from 'vitest/node';
import type { TestModule, TestRunEndReason, TestSuite } from 'vitest/node';
import { isTestTimeOver } from './test-time.js';

/** What one run came to. */
export interface Tally {
  passed: number;
  /** Tests, and suites or files that failed outside of a test (a hook, an import): each counts as one. */
  failed: number;
  skipped: { name: string; reason: string }[];
}

/** Vitest's own output, then every skipped test with its reason, then `N passed, N failed, N skipped`. */
export default class TallyReporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    unhandledErrors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, unhandledErrors, reason);
    for (const line of tallyLines(tally(modules, unhandledErrors.length))) console.log(line);
  }
}

export function tally(modules: readonly TestModule[], unhandledErrorCount: number): Tally {
  const result: Tally = { passed: 0, failed: unhandledErrorCount, skipped: [] };
  for (const module of modules) {
    const failedOutsideTests = (suite: TestModule | TestSuite): boolean => suite.errors().length > 0;
    if (failedOutsideTests(module)) result.failed += 1;
    for (const suite of module.children.allSuites()) if (failedOutsideTests(suite)) result.failed += 1;

    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') result.passed += 1;
      else if (state === 'failed') result.failed += 1;
      else {
        const note = test.result();
        const reason = state === 'pending' ? notBegun() : 'note' in note ? note.note : undefined;
        result.skipped.push({
          name: `${module.relativeModuleId} > ${test.fullName}`,
          reason: reason ?? (test.options.mode === 'todo' ? 'still to be written' : 'no reason given'),
        });
      }
    }
  }
  return result;
}

function notBegun(): string {
  return isTestTimeOver()
    ? 'the time for all tests was over (AIRBUNDLE_TEST_MINUTES); npm test -- FILE runs it'
    : 'the run ended before it';
}

export function tallyLines({ passed, failed, skipped }: Tally): string[] {
  return [
    ...skipped.map(({ name, reason }) => `skipped: ${name}: ${reason}`),
    `${passed} passed, ${failed} failed, ${skipped.length} skipped`,
  ];
}
