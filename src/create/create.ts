import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { invalidError, usageError } from '../errors.js';
import { formatContents, MAX_CONTENTS_BYTES } from '../model/contents.js';
import type { Contents } from '../model/contents.js';
import { member } from '../model/layout.js';
import type { Lock } from '../model/lock.js';
import { requestOf } from '../model/lock.js';
import type { Manifest } from '../model/manifest.js';
import { parseManifest } from '../model/manifest.js';
import type { Reporter } from '../report.js';
import { formatBytes, inStep } from '../report.js';
import { contentsOf, membersOf } from './create-contents.js';
import type { InstallerFile } from './create-contents.js';
import { readConfigurations } from './create-templates.js';
import { allOrAbort } from './create-together.js';
import type { EngineName } from './engine.js';
import { loadSigningKey, readPassphrase } from './keys.js';
import { lockPathOf, readLock, requireLockFits, writeLock } from './lockfile.js';
import type { WrittenFolder } from './pack-folder.js';
import { readInstallSh, writeFolder } from './pack-folder.js';
import { collectRpms } from './rpms.js';
import { collectRuntime } from './runtime.js';
import { collectSources } from './sources.js';
import type { Store } from './store.js';
import { openStore } from './store.js';

export interface LockRequest {
  readonly manifestPath: string;
  /** Runs yum in this image instead of the manifest's. */
  readonly image?: string;
  readonly engine?: EngineName;
  readonly cacheDir: string;
  readonly reporter: Reporter;
  /** The whole environment of git, npm and the container engine. */
  readonly env: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface CreateRequest extends LockRequest {
  /** The folder X is made in this one. */
  readonly out: string;
  readonly keyPath: string;
  readonly passphraseFile?: string;
  /** The built installer.cjs. */
  readonly installerPath: string;
  readonly installShPath: string;
  /** Replaces a folder of the same name that differs. */
  readonly force?: boolean;
}

export interface LockResult {
  readonly lockPath: string;
  readonly lockWritten: boolean;
  readonly rpms: number;
  readonly sources: number;
  readonly timings: Timings;
}

export interface CreateResult extends LockResult {
  readonly folder: string;
  readonly stem: string;
  readonly state: WrittenFolder['state'];
  readonly payloadSha256: string;
  readonly payloadBytes: number;
  readonly keyId: string;
}

export type RpmCollector = typeof collectRpms;

/** Milliseconds per part; rpms, sources and runtime run side by side. */
export interface Timings {
  readonly rpms: number;
  readonly sources: number;
  readonly runtime: number;
  readonly pack?: number;
  /** Part of pack: until the disk confirmed. */
  readonly sync?: number;
  readonly total: number;
}

/**
 * A signed bundle folder from a manifest. With a lock beside the manifest exactly its set; without one,
 * what the origins have now, which is then locked.
 * @param rpmCollector only tests give another one: the real one needs a container engine
 * @throws BundleError
 */
export async function createBundle(
  request: CreateRequest,
  rpmCollector: RpmCollector = collectRpms,
): Promise<CreateResult> {
  const startedMs = performance.now();
  // What can be wrong on this machine is found before anything is fetched.
  const manifest = await readManifest(request.manifestPath);
  const configurations = await readConfigurations(manifest, request.manifestPath);
  const key = await loadSigningKey(request.keyPath, await passphraseOf(request));
  const installSh = await readInstallSh(request.installShPath);
  const lockPath = lockPathOf(request.manifestPath);
  const before = await readLock(lockPath);
  if (before !== undefined) requireLockFits(manifest, before, lockPath, request.manifestPath);
  const store = await openStore({ directory: request.cacheDir });
  const installer = await keepInstaller(request.installerPath, store);

  const { lock, collector, timings } = await collect(manifest, before, store, request, rpmCollector);
  if (before === undefined) await writeLock(lockPath, lock);

  const members = membersOf(lock, installer);
  const contents = contentsOf(manifest, lock, collector, members, configurations);
  const packStartedMs = performance.now();
  const written = await inStep(
    request.reporter,
    'pack',
    'pack and sign',
    (step) =>
      writeFolder({
        out: request.out,
        release: {
          name: manifest.name,
          version: manifest.version,
          sequence: manifest.sequence,
          target: lock.requested.target,
        },
        payload: {
          first: { path: member.contents, bytes: contentsBytes(contents) },
          members: members.map((entry) => ({ ...entry, file: store.path(entry.sha256) })),
          onProgress: (done, total) => {
            step.progress({ done, total, unit: 'bytes' });
          },
          ...(request.signal === undefined ? {} : { signal: request.signal }),
        },
        installSh,
        key,
        force: request.force ?? false,
      }),
    ({ payload, state }) => `${formatBytes(payload.sizeBytes)}${WORDS[state]}`,
  );
  const endedMs = performance.now();
  return {
    folder: written.folder,
    stem: written.stem,
    state: written.state,
    payloadSha256: written.payload.sha256,
    payloadBytes: written.payload.sizeBytes,
    keyId: written.keyId,
    lockPath,
    lockWritten: before === undefined,
    rpms: lock.rpms.length,
    sources: lock.sources.length,
    timings: {
      ...timings,
      pack: endedMs - packStartedMs,
      sync: written.payload.syncMs,
      total: endedMs - startedMs,
    },
  };
}

/** What the origins have now, written to the lock, whatever it said before. @throws BundleError */
export async function lockManifest(
  request: LockRequest,
  rpmCollector: RpmCollector = collectRpms,
): Promise<LockResult> {
  const startedMs = performance.now();
  const manifest = await readManifest(request.manifestPath);
  await readConfigurations(manifest, request.manifestPath);
  const lockPath = lockPathOf(request.manifestPath);
  const store = await openStore({ directory: request.cacheDir });
  const { lock, timings } = await collect(manifest, undefined, store, request, rpmCollector);
  await writeLock(lockPath, lock);
  return {
    lockPath,
    lockWritten: true,
    rpms: lock.rpms.length,
    sources: lock.sources.length,
    timings: { ...timings, total: performance.now() - startedMs },
  };
}

const WORDS: Record<WrittenFolder['state'], string> = {
  written: '',
  same: ', the folder was there with the same bytes',
  signed: ", the folder was there with the same bytes; this key's signature was added",
  replaced: ', another bundle of this name was replaced',
};

interface CollectedAll {
  readonly lock: Lock;
  readonly collector: Contents['collector'];
  readonly timings: Pick<Timings, 'rpms' | 'sources' | 'runtime'>;
}

/** RPMs, sources and runtime side by side; the first failure ends the others. */
async function collect(
  manifest: Manifest,
  lock: Lock | undefined,
  store: Store,
  request: LockRequest,
  rpmCollector: RpmCollector,
): Promise<CollectedAll> {
  const manifestFolder = path.dirname(path.resolve(request.manifestPath));
  const common = {
    manifest,
    lock,
    store,
    cacheDir: request.cacheDir,
    env: request.env,
    reporter: request.reporter,
  };
  const [rpms, sources, runtime] = await allOrAbort(request.signal, [
    (signal) =>
      timed(
        rpmCollector({
          ...common,
          manifestDir: manifestFolder,
          signal,
          ...(request.image === undefined ? {} : { image: request.image }),
          ...(request.engine === undefined ? {} : { engine: request.engine }),
        }),
      ),
    (signal) => timed(collectSources({ ...common, manifestFolder, signal })),
    (signal) => timed(collectRuntime({ ...common, runtime: manifest.runtime, signal })),
  ]);
  return {
    lock: {
      airbundleLock: 1,
      requested: requestOf(manifest),
      rpms: rpms.value.rpms,
      sources: sources.value,
      runtime: runtime.value,
    },
    collector: rpms.value.collector,
    timings: { rpms: rpms.elapsedMs, sources: sources.elapsedMs, runtime: runtime.elapsedMs },
  };
}

async function readManifest(file: string): Promise<Manifest> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw usageError({
      code: 'NO_MANIFEST',
      message: 'the manifest cannot be read',
      where: file,
      hint: `See: ls -l ${file}`,
      cause,
    });
  });
  return parseManifest(bytes, file);
}

async function passphraseOf({ passphraseFile }: CreateRequest): Promise<string | undefined> {
  return passphraseFile === undefined ? undefined : readPassphrase(passphraseFile);
}

/** A copy in the store: what is described in bundle.json is then what is packed. */
async function keepInstaller(file: string, store: Store): Promise<InstallerFile> {
  return store.put(createReadStream(file)).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    throw usageError({
      code: 'NO_INSTALLER',
      message: 'the companion installer is missing from this installation of airbundle',
      where: file,
      hint: 'Install airbundle again.',
      cause,
    });
  });
}

function contentsBytes(contents: Contents): Buffer {
  const bytes = Buffer.from(formatContents(contents), 'utf8');
  if (bytes.length <= MAX_CONTENTS_BYTES) return bytes;
  throw invalidError({
    code: 'TOO_MANY_MEMBERS',
    message: `bundle.json would have ${String(bytes.length)} bytes; at most ${String(MAX_CONTENTS_BYTES)} are read on the target`,
    hint: 'Split the manifest into two bundles.',
  });
}

async function timed<T>(work: Promise<T>): Promise<{ readonly value: T; readonly elapsedMs: number }> {
  const startedMs = performance.now();
  return { value: await work, elapsedMs: performance.now() - startedMs };
}
