import path from 'node:path';
import { BundleError, invalidError, untrustedError } from '../errors.js';
import type { Contents } from '../model/contents.js';
import { requestOf } from '../model/lock.js';
import type { Lock, LockedRpm } from '../model/lock.js';
import type { Manifest } from '../model/manifest.js';
import { byCodePoint, compareNevra, formatNevra, rpmFileName } from '../model/nevra.js';
import { inStep } from '../report.js';
import type { Reporter, Step } from '../report.js';
import type { Sha256 } from '../model/grammar.js';
import { timeoutSecondsOf } from './timeout.js';
import { openYumMemory } from './yum-memory.js';
import { collectorImage } from './collector-image.js';
import { examine, runYum } from './collector.js';
import type { YumResult } from './collector.js';
import { findEngine, withContainers } from './engine.js';
import type { Container, EngineName } from './engine.js';
import { readBytes } from './engine-tar.js';
import { judgeClosure, judgeRequested, judgeRpms, judgeYum, unknownPackages } from './judge.js';
import type { JudgedRpm } from './judge.js';
import { MAX_KEY_BYTES, readPublicKey, requireFingerprint } from './openpgp.js';
import type { PublicKey } from './openpgp.js';
import { updateCommand } from './lockfile.js';
import { readBounded, reasonOf } from './read-bounded.js';
import type { Store } from './store.js';

export interface CollectRequest {
  readonly manifest: Manifest;
  /** What the manifest's paths are relative to. */
  readonly manifestDir: string;
  /** As it was typed, for what to do next. */
  readonly manifestPath?: string;
  /** With a lock exactly its RPMs are collected; without one, what the repositories have now. */
  readonly lock: Pick<Lock, 'rpms'> | undefined;
  /** Without a lock: RPMs of an older one, which stay where the new set is complete with them. */
  readonly pins?: readonly LockedRpm[];
  /** `--image`: runs yum in this image instead of the manifest's. */
  readonly image?: string;
  readonly engine?: EngineName;
  readonly store: Store;
  readonly cacheDir: string;
  readonly reporter: Reporter;
  /** The whole environment of the engine's command; see EngineRequest. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends the work; containers are removed before the promise rejects. */
  readonly signal?: AbortSignal;
}

export interface Collected {
  /** Sorted by compareNevra; each is in the store. */
  readonly rpms: LockedRpm[];
  readonly collector: Contents['collector'];
  /** The engine's own id of the image: differs from host to host, and is for the packager only. */
  readonly imageId: string;
}

/** Where an RPM came from, before its header was read. */
interface Candidate {
  readonly sha256: LockedRpm['sha256'];
  readonly sizeBytes: number;
  readonly name: string;
  readonly repository: string;
  readonly path: string;
}

/**
 * Downloads the closure of all components' packages into the store, and proves it: every RPM signed as a
 * whole by a pinned key, the set complete in an empty root. Signatures and closure are proven in every
 * case; what the lock names and the store has is not downloaded again.
 *
 * @throws BundleError exit 3 PACKAGE_UNKNOWN; exit 4 for trust; exit 5 without an engine
 * or image; exit 6 when yum or the closure fails
 */
