import { join } from 'node:path';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** Runs whose displaced files are kept. */
const KEPT_BACKUPS = 5;

/**
 * Removes what killed runs left in the stage. The caller holds the lock, so no other run of this program
 * uses it; install.sh copies there before it has the lock, into first.PID.*, and is left alone while it lives.
 * @param directory the folder that is being installed: it may be install.sh's copy
 */
export async function dropOldStages(host: Host, directory: string): Promise<void> {
  for (const name of await host.list(target.stage)) {
    const path = join(target.stage, name);
    if (directory === path || directory.startsWith(`${path}/`)) continue;
    const pid = /^first\.(\d+)\./.exec(name)?.[1];
    if (pid !== undefined && (await host.lstat(`/proc/${pid}`)) !== undefined) continue;
    await host.remove(path);
  }
}

/** Keeps the last few runs' displaced files; call when nothing is open in the journal. Names sort by time. */
export async function dropOldBackups(host: Host): Promise<void> {
  const names = await host.list(target.backup);
  for (const name of names.slice(0, Math.max(0, names.length - KEPT_BACKUPS)))
    await host.remove(join(target.backup, name));
}
