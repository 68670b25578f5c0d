// Makes node_modules what package-lock.json says, and does nothing if it already is.
// Plain Node without a dependency: it runs before there are any.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Packages by their path under the root: { "node_modules/zod": { version, … } }. */
function packagesOf(file) {
  return JSON.parse(readFileSync(`${root}${file}`, 'utf8')).packages ?? {};
}

/** The first difference in words, or undefined. Optional packages may be missing (other platforms). */
function difference() {
  let installed;
  try {
    installed = packagesOf('node_modules/.package-lock.json');
  } catch {
    return 'node_modules is not there';
  }
  const locked = packagesOf('package-lock.json');
  for (const [path, wanted] of Object.entries(locked)) {
    if (path === '') continue;
    const found = installed[path];
    if (found === undefined && wanted.optional === true) continue;
    if (found?.integrity !== wanted.integrity || found?.version !== wanted.version) {
      return `${path} is ${found?.version ?? 'missing'}, package-lock.json has ${wanted.version}`;
    }
  }
  const extra = Object.keys(installed).find((path) => locked[path] === undefined);
  return extra === undefined ? undefined : `${extra} is not in package-lock.json`;
}

const why = difference();
if (why !== undefined) {
  process.stderr.write(`npm ci: ${why}\n`);
  // NODE_ENV=production or `omit=dev` in somebody's npmrc must not leave out what tests and build need.
  // Nothing of a package has to run to be installed; ours (`prepare`) is the build, which comes by itself.
  const { status } = spawnSync('npm', ['ci', '--include=dev', '--ignore-scripts'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    process.stderr.write(
      'npm ci failed, see above. It needs Node 20 and the registry of `npm config get registry`.\n',
    );
    process.exit(1);
  }
}
