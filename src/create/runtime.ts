import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Parser } from 'tar';
import type { ReadEntry } from 'tar';
import { BundleError, invalidError, refusedError, stepError, untrustedError } from '../errors.js';
import { lastLines, outcome, run } from '../host/process.js';
import type { RunResult } from '../host/process.js';
import type { Sha256 } from '../model/grammar.js';
import type { Lock } from '../model/lock.js';
import type { ManifestRuntime } from '../model/manifest.js';
import type { Reporter, Step } from '../report.js';
import { inStep } from '../report.js';
import { withoutCredentials } from './credentials.js';
import { updateCommand } from './lockfile.js';
import { folderBytes, stalledError, timeoutSecondsOf, whileMoving } from './timeout.js';
import type { Store } from './store.js';
import { scratchFolder } from './store.js';

export type LockedRuntime = Lock['runtime'];

export interface RuntimeRequest {
  readonly runtime: ManifestRuntime;
  readonly lock: Pick<Lock, 'runtime'> | undefined;
  readonly store: Store;
  readonly cacheDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly reporter: Reporter;
  /** As it was typed, for what to do next. */
  readonly manifestPath?: string;
  readonly signal?: AbortSignal;
}

/** What a runtime is called in the lock and in bundle.json. */
export function runtimeOrigin(
  runtime: ManifestRuntime,
): Pick<LockedRuntime, 'origin' | 'version' | 'pinned' | 'path'> {
  if ('url' in runtime)
    return {
      origin: runtime.url,
      version: runtime.version,
      pinned: runtime.sha256,
      path: runtime.path ?? '',
    };
  return {
    origin: `npm:${runtime.npm}`,
    version: runtime.npm.slice(runtime.npm.lastIndexOf('@') + 1),
    pinned: runtime.integrity,
    path: runtime.path,
  };
}

/**
 * The Node binary that the bundle brings, in the store.
 * @throws BundleError exit 4 for another integrity or digest than pinned; exit 3 when the binary is not in the package
 */
export async function collectRuntime(request: RuntimeRequest): Promise<LockedRuntime> {
  const { runtime, lock, store } = request;
  if (lock !== undefined && (await store.intact(lock.runtime.sha256))) return lock.runtime;
  const named = runtimeOrigin(runtime);
  return inStep(request.reporter, 'runtime', `runtime ${named.origin}`, async (step) => {
    const kept = 'url' in runtime ? await fromUrl(runtime, request, step) : await fromNpm(runtime, request);
    if (lock !== undefined && lock.runtime.sha256 !== kept.sha256)
      throw untrustedError({
        code: 'RUNTIME_DIFFERS',
        message: `${named.origin} is not the binary that the lock pins`,
        details: [`locked sha256 ${lock.runtime.sha256}`, `now    sha256 ${kept.sha256}`],
        hint: `A released version never changes by itself: find out why. To take the new one:\n${updateCommand(request.manifestPath)}`,
      });
    return { ...named, ...kept };
  });
}

interface Kept {
  readonly sha256: Sha256;
  readonly sizeBytes: number;
}

