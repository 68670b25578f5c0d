import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BundleError, refusedError, stepError } from '../errors.js';
import { lastLines, outcome, run, stream } from '../host/process.js';
import type { RunResult, Streaming } from '../host/process.js';
import { readTar, writeTar } from './engine-tar.js';
import type { FileIn, MemberOut } from './engine-tar.js';
import { owner, ownerState } from './owner.js';
import { timeoutSecondsOf } from './timeout.js';

export type EngineName = 'docker' | 'podman';

export interface EngineRequest {
  /** The one that the packager asked for; otherwise docker, then podman. */
  readonly engine?: EngineName;
  /**
   * The whole environment of the engine's command (PATH, HOME, DOCKER_HOST …).
   * AIRBUNDLE_ENGINE_ARGS: more arguments for every `create`, split at blanks.
   * AIRBUNDLE_ENGINE_NETWORK: the network of the containers that may have one.
   */
  readonly env: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** A container engine that has answered. No bind mounts anywhere, so it may run on another machine. */
export interface Engine {
  readonly name: EngineName;
  readonly env: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
  /** `docker ARGS`, run to its end; the caller judges. */
  command(
    args: readonly string[],
    options?: { readonly onLine?: (line: string) => void; readonly timeoutMs?: number },
  ): Promise<RunResult>;
}

export interface ContainerRequest {
  /** What it does, one word: part of its name. */
  readonly role: string;
  readonly image: string;
  readonly command: readonly [string, ...string[]];
  readonly network: boolean;
}

/** A container that is removed at the end of `withContainers`, whatever happens. */
export interface Container {
  /** Files below `/`. */
  copyIn(files: readonly FileIn[]): Promise<void>;
  /** Every member below an absolute path, as a tar has them: the path's last part comes first in each name. */
  copyOut(path: string, take: (member: MemberOut) => Promise<void>): Promise<void>;
  /** Starts it and waits for its end. `stdout` and `stderr` are the container's own, and so is the exit code. */
  run(onLine?: (line: string) => void): Promise<RunResult>;
}

export type CreateContainer = (request: ContainerRequest) => Promise<Container>;

/** Every container of this program: `docker ps -a --filter label=airbundle.owner`; the value is its owner.ts. */
const LABEL = 'airbundle.owner';
/** EL7's yum and rpm close every possible file descriptor before they start a child (FACTS). */
const LIMITS = ['--ulimit', 'nofile=1024:1024'];
/** podman asks for a limit of processes by itself, which an engine that may not raise limits refuses. */
const PROCESS_LIMIT = ['--ulimit', 'nproc=1024:1024'];
/** podman's crun refuses some machines (limits, hybrid cgroups) on which its runc works. */
const RUNC = ['--runtime', 'runc'];

/** @throws BundleError exit 5: ENGINE_MISSING, ENGINE_NOT_RUNNING, ENGINE_PERMISSION */
export async function findEngine(request: EngineRequest): Promise<Engine> {
  const names: readonly EngineName[] = request.engine === undefined ? ['docker', 'podman'] : [request.engine];
  const refusals: BundleError[] = [];
  for (const name of names) {
    const engine = engineOf(name, request);
    // A DOCKER_HOST that takes the connection and says nothing would be waited for without end.
    const answer = await engine.command(name === 'docker' ? ['version'] : ['info'], {
      timeoutMs: timeoutSecondsOf(request.env) * 1000,
    });
    throwIfAborted(engine);
    if (answer.exitCode === 0) return engine;
    refusals.push(refusal(name, answer));
  }
  // The engine that is there but does not answer tells more than the one that is not there.
  const told = refusals.find((error) => error.code !== 'ENGINE_MISSING');
  if (told !== undefined) throw told;
  throw refusedError({
    code: 'ENGINE_MISSING',
    message: `${names.join(' and ')} ${names.length === 1 ? 'is' : 'are'} not installed here: packages are collected in a container`,
    hint: 'Install Docker (https://docs.docker.com/engine/install/) or Podman (https://podman.io/docs/installation), then run the command again.',
  });
}

function engineOf(name: EngineName, { env, signal }: EngineRequest): Engine {
  return {
    name,
    env,
    signal,
    command: (args, options = {}) =>
      run([name, ...args], {
        env,
        ...(signal === undefined ? {} : { signal }),
        ...options,
      }),
  };
}

function refusal(name: EngineName, answer: RunResult): BundleError {
  const told = `${answer.stdout}\n${answer.stderr}`;
  const details = lastLines(answer, 3);
  if (answer.startError === 'ENOENT')
    return refusedError({ code: 'ENGINE_MISSING', message: `${name} is not installed here` });
  if (/permission denied|EACCES/i.test(told) || answer.startError === 'EACCES')
    return refusedError({
      code: 'ENGINE_PERMISSION',
      message: `${name} is installed, but you may not use it`,
      details,
      hint:
        name === 'docker'
          ? 'Let an administrator add you to the group, then log in again: sudo usermod -aG docker "$USER"\nor use rootless Podman: --engine podman'
          : 'Check the rights on your container storage: podman info',
    });
  return refusedError({
    code: 'ENGINE_NOT_RUNNING',
    message: `${name} is installed, but does not answer (${outcome(answer)})`,
    details,
    hint:
      name === 'docker'
        ? 'Start it: sudo systemctl start docker (Linux), or start Docker Desktop (macOS, Windows). Is it elsewhere? Check DOCKER_HOST and: docker context ls'
        : 'Start it: podman machine start (macOS, Windows); Is it elsewhere? Check CONTAINER_HOST and: podman system connection list',
  });
}

/** Runs `work` and then removes every container that it made, also after an error or an abort. */
export async function withContainers<T>(
  engine: Engine,
  warn: (text: string) => void,
  work: (create: CreateContainer) => Promise<T>,
): Promise<T> {
  await removeDeadRuns(engine);
  const names: string[] = [];
  const ways: Ways = { arguments: [], warn };
  try {
    return await work(async (request) => {
      throwIfAborted(engine);
      return createContainer(engine, request, names, ways);
    });
  } finally {
    // Not through engine.command: that one ends with the signal, and this is what the signal asks for.
    for (const name of names) {
      const removed = await run([engine.name, 'rm', '-f', '-v', name], { env: engine.env, detached: true });
      if (removed.exitCode !== 0 && !/no such container|no container with/i.test(removed.stderr))
        warn(`a container stays behind; remove it: ${engine.name} rm -f -v ${name}`);
    }
  }
}

/** Removes the containers of runs that were killed on this machine; others' and living ones stay. */
async function removeDeadRuns(engine: Engine): Promise<void> {
  const listed = await engine.command(['ps', '-a', '-q', '--no-trunc', '--filter', `label=${LABEL}`]);
  const ids = listed.stdout.split('\n').filter((id) => /^[0-9a-f]{12,}$/.test(id));
  if (listed.exitCode !== 0 || ids.length === 0) return;
  // One may be gone by now: the others are printed all the same.
  const shown = await engine.command([
    ...['inspect', '--type', 'container', '--format', `{{.Id}} {{index .Config.Labels "${LABEL}"}}`],
    ...ids,
  ]);
  const dead = shown.stdout.split('\n').flatMap((line) => {
    const [id, text = ''] = line.split(' ');
    return id !== undefined && ownerState(text) === 'dead' ? [id] : [];
  });
  if (dead.length > 0)
    await run([engine.name, 'rm', '-f', '-v', ...dead], { env: engine.env, detached: true });
}

/** How this engine makes containers that start; what worked is kept for the run. */
interface Ways {
  arguments: readonly string[];
  readonly warn: (text: string) => void;
}

async function createContainer(
  engine: Engine,
  request: ContainerRequest,
  names: string[],
  ways: Ways,
): Promise<Container> {
  const copied: (readonly FileIn[])[] = [];
  let tried = ways.arguments;
  let name = await createOne(engine, request, names, tried);
  const copyIn = async (files: readonly FileIn[]): Promise<void> => {
    await copyInto(engine, name, files);
    copied.push(files);
  };
  return {
    copyIn,

    async copyOut(path, take) {
      const child = stream([engine.name, 'cp', `${name}:${path}`, '-'], engine.env);
      child.stdin.end();
      await withKill(engine, child, async () => {
        const read = await readTar(child.stdout, take).then(
          () => undefined,
          (error: unknown) => error ?? new Error('unreadable tar'),
        );
        child.stdout.resume();
        const ended = await child.end;
        throwIfAborted(engine);
        if (ended.exitCode !== 0) throw copyFailed(engine, 'out of', ended);
        if (read !== undefined) throw read as Error;
      });
    },

    async run(onLine) {
      for (;;) {
        const ended = await engine.command(
          ['start', '--attach', name],
          onLine === undefined ? {} : { onLine },
        );
        throwIfAborted(engine);
        // The engine itself failed: the command never ran (125 to 127), and stderr is the engine's.
        if (ended.exitCode !== null && (ended.exitCode < 125 || ended.exitCode > 127)) return ended;
        const failed = engineFailed(engine, `run "${request.role}"`, ended);
        // Another container may have found a way since this one was made.
        if (tried === ways.arguments) {
          const another = anotherWay(tried, ended);
          if (another === undefined) throw failed;
          ways.arguments = another.arguments;
          ways.warn(`${engine.name} ${another.why}: trying ${another.arguments.join(' ')}`);
        }
        tried = ways.arguments;
        name = await createOne(engine, request, names, tried).catch((error: unknown) => {
          throw noSuchRuntime(error) ? failed : error;
        });
        for (const files of copied) await copyInto(engine, name, files);
      }
    },
  };
}

async function createOne(
  engine: Engine,
  request: ContainerRequest,
  names: string[],
  ways: readonly string[],
): Promise<string> {
  const { env } = engine;
  const [file, ...args] = request.command;
  const network = request.network ? env['AIRBUNDLE_ENGINE_NETWORK'] : 'none';
  const name = `airbundle-${randomBytes(6).toString('hex')}-${request.role}`;
  names.push(name);
  // Without the signal: a create that is interrupted may still make the container, after its removal.
  const created = await run(
    [
      engine.name,
      ...['create', '--name', name, '--label', `${LABEL}=${owner}`, '--user', '0:0', '--workdir', '/'],
      ...LIMITS,
      ...ways,
      ...(network === undefined || network === '' ? [] : ['--network', network]),
      ...(request.network ? proxyArguments(env, network) : []),
      ...['--security-opt', 'no-new-privileges', '--entrypoint', file],
      ...engineArguments(env),
      ...[request.image, ...args],
    ],
    { env, detached: true },
  );
  throwIfAborted(engine);
  if (created.exitCode !== 0) throw engineFailed(engine, `create a container for "${request.role}"`, created);
  return name;
}

async function copyInto(engine: Engine, name: string, files: readonly FileIn[]): Promise<void> {
  const child = stream([engine.name, 'cp', '-', `${name}:/`], engine.env);
  child.stdout.resume();
  await withKill(engine, child, async () => {
    const sent = await pipeline(Readable.from(writeTar(files)), child.stdin).then(
      () => undefined,
      (error: unknown) => error,
    );
    const ended = await child.end;
    throwIfAborted(engine);
    if (ended.exitCode !== 0) throw copyFailed(engine, 'into', ended);
    if (sent !== undefined) throw sent as Error;
  });
}

/** What might help where a container did not start; undefined when nothing more is known. */
function anotherWay(
  tried: readonly string[],
  ended: RunResult,
): { readonly arguments: readonly string[]; readonly why: string } | undefined {
  const withRunc = tried.includes('runc');
  const withLimit = tried.includes('nproc=1024:1024');
  if (refusesCgroups(ended) && !withRunc)
    return {
      arguments: [...tried, ...RUNC],
      why: "has a runtime, crun, that refuses this machine's cgroups",
    };
  if (!refusesLimits(ended) || (withRunc && withLimit)) return undefined;
  return { arguments: [...tried, ...(withLimit ? RUNC : PROCESS_LIMIT)], why: 'may not raise limits here' };
}

/** podman: `default OCI runtime "runc" not found: invalid argument`; a remote one: `unknown flag: --runtime`. */
function noSuchRuntime(error: unknown): boolean {
  const said = error instanceof BundleError ? error.details.join('\n') : '';
  return /runtime "?runc"? not found|unknown flag: --runtime/i.test(said);
}

/** crun: "cgroups in hybrid mode not supported, drop all controllers from cgroupv2". */
function refusesCgroups(ended: RunResult): boolean {
  return /crun: .*cgroup/i.test(ended.stderr);
}

/** runc: "error setting rlimit type 6: operation not permitted"; crun: "setrlimit `RLIMIT_NPROC`: Operation not permitted". */
function refusesLimits(ended: RunResult): boolean {
  return /rlimit/i.test(ended.stderr) && /not permitted/i.test(ended.stderr);
}

/** AIRBUNDLE_ENGINE_ARGS, such as `--runtime runc --ulimit nproc=1024:1024` where crun may not set limits. */
function engineArguments(env: Readonly<Record<string, string>>): string[] {
  return (env['AIRBUNDLE_ENGINE_ARGS'] ?? '').split(/\s+/).filter((word) => word !== '');
}

/** The packager's proxy, unless it is this machine's own address, which means another thing in a container. */
function proxyArguments(env: Readonly<Record<string, string>>, network: string | undefined): string[] {
  const names = ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY'];
  return names
    .filter((name) => {
      const value = env[name] ?? '';
      return (
        value !== '' &&
        (network === 'host' || !/^(?:\w+:\/\/)?(?:[^@/]*@)?(?:localhost|127\.|\[::1\])/.test(value))
      );
    })
    .flatMap((name) => ['--env', name]);
}

async function withKill(engine: Engine, child: Streaming, work: () => Promise<void>): Promise<void> {
  const kill = (): void => {
    child.kill();
  };
  engine.signal?.addEventListener('abort', kill, { once: true });
  if (engine.signal?.aborted === true) kill();
  try {
    await work();
  } finally {
    engine.signal?.removeEventListener('abort', kill);
  }
}

/** @throws BundleError exit 6, INTERRUPTED */
export function throwIfAborted(engine: Engine): void {
  if (engine.signal?.aborted !== true) return;
  throw stepError({
    code: 'INTERRUPTED',
    message: 'collecting was interrupted; its containers were removed',
    hint: 'Run the command again: what was downloaded whole is in the cache.',
    cause: engine.signal.reason,
  });
}

export function engineFailed(engine: Engine, doing: string, result: RunResult): BundleError {
  return stepError({
    code: 'ENGINE_FAILED',
    message: `${engine.name} could not ${doing}: it ${outcome(result)}`,
    details: lastLines(result),
    hint: hintFor(engine, result),
  });
}

function hintFor(engine: Engine, result: RunResult): string {
  if (refusesCgroups(result))
    return 'crun cannot use the cgroups of this machine, and runc, which can, is not installed: apt-get install runc, or dnf install runc. Another runtime: AIRBUNDLE_ENGINE_ARGS="--runtime NAME". A remote podman is told where it runs: podman --runtime runc system service';
  if (/rlimit|ulimit/i.test(result.stderr))
    return 'The engine may not set limits here. Try, with runc installed: AIRBUNDLE_ENGINE_ARGS="--runtime runc --ulimit nproc=1024:1024". A remote podman takes them from where it runs: containers.conf, default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]';
  return `See what the engine says: ${engine.name} info`;
}

function copyFailed(
  engine: Engine,
  way: 'into' | 'out of',
  ended: { readonly exitCode: number | null; readonly stderr: string },
): BundleError {
  return stepError({
    code: 'ENGINE_FAILED',
    message: `${engine.name} could not copy files ${way} a container`,
    details: ended.stderr.trim().split('\n').slice(-5),
    hint: `Check the engine's disk: ${engine.name} system df`,
  });
}
