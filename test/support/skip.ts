import { beforeEach } from 'vitest';

/**
 * Skips every test of the surrounding `describe` (or file) unless `condition` holds. The reason is printed by
 * the reporter: a skip that nobody can explain is a test that nobody runs. `beforeAll` hooks still run.
 */
export function skipUnless(condition: boolean, reason: string): void {
  if (condition) return;
  beforeEach((context) => {
    context.skip(reason);
  });
}
