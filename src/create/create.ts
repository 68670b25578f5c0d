import { createReadStream } from 'node:fs';
import path from 'node:path';
import { BundleError, invalidError, stepError, usageError } from '../errors.js';
import { formatContents, MAX_CONTENTS_BYTES } from '../model/contents.js';
import type { Contents } from '../model/contents.js';
import { member } from '../model/layout.js';
import { MAX_DOCUMENT_BYTES } from '../model/document.js';
import type { Lock } from '../model/lock.js';
import { formatLock, requestOf } from '../model/lock.js';
import type { Manifest, ManifestComponent } from '../model/manifest.js';
import { isPlain, parseManifest } from '../model/manifest.js';
import type { Reporter } from '../report.js';
import { formatBytes, inStep } from '../report.js';
import { contentsOf, membersOf } from './create-contents.js';
import type { ProgramFile } from './create-contents.js';
import { readConfigurations } from './create-templates.js';
import { allOrAbort } from './create-together.js';
import { refuseCredentials, withoutCredentialsIn } from './credentials.js';
import type { EngineName } from './engine.js';
import type { SigningKeyRequest } from './keys.js';
import { openSigningKey } from './keys.js';
import type { LockPlan, Update } from './lock-plan.js';
import { factDifferences, lockChanges, planLock } from './lock-plan.js';
import { lockPathOf, readLock, writeLock } from './lockfile.js';
import { markRun, unmarkRun } from './cache.js';
import { readBounded, reasonOf } from './read-bounded.js';
import type { WrittenFolder } from './pack-folder.js';
import { readInstallSh, requireFolder, writeFolder } from './pack-folder.js';
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
  /** Resolved anew although the lock still fits. */
  readonly update?: Update;
  /** Components whose first commit is taken over a plain connection (http, git) as it comes, and then locked. */
  readonly trustHttp?: readonly string[];
}

export interface CreateRequest extends LockRequest, Omit<SigningKeyRequest, 'keyPath'> {
  /** Refuses to write the lock: it must be there and fit. */
  readonly locked?: boolean;
  /** The folder X is made in this one. */
  readonly out: string;
  /** Undefined: nobody signs here. */
  readonly keyPath: string | undefined;
  /** The built installer.cjs. */
  readonly installerPath: string;
  /** The built deploy.cjs. */
  readonly deployPath: string;
  readonly installShPath: string;
  /** Replaces a folder of the same name that differs. */
  readonly force?: boolean;
}