export async function collectRpms(request: CollectRequest): Promise<Collected> {
  const { manifest, lock, reporter, store } = request;
  const engine = await inStep(
    reporter,
    'collect.engine',
    'find a container engine',
    () => findEngine(request),
    ({ name }) => name,
  );
  const image = await inStep(
    reporter,
    'collect.image',
    'prepare the collector image',
    (step) =>
      collectorImage(
        engine,
        { collector: manifest.collector, manifestDir: request.manifestDir, image: request.image },
        step,
      ),
    ({ recorded }) => recorded.image,
  );
  const requested = requestOf(manifest).packages;
  if (requested.length === 0) return { rpms: [], collector: image.recorded, imageId: image.id };

  return withContainers(
    engine,
    (text) => {
      reporter.warn(text);
    },
    async (create) => {
      const examiner = await create({
        role: 'examine',
        image: image.id,
        network: false,
        command: ['sh', '/airbundle/examine.sh'],
      });
      const keys = await inStep(
        reporter,
        'collect.keys',
        'compare the keys with their fingerprints',
        () => pinnedKeys(manifest, request.manifestDir, examiner),
        (all) => `${String(all.length)} pinned`,
      );
      const yum: Yum = {
        request,
        keys,
        run: async (wanted, step) => {
          const { repositories } = manifest;
          const memory = await openYumMemory(request.cacheDir, store, image.id, repositories);
          const timeoutSeconds = timeoutSecondsOf(request.env);
          const given = { repositories, keys, ...wanted, memory, timeoutSeconds };
          const result = await runYum(create, image.id, store, given, step);
          for (const warning of result.warnings) reporter.warn(warning);
          await memory.keepSeeds(result.downloads);
          return result;
        },
      };
      const prove = (container: Container, candidates: readonly Candidate[]): Promise<LockedRpm[]> =>
        inStep(
          reporter,
          'collect.examine',
          'prove signatures and closure',
          async (step) => {
            const facts = await examine(engine, container, store, { keys, rpms: candidates }, step);
            const rpms = judgeRpms(facts.rpms, keys);
            // First: with a lock, what is missing is not yum's fault.
            if (lock !== undefined) requireLocked(lock, rpms, request.manifestPath);
            judgeRequested(rpms, requested);
            judgeClosure(facts.closure);
            return withOrigin(rpms, candidates);
          },
          (rpms) => `${String(rpms.length)} RPMs`,
        );
      const done = (rpms: LockedRpm[]): Collected => ({ rpms, collector: image.recorded, imageId: image.id });
      if (lock !== undefined) return done(await prove(examiner, await obtainLocked(yum, lock)));

      const newest = await downloadClosure(yum, requested);
      const pinned = await withPins(yum, newest, request.pins ?? []);
      try {
        return done(await prove(examiner, pinned));
      } catch (error) {
        if (pinned === newest || !(error instanceof BundleError) || !SET_PROBLEMS.includes(error.code))
          throw error;
        reporter.warn(
          'the set is not complete with the versions of the old lock: all RPMs are resolved anew',
        );
        const another = await create({
          role: 'examine',
          image: image.id,
          network: false,
          command: ['sh', '/airbundle/examine.sh'],
        });
        return done(await prove(another, newest));
      }
    },
  );
}

/** What versions that do not go together may end in. */
const SET_PROBLEMS = ['CLOSURE_BROKEN', 'RPM_TWO_VERSIONS', 'PACKAGE_MISSING'];

/** yum in its container, with what stays the same from call to call. */
interface Yum {
  readonly request: CollectRequest;
  readonly keys: readonly PublicKey[];
  run(
    wanted: { readonly packages: readonly string[]; readonly atHand: readonly Sha256[] },
    step: Step,
  ): Promise<YumResult>;
}

async function pinnedKeys(
  manifest: Manifest,
  manifestDir: string,
  container: Container,
): Promise<PublicKey[]> {
  const keys: PublicKey[] = [];
  for (const pinned of manifest.keys) {
    const where =
      'file' in pinned ? path.resolve(manifestDir, pinned.file) : `${pinned.image} in the collector image`;
    const bytes =
      'file' in pinned ? await readKeyFile(where) : await readFromImage(container, pinned.image, where);
    const key = readPublicKey(bytes, where);
    requireFingerprint(key, pinned.fingerprint, where);
    if (!keys.some(({ fingerprint }) => fingerprint === key.fingerprint)) keys.push(key);
  }
  return keys;
}

async function readKeyFile(file: string): Promise<Uint8Array> {
  return readBounded(file, MAX_KEY_BYTES).catch((cause: unknown) => {
    throw invalidError({
      code: 'KEY_FILE_MISSING',
      message: `a key of the manifest cannot be read: ${reasonOf(cause)}`,
      where: file,
      hint: `"keys: - file:" is relative to the manifest. See: ls -l ${file}`,
      cause,
    });
  });
}

async function readFromImage(container: Container, file: string, where: string): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  await container
    .copyOut(file, async (member) => {
      if (member.type === 'file') bytes = await readBytes(member, MAX_KEY_BYTES);
    })
    .catch((cause: unknown) => {
      throw invalidError({
        code: 'KEY_FILE_MISSING',
        message: 'a key of the manifest cannot be read',
        where,
        hint: '"keys: - image:" is an absolute path in the collector image.',
        cause,
      });
    });
  if (bytes === undefined)
    throw invalidError({
      code: 'KEY_FILE_MISSING',
      message: 'a key of the manifest is not a plain file',
      where,
      hint: 'Name the file itself, not a link to it.',
    });
  return bytes;
}

