/* Runs on a node: puts in one RPM (argument), and prints the error that comes of it. */
import { BundleError } from '../../src/errors.js';
import { localHost } from '../../src/host/local.js';
import { installPackages } from '../../src/install/rpm.js';
import { target } from '../../src/model/layout.js';

const [file = ''] = process.argv.slice(2);

async function main(): Promise<void> {
  const host = localHost();
  await host.ensureDirectory(target.log);
  const ended = await installPackages(host, [file], {
    upgrade: false,
    onProgress: () => undefined,
    onWait: () => undefined,
    stop: () => false,
    limits: { quietMs: 3000 },
  }).catch((error: unknown) => error);
  const told =
    ended instanceof BundleError ? { code: ended.code, hint: ended.hint } : { other: String(ended) };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

void main();