export interface LockResult {
  readonly lockPath: string;
  readonly lockWritten: boolean;
  /** What is another in it than before, one line for each; empty for a first lock. */
  readonly lockChanges: readonly string[];
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
  /** Undefined: this run signed nothing. */
  readonly keyId: string | undefined;
  /** The engine's own id of the image in which yum ran; not part of the bundle. */
  readonly collectorImageId: string;
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
 * A signed bundle folder from a manifest. With a lock beside the manifest exactly its set; what the lock
 * does not answer (all of it, without one) is what the origins have now, which is then locked.
 * @param rpmCollector only tests give another one: the real one needs a container engine
 * @throws BundleError
 */
export async function createBundle(
  request: CreateRequest,
  rpmCollector: RpmCollector = collectRpms,
): Promise<CreateResult> {
  return interruptible(request, () => createWhole(request, rpmCollector));
}

async function createWhole(request: CreateRequest, rpmCollector: RpmCollector): Promise<CreateResult> {
  const startedMs = performance.now();
  // What can be wrong on this machine is found before anything is fetched.
  const lockPath = lockPathOf(request.manifestPath);
  const before = await readLock(lockPath, request.manifestPath);
  const manifest = await readManifest(request, before);
  const configurations = await readConfigurations(manifest, request.manifestPath);
  const { keyPath } = request;
  const key = keyPath === undefined ? undefined : await openSigningKey({ ...request, keyPath });
  const installSh = await readInstallSh(request.installShPath);
  const plan = planLock(manifest, before, request.update);
  if (request.locked === true) requireUnchanged(before, plan, lockPath, request.manifestPath);
  if (before === undefined || plan.differences.length > 0) await requireFolder(path.dirname(lockPath));
  await requireFolder(request.out);
  const store = await openStore({ directory: request.cacheDir });
  await markRun(request.cacheDir);
  const programs = {
    installer: await keepProgram(request.installerPath, store),
    deploy: await keepProgram(request.deployPath, store),
  };

  const { lock, collector, imageId, timings } = await collect(manifest, plan, store, request, rpmCollector);
  if (request.locked === true) requireSameFacts(before, lock, lockPath, request.manifestPath);
  const written =
    request.locked !== true && (before === undefined || formatLock(before) !== formatLock(lock));
  if (written) await writeLock(lockPath, lock);

  const members = membersOf(lock, programs);
  const contents = contentsOf(manifest, lock, collector, members, configurations);
  const packStartedMs = performance.now();
  const made = await inStep(
    request.reporter,
    'pack',
    key === undefined ? 'pack' : 'pack and sign',
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
    folder: made.folder,
    stem: made.stem,
    state: made.state,
    payloadSha256: made.payload.sha256,
    payloadBytes: made.payload.sizeBytes,
    keyId: made.keyId,
    collectorImageId: imageId,
    lockPath,
    lockWritten: written,
    lockChanges: lockChanges(before, lock),
    rpms: lock.rpms.length,
    sources: lock.sources.length,
    timings: {
      ...timings,
      pack: endedMs - packStartedMs,
      sync: made.payload.syncMs,
      total: endedMs - startedMs,
    },
  };
}

/**
 * Writes what the manifest asks for to the lock. What is locked and still asked for stays, except what
 * `update` names.
 * @throws BundleError
 */
export async function lockManifest(
  request: LockRequest,
  rpmCollector: RpmCollector = collectRpms,
): Promise<LockResult> {
  return interruptible(request, () => lockWhole(request, rpmCollector));
}

async function lockWhole(request: LockRequest, rpmCollector: RpmCollector): Promise<LockResult> {
  const startedMs = performance.now();
  const lockPath = lockPathOf(request.manifestPath);
  // A lock that nobody can read is no reason to refuse a new one that keeps nothing of it.
  const before = await readLock(lockPath, request.manifestPath).catch((error: unknown) => {
    if (request.update === 'all') return undefined;
    throw error;
  });
  const manifest = await readManifest(request, before);
  await readConfigurations(manifest, request.manifestPath);
  requireComponents(manifest, request.update);
  if (before === undefined) await requireFolder(path.dirname(lockPath));
  const store = await openStore({ directory: request.cacheDir });
  await markRun(request.cacheDir);
  const plan = planLock(manifest, before, request.update);
  const { lock, timings } = await collect(manifest, plan, store, request, rpmCollector);
  const written = before === undefined || formatLock(before) !== formatLock(lock);
  if (written) await writeLock(lockPath, lock);
  return {
    lockPath,
    lockWritten: written,
    lockChanges: lockChanges(before, lock),
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

/** @throws BundleError exit 3 saying what would change */
function requireUnchanged(before: Lock | undefined, plan: LockPlan, where: string, manifest: string): void {
  if (before === undefined)
    throw invalidError({
      code: 'LOCK_MISSING',
      message: '--locked wants a lock, and there is none',
      where,
      hint: `Make it, read it and put it under version control: bundle lock ${manifest}`,
    });
  if (plan.differences.length > 0)
    throw invalidError({
      code: 'LOCK_OUT_OF_DATE',
      message: 'the lock does not answer this manifest any more, and --locked keeps it as it is',
      where,
      details: plan.differences,
      hint: `If the manifest is what you want: bundle lock ${manifest}`,
    });
}

/** What the manifest does not say is known only when the files are there. @throws BundleError exit 3 */
function requireSameFacts(before: Lock | undefined, now: Lock, where: string, manifest: string): void {
  const details = before === undefined ? [] : factDifferences(before, now);
  if (details.length === 0) return;
  throw invalidError({
    code: 'LOCK_OUT_OF_DATE',
    message: 'the lock says something else than what was collected, and --locked keeps it as it is',
    where,
    details: details.slice(0, 20),
    hint: `Who has edited the lock? Take it from version control again, or make it anew: bundle lock ${manifest}`,
  });
}

function requireComponents(manifest: Manifest, update: Update | undefined): void {
  if (update === undefined || update === 'all') return;
  const known = manifest.components.map(({ name }) => name);
  for (const name of update)
    if (!known.includes(name))
      throw usageError({
        code: 'UNKNOWN_COMPONENT',
        message: `the manifest has no component "${name}"`,
        hint: `It has: ${known.join(', ')}`,
      });
}

/** Whatever an abort interrupts fails in its own way: it is one error for the person who asked for it. */
async function interruptible<T>(request: LockRequest, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (request.signal?.aborted !== true) throw withoutCredentialsIn(error);
    throw stepError({
      code: 'INTERRUPTED',
      message: 'interrupted; containers and temporary files were removed',
      hint: 'Run the command again: what was downloaded whole is in the cache.',
      cause: error,
    });
  } finally {
    await unmarkRun(request.cacheDir);
  }
}

interface CollectedAll {
  readonly lock: Lock;
  readonly collector: Contents['collector'];
  readonly imageId: string;
  readonly timings: Pick<Timings, 'rpms' | 'sources' | 'runtime'>;
}

/** RPMs, sources and runtime side by side; the first failure ends the others. */
async function collect(
  manifest: Manifest,
  plan: LockPlan,
  store: Store,
  request: LockRequest,
  rpmCollector: RpmCollector,
): Promise<CollectedAll> {
  const manifestFolder = path.dirname(path.resolve(request.manifestPath));
  const common = {
    manifest,
    manifestPath: request.manifestPath,
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
          lock: plan.rpms.exact ? { rpms: [...plan.rpms.pins] } : undefined,
          pins: plan.rpms.pins,
          signal,
          ...(request.image === undefined ? {} : { image: request.image }),
          ...(request.engine === undefined ? {} : { engine: request.engine }),
        }),
      ),
    (signal) =>
      timed(
        collectSources({
          ...common,
          lock: { sources: [...plan.sources] },
          manifestFolder,
          signal,
          ...(request.trustHttp === undefined ? {} : { trustHttp: request.trustHttp }),
        }),
      ),
    (signal) =>
      timed(
        collectRuntime({
          ...common,
          lock: plan.runtime === undefined ? undefined : { runtime: plan.runtime },
          runtime: manifest.runtime,
          signal,
        }),
      ),
  ]);
  await store.touch([...rpms.value.rpms, ...sources.value, runtime.value].map(({ sha256 }) => sha256));
  return {
    lock: {
      airbundleLock: 1,
      requested: requestOf(manifest),
      rpms: rpms.value.rpms,
      sources: sources.value,
      runtime: runtime.value,
    },
    collector: rpms.value.collector,
    imageId: rpms.value.imageId,
    timings: { rpms: rpms.elapsedMs, sources: sources.elapsedMs, runtime: runtime.elapsedMs },
  };
}

