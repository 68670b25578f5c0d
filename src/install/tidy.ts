import { join } from 'node:path';
import type { Host } from '../host/host.js';
import { isTemporary } from '../host/temporary.js';
import { target } from '../model/layout.js';
import type { Receipt } from './receipt.js';
import { committedRuns } from './undo-record.js';

/**
 * Removes what killed runs left in the program's own folders and no run needs. The caller holds the lock, so no
 * other run of this program uses them.
 * @param directory the folder that is being installed, if one is: it may be install.sh's copy
 */
export async function dropLeftovers(host: Host, directory: string | undefined): Promise<void> {
  await dropOldStages(host, directory);
  await dropHalfCopies(host, target.backup);
  for (const name of (await host.list(target.state)).filter(isTemporary))
    await host.remove(join(target.state, name));
}

/** install.sh copies there before it has the lock, into first.PID.*, and is left alone while it lives. */
async function dropOldStages(host: Host, directory: string | undefined): Promise<void> {
  for (const name of await host.list(target.stage)) {
    const path = join(target.stage, name);
    if (directory === path || directory?.startsWith(`${path}/`) === true) continue;
    const pid = /^first\.(\d+)\./.exec(name)?.[1];
    if (pid !== undefined && (await host.lstat(`/proc/${pid}`)) !== undefined) continue;
    await host.remove(path);
  }
}

/** Elsewhere the next run writes over what a killed one had begun to write; each run has a backup folder of its own. */
async function dropHalfCopies(host: Host, folder: string): Promise<void> {
  for (const name of await host.list(folder)) {
    const path = join(folder, name);
    if ((await host.lstat(path))?.kind === 'directory') await dropHalfCopies(host, path);
    else if (isTemporary(name)) await host.remove(path);
  }
}

/**
 * Removes the displaced files of runs that were undone; call when nothing is open in the journal. What a
 * committed run needs to be taken back stays, and what people had changed by hand.
 */
export async function dropOldBackups(host: Host, receipt: Receipt | undefined): Promise<void> {
  const { records, unknown } = await committedRuns(host, receipt);
  // Nobody can say what an unreadable past needs.
  if (unknown !== undefined && unknown.run !== null) return;
  const needed = new Set(
    records.flatMap(({ run, displaced }) => [
      run,
      ...displaced.flatMap(({ backup }) => (backup === null ? [] : [runOf(backup)])),
    ]),
  );
  for (const name of await host.list(target.backup)) {
    const folder = join(target.backup, name);
    if (needed.has(name) || (await host.lstat(join(folder, KEPT_LIST))) !== undefined) continue;
    await host.remove(folder);
  }
}

/** Names what people had changed by hand and a rollback kept here. */
export const KEPT_LIST = 'kept.json';

/** A killed run's backups are needed by the run that went on with it. */
function runOf(backup: string): string {
  return backup.slice(target.backup.length + 1).split('/')[0] ?? '';
}
