/*
 * `bundle create` in a process of its own, for tests that need another umask, locale, limit or a kill.
 * The only stand-in is the RPM collector: it gives two fixed files, since the real one needs a container
 * engine. Prints the result, or the error, as JSON.
 */
import { createBundle } from '../../src/create/create.js';
import type { RpmCollector } from '../../src/create/create.js';
import { BundleError } from '../../src/errors.js';
import { createReporter } from '../../src/report.js';
import { chunks } from './create-stream.js';

export const twoRpms: RpmCollector = async ({ store }) => {
  const rpms = [];
  for (const name of ['openssl-devel', 'zlib-devel']) {
    const kept = await store.put(chunks(`the RPM ${name}`.repeat(100_000)));
    rpms.push({
      ...kept,
      nevra: {
        name,
        epoch: name === 'openssl-devel' ? 1 : 0,
        version: '1.0',
        release: '1.el7',
        arch: 'x86_64',
      },
      signer: '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5',
      licence: 'MIT',
      summary: 'a library',
      sourceRpm: `${name}-1.0-1.el7.src.rpm`,
      repository: 'os',
      path: `Packages/${name}-1.0-1.el7.x86_64.rpm`,
    });
  }
  return { rpms, collector: { image: 'collector', contextSha256: null }, imageId: 'sha256:stand-in' };
};

interface Given {
  readonly manifestPath: string;
  readonly out: string;
  readonly keyPath: string;
  readonly cacheDir: string;
  readonly installerPath: string;
  readonly deployPath: string;
  readonly installShPath: string;
  readonly force?: boolean;
}

const given = process.argv[2];
if (given !== undefined && process.argv[1]?.endsWith('create-child.ts') === true) {
  // execa's signal-exit takes away Node's own ignoring of SIGXFSZ: a write past the limit is to fail, not to kill.
  process.on('SIGXFSZ', () => undefined);
  const env = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const reporter = createReporter({
    format: 'text',
    quiet: true,
    color: false,
    stream: process.stderr,
    now: () => 0,
  });
  try {
    const result = await createBundle({ ...(JSON.parse(given) as Given), env, reporter }, twoRpms);
    process.stdout.write(JSON.stringify(result));
  } catch (error) {
    process.stdout.write(JSON.stringify(error instanceof BundleError ? error : { bug: String(error) }));
    process.exitCode = 9;
  }
}