/** Without a lock: yum resolves. */
async function downloadClosure(yum: Yum, packages: readonly string[]): Promise<Candidate[]> {
  const { manifest, reporter } = yum.request;
  return inStep(
    reporter,
    'collect.download',
    `download ${String(packages.length)} packages and what they need`,
    async (step) => {
      const result = await yum.run({ packages, atHand: [] }, step);
      judgeYum(result);
      return { candidates: originsOf(result, manifest, reporter), reused: result.reused };
    },
    ({ candidates, reused }) =>
      `${String(candidates.length)} RPMs${reused === 0 ? '' : `, ${String(reused)} of them from the cache`}`,
  ).then(({ candidates }) => candidates);
}

/**
 * The new set with the old lock's RPM wherever a name is in both. What is no longer in the repository and
 * not in the store cannot be kept.
 * @returns `newest` itself when nothing changes
 */
async function withPins(yum: Yum, newest: Candidate[], pins: readonly LockedRpm[]): Promise<Candidate[]> {
  const { store, reporter } = yum.request;
  const byPackage = new Map(pins.map((rpm) => [`${rpm.nevra.name}.${rpm.nevra.arch}`, rpm]));
  const wanted = newest.flatMap((candidate) => {
    const pin = byPackage.get(packageOf(candidate.name));
    return pin === undefined || pin.sha256 === candidate.sha256 ? [] : [{ candidate, pin }];
  });
  if (wanted.length === 0) return newest;
  const missing: LockedRpm[] = [];
  for (const { pin } of wanted) if (!(await store.intact(pin.sha256))) missing.push(pin);
  if (missing.length > 0)
    await inStep(
      reporter,
      'collect.download',
      `download ${String(missing.length)} RPMs of the old lock`,
      async (step) => {
        await yum.run({ packages: missing.map((rpm) => formatNevra(rpm.nevra)), atHand: [] }, step);
      },
    );
  const kept = new Map<Candidate, LockedRpm>();
  for (const { candidate, pin } of wanted) {
    if (await store.has(pin.sha256)) kept.set(candidate, pin);
    else
      reporter.warn(
        `${formatNevra(pin.nevra)} of the old lock cannot be had any more: ${candidate.name} instead`,
      );
  }
  if (kept.size === 0) return newest;
  return newest.map((candidate) => {
    const pin = kept.get(candidate);
    return pin === undefined ? candidate : candidateOf(pin);
  });
}

/** `zlib-devel-1.2.7-17.el7.x86_64.rpm` → `zlib-devel.x86_64`. */
function packageOf(fileName: string): string {
  const [, name = fileName, arch = ''] = /^(.+)-[^-]+-[^-]+\.([^.]+)\.rpm$/.exec(fileName) ?? [];
  return `${name}.${arch}`;
}

function candidateOf({ sha256, sizeBytes, nevra, repository, path: below }: LockedRpm): Candidate {
  return { sha256, sizeBytes, name: rpmFileName(nevra), repository, path: below };
}

/** With a lock: the store first; yum is asked for the exact rest, with the store's RPMs at hand. */
async function obtainLocked(yum: Yum, lock: Pick<Lock, 'rpms'>): Promise<Candidate[]> {
  const { store, reporter } = yum.request;
  const atHand: LockedRpm[] = [];
  const missing: LockedRpm[] = [];
  for (const rpm of lock.rpms) ((await store.intact(rpm.sha256)) ? atHand : missing).push(rpm);
  if (missing.length > 0) {
    await inStep(
      reporter,
      'collect.download',
      `download ${String(missing.length)} of ${String(lock.rpms.length)} locked RPMs`,
      async (step) => {
        const result = await yum.run(
          {
            packages: missing.map((rpm) => formatNevra(rpm.nevra)),
            atHand: atHand.map(({ sha256 }) => sha256),
          },
          step,
        );
        const gone = unknownPackages(result);
        if (gone.length > 0)
          throw notReproduced(
            [...new Set(gone)].map((name) => `missing: ${name}`),
            yum.request.manifestPath,
          );
        judgeYum(result);
        requireLockedFiles(missing, atHand, result, yum.request.manifestPath);
      },
    );
  }
  return lock.rpms.map(candidateOf);
}

