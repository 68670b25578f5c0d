import { dirname, join } from 'node:path';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import type { Sha256 } from '../model/grammar.js';
import type { Step } from '../report.js';
import { readPayload } from '../review/payload.js';

/**
 * Copies a payload into a folder, member by member, while it is verified (review/payload.ts).
 *
 * @param expected SHA-256 of the whole tar, from the verified X.sha256
 * @param into an empty directory that only root can enter
 * @throws BundleError exit 4; the caller removes `into`
 */
export async function unpack(
  host: Host,
  payload: string,
  expected: Sha256,
  into: string,
  step?: Step,
): Promise<Contents> {
  const made = new Set<string>();
  const { contents } = await readPayload(host, payload, {
    expected,
    step,
    open: async ({ path, mode }) => {
      await makeParents(host, into, path, made);
      return host.create(join(into, path), { mode: mode === 0o755 ? 0o700 : 0o600 });
    },
  });
  return contents;
}

async function makeParents(host: Host, into: string, path: string, made: Set<string>): Promise<void> {
  const parent = dirname(path);
  if (parent === '.' || made.has(parent)) return;
  await makeParents(host, into, parent, made);
  await host.makeDirectory(join(into, parent), { mode: 0o700 });
  made.add(parent);
}
