/** AIRBUNDLE_TEST_UNTIL, ms since 1970: scripts/test.mjs makes it of AIRBUNDLE_TEST_MINUTES. */
export function isTestTimeOver(): boolean {
  const until = process.env['AIRBUNDLE_TEST_UNTIL'];
  return until !== undefined && Date.now() >= Number(until);
}