async function fromNpm(
  runtime: Extract<ManifestRuntime, { npm: string }>,
  request: RuntimeRequest,
): Promise<Kept> {
  const scratch = await scratchFolder(request.cacheDir, 'npm');
  try {
    const seconds = timeoutSecondsOf(request.env);
    const { result, stalled } = await npmPack(runtime.npm, scratch, seconds, request);
    request.signal?.throwIfAborted();
    if (result.startError === 'ENOENT')
      throw refusedError({
        code: 'NO_NPM',
        message: 'npm is not on the PATH; it fetches the runtime',
        hint: 'Install npm (it comes with Node), then run the command again.',
      });
    const [archive] = (await readdir(scratch)).filter((name) => name.endsWith('.tgz'));
    const details = lastLines(result, 8).map(withoutCredentials);
    if (stalled || (result.exitCode !== 0 && /[A-Z_]*TIMEOUT|network timeout/.test(result.stderr)))
      throw stalledError({
        what: `npm's registry, asked for ${runtime.npm},`,
        seconds,
        where: 'runtime: npm',
        details,
      });
    if (result.exitCode !== 0 || archive === undefined)
      throw stepError({
        code: 'NPM_FAILED',
        message: `npm pack ${runtime.npm} ${outcome(result)}`,
        details,
        hint: `Check npm's registry and proxy settings: npm config list; npm view ${runtime.npm}`,
      });
    const file = path.join(scratch, archive);
    const integrity = await sha512Integrity(file, request.signal);
    if (integrity !== runtime.integrity)
      throw untrustedError({
        code: 'WRONG_INTEGRITY',
        message: `${runtime.npm} is not the package that the manifest pins`,
        where: 'runtime: integrity',
        details: [`pinned   ${runtime.integrity}`, `received ${integrity}`],
        hint: `Compare both with: npm view ${runtime.npm} dist.integrity`,
      });
    return await extractOne(file, `package/${runtime.path}`, runtime.npm, request);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * `npm pack` into a folder. npm itself gives up a server that sends nothing; one that drips is seen by what
 * lies in npm's cache. npm holds up to 5 MB back in memory, so that it is given five times as long for it.
 */
async function npmPack(
  name: string,
  folder: string,
  seconds: number,
  { env, signal: outer }: RuntimeRequest,
): Promise<{ readonly result: RunResult; readonly stalled: boolean }> {
  const given = {
    cwd: folder,
    env: { npm_config_fetch_timeout: String(seconds * 1000), npm_config_fetch_retries: '1', ...env },
  };
  const ended = outer === undefined ? {} : { signal: outer };
  const cache = await run(['npm', 'config', 'get', 'cache'], { ...given, ...ended });
  const temporary = path.join(cache.stdout.trim(), '_cacache', 'tmp');
  const moved = async (): Promise<number> => (await folderBytes(temporary)) + (await folderBytes(folder));
  return whileMoving({ seconds: seconds * 5, moved, ...ended }, async (signal, stalled) => {
    const result = await run(['npm', 'pack', name, '--json', '--ignore-scripts'], {
      ...given,
      signal,
      detached: true,
    });
    return { result, stalled: stalled() };
  });
}

async function fromUrl(
  runtime: Extract<ManifestRuntime, { url: string }>,
  request: RuntimeRequest,
  step: Step,
): Promise<Kept> {
  const { store } = request;
  if (!(await store.intact(runtime.sha256))) {
    const unreachable = (reason: string, cause?: unknown): Error =>
      stepError({
        code: 'RUNTIME_UNREACHABLE',
        message: `cannot fetch ${runtime.url}: ${reason}`,
        hint: `Check the address and the network, for example: curl -fI ${runtime.url}${proxyHint(request.env)}`,
        cause,
      });
    const seconds = timeoutSecondsOf(request.env);
    let done = 0;
    const moving = {
      seconds,
      moved: () => done,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    };
    await whileMoving(moving, async (signal, stalled) => {
      const failed = (cause: unknown): never => {
        request.signal?.throwIfAborted();
        if (cause instanceof BundleError) throw cause;
        if (stalled())
          throw stalledError({
            what: runtime.url,
            seconds,
            where: 'runtime: url',
            hint: proxyHint(request.env),
            cause,
          });
        throw unreachable(reasonOf(cause), cause);
      };
      const response = await fetch(runtime.url, { signal }).catch(failed);
      if (!response.ok || response.body === null) throw unreachable(`HTTP ${String(response.status)}`);
      const total = Number(response.headers.get('content-length') ?? '');
      const { body } = response;
      const counted = async function* (): AsyncGenerator<Uint8Array> {
        for await (const chunk of body) {
          done += (chunk as Uint8Array).length;
          step.progress({ done, ...(total > 0 ? { total } : {}), unit: 'bytes' });
          yield chunk as Uint8Array;
        }
      };
      await store.put(counted(), runtime.sha256).catch(failed);
    });
  }
  const file = store.path(runtime.sha256);
  if (runtime.path !== undefined) return extractOne(file, runtime.path, runtime.url, request);
  return store.put(createReadStream(file), runtime.sha256);
}

/** Streams one regular file of a gzip tarball into the store. */
async function extractOne(
  file: string,
  wanted: string,
  origin: string,
  request: RuntimeRequest,
): Promise<Kept> {
  const found: Promise<Kept>[] = [];
  const seen: string[] = [];
  const parser = new Parser({
    strict: true,
    onReadEntry: (entry: ReadEntry) => {
      const regular = entry.type === 'File' || entry.type === 'OldFile';
      if (regular && entry.path.replace(/^\.\//, '') === wanted) {
        const kept = request.store.put(entry as AsyncIterable<Uint8Array>);
        // Awaited below; until then a failure must not count as unhandled, nor block the parser.
        kept.catch(() => {
          entry.resume();
        });
        found.push(kept);
        return;
      }
      if (regular && path.posix.basename(entry.path) === path.posix.basename(wanted)) seen.push(entry.path);
      entry.resume();
    },
  });
  await pipeline(
    createReadStream(file),
    parser as unknown as NodeJS.WritableStream,
    ...(request.signal === undefined ? [] : [{ signal: request.signal }]),
  ).catch((cause: unknown) => {
    request.signal?.throwIfAborted();
    throw invalidError({
      code: 'NO_RUNTIME_FILE',
      message: `${origin} is not a gzip tarball, so no ${wanted} can be taken from it`,
      where: 'runtime: path',
      hint: 'If the address is the binary itself, leave out "path:".',
      cause,
    });
  });
  const [kept, ...more] = await Promise.all(found);
  if (kept !== undefined && more.length === 0) return kept;
  throw invalidError({
    code: 'NO_RUNTIME_FILE',
    message: `${origin} holds ${kept === undefined ? 'no' : 'more than one'} file ${wanted}`,
    where: 'runtime: path',
    details: seen.slice(0, 5).map((name) => `it has ${name}`),
    hint: 'Write the path of the node binary inside the package as "path:".',
  });
}

async function sha512Integrity(file: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha512');
  for await (const chunk of createReadStream(file, signal === undefined ? {} : { signal }))
    hash.update(chunk as Uint8Array);
  return `sha512-${hash.digest('base64')}`;
}

/** Node 20's fetch takes no notice of a proxy, and the person should know. */
function proxyHint(env: Readonly<Record<string, string>>): string {
  const names = ['https_proxy', 'http_proxy', 'all_proxy', 'HTTPS_PROXY', 'HTTP_PROXY', 'ALL_PROXY'];
  const name = names.find((each) => (env[each] ?? '') !== '');
  return name === undefined
    ? ''
    : `\n${name} is set, but "runtime: url" does not go through a proxy: use "runtime: npm", or a server that is reached without one.`;
}

/** fetch() hides the reason in `cause`. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error ? inner.message : String(inner);
}
