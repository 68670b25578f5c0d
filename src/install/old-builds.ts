import { join } from 'node:path';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { removeBuildRoot } from './build-root.js';
import { endProcessesOf, removeBuildFolder } from './build.js';
import { BUILD_UIDS } from './build-uids.js';

/**
 * Ends the builds that killed runs left and removes their folders and their root. The caller holds the lock, so
 * no run is building.
 * @throws BundleError exit 6 when a process does not end, or something is mounted in the root
 */
export async function dropOldBuilds(host: Host): Promise<void> {
  for (const name of await host.list(target.build)) {
    const folder = join(target.build, name);
    if (folder === target.isolated) continue;
    for (const uid of await buildersOf(host, folder)) await endProcessesOf(host, uid);
    await removeBuildFolder(host, folder);
  }
  await removeBuildRoot(host);
}

/** Whose folders are in there; only ids that no account has. */
async function buildersOf(host: Host, folder: string): Promise<Set<number>> {
  const facts = await Promise.all((await host.list(folder)).map((name) => host.lstat(join(folder, name))));
  const uids = facts.flatMap((one) => (one === undefined ? [] : [one.uid]));
  return new Set(uids.filter((uid) => uid >= BUILD_UIDS.first && uid <= BUILD_UIDS.last));
}
