import type { RunnerTask, RunnerTestFile } from 'vitest';
import { TestRunner } from 'vitest';
import { isTestTimeOver } from './test-time.js';

/**
 * Vitest's own runner, which begins no further file once the time for all tests is over: its tests are skipped, its
 * hooks do not run. What has begun is brought to its end.
 */
export default class PunctualRunner extends TestRunner {
  onBeforeRunFiles(files: RunnerTestFile[]): void {
    if (isTestTimeOver()) for (const file of files) skip(file.tasks);
  }
}

function skip(tasks: readonly RunnerTask[]): void {
  for (const task of tasks) {
    if (task.mode === 'run') task.mode = 'skip';
    if (task.type === 'suite') skip(task.tasks);
  }
}
