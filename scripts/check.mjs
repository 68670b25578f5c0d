// Every static check, two side by side; all of them run even if one fails.
//   node scripts/check.mjs                 all
//   node scripts/check.mjs eslint knip     some
import { existsSync } from 'node:fs';
import { capture, root, seconds } from './run.mjs';

const SIDE_BY_SIDE = 2;

const bin = (name) => `${root}node_modules/.bin/${name}`;

/** Slowest first, so that the last ones to end are short. */
const steps = {
  eslint: () => capture(bin('eslint'), ['--max-warnings=0', '.']),
  typecheck: () => capture(bin('tsc'), ['-p', 'tsconfig.json']),
  'typecheck for Node 16': () => capture(bin('tsc'), ['-p', 'tsconfig.installer.json']),
  prettier: () => capture(bin('prettier'), ['--check', '--log-level=warn', '.']),
  'dependency-cruiser': () => capture(bin('depcruise'), ['--config', '.dependency-cruiser.cjs', 'src']),
  knip: () => capture(bin('knip'), ['--no-progress']),
  // Without the tests: a file or a dependency that only a test uses does not belong to the product.
  'knip of what ships': () =>
    capture(bin('knip'), ['--no-progress', '--production', '--include=files,dependencies']),
  shellcheck,
};

async function shellcheck() {
  const listed = await capture('git', [
    'ls-files',
    '-co',
    '--exclude-standard',
    '-z',
    '--',
    '*.sh',
    '*.bash',
    '.ci/run',
  ]);
  if (listed.code !== 0) return listed;
  // A deleted file is still listed until the deletion is committed.
  const files = listed.output.split('\0').filter((file) => file !== '' && existsSync(`${root}${file}`));
  if (files.length === 0) return { code: 1, output: 'git lists no shell script: is this a clone?\n' };
  const checked = await capture('shellcheck', ['--external-sources', ...files]);
  if (checked.code !== 127) return checked;
  return {
    code: 127,
    output: 'shellcheck is missing: apt-get install shellcheck | brew install shellcheck\n',
  };
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in steps));
if (unknown.length > 0) {
  console.error(`no check is called ${unknown.join(', ')}; there are: ${Object.keys(steps).join(', ')}`);
  process.exit(2);
}

const waiting = Object.keys(steps).filter((name) => wanted.length === 0 || wanted.includes(name));
const failed = [];
const startedMs = performance.now();

async function work() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const stepStartedMs = performance.now();
    console.log(`… ${name}`);
    const { code, output } = await steps[name]();
    if (code !== 0) failed.push(name);
    console.log(`${code === 0 ? '✓' : '✗'} ${name} (${seconds(stepStartedMs)})`);
    if (code !== 0 && output.trim() !== '') console.log(output.trimEnd().replace(/^/gm, '    '));
  }
}

await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work));
console.log(
  failed.length === 0
    ? `all checks passed (${seconds(startedMs)})`
    : `failed: ${failed.join(', ')} (${seconds(startedMs)})`,
);
process.exitCode = failed.length === 0 ? 0 : 1;
