import { open, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { usageError } from '../errors.js';
import type { Lock } from '../model/lock.js';
import { formatLock, parseLock } from '../model/lock.js';
import { ownedName, removeAbandoned } from './owner.js';
import { ifThere, reasonOf } from './read-bounded.js';
import { unwritable } from './store.js';

/** `tts-ha.yaml` → `tts-ha.lock.json`, beside it. */
export function lockPathOf(manifestPath: string): string {
  return `${manifestPath.replace(/\.ya?ml$/, '')}.lock.json`;
}

/** The command that takes what the origins have now: everything, or one component. */
export function updateCommand(manifestPath = 'MANIFEST', component?: string): string {
  return ['bundle lock', manifestPath, '--update', ...(component === undefined ? [] : [component])].join(' ');
}

/**
 * @param manifestPath whose lock it is, for what to do next
 * @throws BundleError exit 3 when it is there and is no lock
 */
export async function readLock(file: string, manifestPath?: string): Promise<Lock | undefined> {
  const text = await ifThere(readFile(file, 'utf8')).catch((cause: unknown) => {
    throw usageError({
      code: 'LOCK_UNREADABLE',
      message: `the lock cannot be read: ${reasonOf(cause)}`,
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  });
  return text === undefined ? undefined : parseLock(text, file, manifestPath);
}

/** Whole or not at all: a temporary file beside it, then a rename. */
export async function writeLock(file: string, lock: Lock): Promise<void> {
  const folder = path.dirname(file);
  const prefix = `.${path.basename(file)}`;
  await removeAbandoned(folder, `${prefix}.`);
  const temporary = path.join(folder, ownedName(prefix));
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, 'wx', 0o644);
    await handle.writeFile(formatLock(lock));
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, file);
  } catch (cause) {
    throw unwritable(file, cause);
  } finally {
    await handle?.close();
    await rm(temporary, { force: true });
  }
}
