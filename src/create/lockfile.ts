import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { invalidError, usageError } from '../errors.js';
import type { Lock } from '../model/lock.js';
import { formatLock, parseLock, requestOf } from '../model/lock.js';
import type { Manifest } from '../model/manifest.js';
import { runtimeOrigin } from './runtime.js';
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
  const temporary = path.join(
    path.dirname(file),
    `.${path.basename(file)}.${randomBytes(6).toString('hex')}`,
  );
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

/**
 * A lock answers one manifest: the same packages, sources and runtime.
 * @throws BundleError exit 3 naming every difference
 */
export function requireLockFits(manifest: Manifest, lock: Lock, file: string, manifestPath: string): void {
  const requested = requestOf(manifest);
  const runtime = runtimeOrigin(manifest.runtime);
  const differences = [
    ...differs('target', lock.requested.target, requested.target),
    ...differs('repositories', lock.requested.repositories.join(' '), requested.repositories.join(' ')),
    ...differs('packages', lock.requested.packages.join(' '), requested.packages.join(' ')),
    ...differs(
      'components',
      lock.sources.map((source) => source.component).join(' '),
      manifest.components.map((component) => component.name).join(' '),
    ),
    ...manifest.components.flatMap((component) => {
      const locked = lock.sources.find((source) => source.component === component.name);
      if (locked === undefined) return [];
      const { git, ref, commit } = component.source;
      return [
        ...differs(`${component.name}: source: git`, locked.url, git),
        ...differs(`${component.name}: source: ref`, locked.ref, ref),
        ...(commit === undefined ? [] : differs(`${component.name}: source: commit`, locked.commit, commit)),
      ];
    }),
    ...differs('runtime', lock.runtime.origin, runtime.origin),
    ...differs('runtime: version', lock.runtime.version, runtime.version),
  ];
  if (differences.length === 0) return;
  throw invalidError({
    code: 'LOCK_OUT_OF_DATE',
    message: 'the lock does not belong to this manifest any more',
    where: file,
    details: differences,
    hint: `If the manifest is what you want: bundle lock ${manifestPath}`,
  });
}

function differs(what: string, locked: string, wanted: string): string[] {
  return locked === wanted ? [] : [`${what}: locked "${locked}", the manifest says "${wanted}"`];
}