async function readManifest(
  { manifestPath: file, trustHttp = [], update = [], reporter }: LockRequest,
  before: Lock | undefined,
): Promise<Manifest> {
  const bytes = await readBounded(file, MAX_DOCUMENT_BYTES).catch((cause: unknown) => {
    throw usageError({
      code: 'NO_MANIFEST',
      message: `the manifest cannot be read: ${reasonOf(cause)}`,
      where: file,
      hint:
        (cause as NodeJS.ErrnoException).code === 'ENOENT'
          ? 'Check the path; to begin a new one: bundle init my-bundle'
          : `Give the YAML file itself, readable to you; see: ls -ld ${file}`,
      cause,
    });
  });
  const kept = ({ name, source }: ManifestComponent): boolean =>
    update !== 'all' &&
    !update.includes(name) &&
    before?.sources.some(
      ({ component, url, ref }) => component === name && url === source.git && ref === source.ref,
    ) === true;
  const manifest = parseManifest(
    bytes,
    file,
    (component) => kept(component) || trustHttp.includes(component.name),
  );
  refuseCredentials(manifest);
  requireComponents(manifest, trustHttp);
  for (const component of manifest.components.filter(({ name }) => trustHttp.includes(name)))
    reporter.warn(
      isPlain(component.source) && component.source.commit === undefined && !kept(component)
        ? `${component.name}: its commit is taken from ${component.source.git} as it comes, and then locked: compare it with one that you were told by another way`
        : `${component.name}: --trust-http changes nothing: its commit is pinned, or its address is not plain http`,
    );
  return manifest;
}

/** A copy in the store: what is described in bundle.json is then what is packed. */
async function keepProgram(file: string, store: Store): Promise<ProgramFile> {
  return store.put(createReadStream(file)).catch((cause: unknown) => {
    if (cause instanceof BundleError) throw cause;
    throw usageError({
      code: 'NO_INSTALLER',
      message: `a program that goes with the bundle cannot be read in this installation of airbundle: ${reasonOf(cause)}`,
      where: file,
      hint: 'Install airbundle again, in its clone: npm ci && npm install -g .',
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
