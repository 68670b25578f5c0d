import { randomInt } from 'node:crypto';

/**
 * A seed for what a test draws at random: another one each run, so that runs add up, and the one that is
 * given when a run has to be repeated. It is printed: a failure without its seed cannot be looked into.
 */
export function seedFor(what: string): number {
  const given = process.env['AIRBUNDLE_TEST_SEED'];
  const seed = given === undefined ? randomInt(2 ** 31) : Number(given);
  if (!Number.isSafeInteger(seed)) throw new Error(`AIRBUNDLE_TEST_SEED is not a number: ${String(given)}`);
  process.stdout.write(`${what}: to draw the same again: AIRBUNDLE_TEST_SEED=${String(seed)}\n`);
  return seed;
}
