// `npm test`: from a fresh clone to every check and every test. Arguments go to vitest. AIRBUNDLE_TEST_MINUTES, counted
// from here: when they are over no further test begins, and the output names those that did not.
import { root, show } from './run.mjs';

const minutes = process.env.AIRBUNDLE_TEST_MINUTES;
if (minutes !== undefined) {
  if (!/^[1-9]\d{0,3}$/.test(minutes)) {
    console.error(
      `npm test: AIRBUNDLE_TEST_MINUTES is "${minutes}"; give whole minutes, such as 45, or unset it`,
    );
    process.exit(2);
  }
  process.env.AIRBUNDLE_TEST_UNTIL = String(Date.now() + Number(minutes) * 60_000);
}

const must = async (what, command, args) => {
  const code = await show(command, args);
  if (code === 0) return;
  console.error(`npm test: ${what} failed (exit ${code}). Without root and Docker: npm run test:unit`);
  process.exit(1);
};

await must('npm ci', process.execPath, ['scripts/modules.mjs']);
await must('preparing the lab', 'sh', ['test/lab/prepare.sh']);
await must('the build', process.execPath, ['scripts/build.mjs']);

// A failed check does not keep the tests from running; the tests come last because their count is the last line.
const checks = await show(process.execPath, ['scripts/check.mjs']);
const tests = await show(`${root}node_modules/.bin/vitest`, [
  'run',
  '--allowOnly=false',
  ...process.argv.slice(2),
]);
process.exitCode = checks === 0 ? tests : 1;