/** @throws BundleError exit 4, LOCK_NOT_REPRODUCED */
function requireLockedFiles(
  missing: readonly LockedRpm[],
  atHand: readonly LockedRpm[],
  { downloads }: YumResult,
  manifestPath: string | undefined,
): void {
  const known = new Set([...missing, ...atHand].map((rpm) => rpm.sha256));
  const arrived = new Map(downloads.map((download) => [download.name, download]));
  const differences = missing.flatMap((rpm) => {
    if (downloads.some(({ sha256 }) => sha256 === rpm.sha256)) return [];
    const other = arrived.get(rpmFileName(rpm.nevra));
    arrived.delete(rpmFileName(rpm.nevra));
    return other === undefined
      ? [`missing: ${formatNevra(rpm.nevra)}`]
      : [`changed: ${formatNevra(rpm.nevra)}: ${rpm.sha256} in the lock, ${other.sha256} in the repository`];
  });
  for (const [name, { sha256 }] of arrived) if (!known.has(sha256)) differences.push(`added: ${name}`);
  if (differences.length > 0) throw notReproduced(differences, manifestPath);
}

/** The lock names a package; its bytes must call themselves the same. */
function requireLocked(
  lock: Pick<Lock, 'rpms'>,
  judged: readonly JudgedRpm[],
  manifestPath: string | undefined,
): void {
  const names = new Map(judged.map((rpm) => [rpm.sha256, formatNevra(rpm.nevra)]));
  const differences = lock.rpms.flatMap((rpm) => {
    const name = names.get(rpm.sha256);
    return name === formatNevra(rpm.nevra)
      ? []
      : [`changed: ${formatNevra(rpm.nevra)} in the lock, ${name ?? 'nothing'} in the file`];
  });
  if (differences.length > 0) throw notReproduced(differences, manifestPath);
}

function notReproduced(differences: readonly string[], manifestPath: string | undefined): Error {
  return untrustedError({
    code: 'LOCK_NOT_REPRODUCED',
    message: 'the repositories no longer give the RPMs that the lock names',
    details: [...differences].sort(byCodePoint),
    hint: `Use a repository that does not change (a vault or a snapshot); or take what they have now and read the diff of the lock:\n${updateCommand(manifestPath)}`,
  });
}

/** By checksum where the metadata has SHA-256 ones, otherwise by name. */
function originsOf(result: YumResult, manifest: Manifest, reporter: Reporter): Candidate[] {
  const order = manifest.repositories.map(({ id }) => id);
  const origins = [...result.origins].sort(
    (a, b) => order.indexOf(a.repository) - order.indexOf(b.repository) || byCodePoint(a.path, b.path),
  );
  const candidates = result.downloads.map(({ sha256, sizeBytes, name }) => {
    const origin =
      origins.find(({ checksum }) => checksum === sha256) ??
      origins.find(
        ({ checksum, path: below }) => checksum.length !== 64 && path.posix.basename(below) === name,
      );
    return {
      sha256,
      sizeBytes,
      name,
      repository: origin?.repository ?? (order.length === 1 ? (order[0] ?? '') : ''),
      path: origin?.path ?? name,
      known: origin !== undefined,
    };
  });
  const unknown = candidates.filter(({ known }) => !known);
  if (unknown.length > 0)
    reporter.warn(
      `the place of ${String(unknown.length)} RPMs in their repository is not known: only the file name is recorded`,
    );
  return candidates.map(({ known: _, ...candidate }) => candidate);
}

function withOrigin(judged: readonly JudgedRpm[], candidates: readonly Candidate[]): LockedRpm[] {
  const bySha256 = new Map(candidates.map((candidate) => [candidate.sha256, candidate]));
  return judged
    .map(({ nevra, sha256, signer, licence, summary, sourceRpm }) => {
      const candidate = bySha256.get(sha256);
      if (candidate === undefined) throw new Error(`an RPM without a candidate: ${sha256}`);
      const { sizeBytes, repository, path: below } = candidate;
      return { nevra, sha256, sizeBytes, signer, licence, summary, sourceRpm, repository, path: below };
    })
    .sort((a, b) => compareNevra(a.nevra, b.nevra));
}
