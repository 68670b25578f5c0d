import { open, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { usageError } from '../errors.js';
import type { Lock } from '../model/lock.js';
import { formatLock, parseLock } from '../model/lock.js';
import { ownedName, removeAbandoned } from './owner.js';
import { unwritable } from './store.js';

/** `tts-ha.yaml` → `tts-ha.lock.json`, beside it. */
export function lockPathOf(manifestPath: string): string {
  return `${manifestPath.replace(/\.ya?ml$/, '')}.lock.json`;
}

/** @throws BundleError exit 3 when it is there and is no lock */
export async function readLock(file: string): Promise<Lock | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw usageError({
      code: 'LOCK_UNREADABLE',
      message: 'the lock cannot be read',
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  }
  return parseLock(text, file);
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
