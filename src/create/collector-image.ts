import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { invalidError, refusedError, stepError } from '../errors.js';
import { lastLines } from '../host/process.js';
import type { RunResult } from '../host/process.js';
import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import type { Manifest } from '../model/manifest.js';
import { byCodePoint } from '../model/nevra.js';
import type { Step } from '../report.js';
import { engineFailed, throwIfAborted } from './engine.js';
import type { Engine } from './engine.js';
import { reasonOf } from './read-bounded.js';

export interface CollectorImage {
  /** The engine's own id of the image: names exactly one. */
  readonly id: string;
  readonly recorded: Contents['collector'];
}

export interface ImageRequest {
  readonly collector: Manifest['collector'];
  /** What `collector.dockerfile` is relative to. */
  readonly manifestDir: string;
  /** `--image`: an image by name, instead of the manifest's. */
  readonly image: string | undefined;
}

/** EL7 x86_64 is the only target; on an ARM machine the engine emulates it. */
const PLATFORM = ['--platform', 'linux/amd64'];

/**
 * Builds the manifest's image, or takes a named one (pulled when it is not there).
 * @throws BundleError exit 3: no such folder; exit 5: no such image; exit 6: the build failed
 */
export async function collectorImage(
  engine: Engine,
  request: ImageRequest,
  step: Step,
): Promise<CollectorImage> {
  const name = request.image ?? ('image' in request.collector ? request.collector.image : undefined);
  if (name !== undefined) return namedImage(engine, name, step);
  if ('dockerfile' in request.collector)
    return builtImage(engine, path.resolve(request.manifestDir, request.collector.dockerfile), step);
  throw new Error('a collector has a dockerfile or an image');
}

async function namedImage(engine: Engine, name: string, step: Step): Promise<CollectorImage> {
  let found = await inspect(engine, name);
  if (found === undefined) {
    step.note(`pulling ${name}`);
    const pulled = await engine.command(['pull', ...PLATFORM, name], {
      onLine: (line) => {
        step.note(line);
      },
    });
    throwIfAborted(engine);
    found = pulled.exitCode === 0 ? await inspect(engine, name) : undefined;
    if (found === undefined)
      throw refusedError({
        code: 'IMAGE_MISSING',
        message: `the image ${name} is not on this machine and could not be pulled`,
        details: lastLines(pulled, 5),
        hint: `Check the name, or load the image first: ${engine.name} load -i FILE`,
      });
  }
  // What was asked for, word by word, and nothing that this host knows about it: an id, or a registry's
  // digest that only a pulled image has, would make the bundle's bytes depend on the host (decision 0024).
  return { id: found.id, recorded: { image: name, contextSha256: null } };
}

async function builtImage(engine: Engine, folder: string, step: Step): Promise<CollectorImage> {
  const context = await readContext(folder);
  const recorded = { image: context.base, contextSha256: context.sha256 };
  const tag = `airbundle-collector:${context.sha256.slice(0, 16)}`;
  const known = await inspect(engine, tag);
  if (known?.context === context.sha256) return { id: known.id, recorded };

  const built = await engine.command(
    [
      ...['build', ...PLATFORM, '--tag', tag, '--label', `${CONTEXT_LABEL}=${context.sha256}`],
      ...networkOf(engine),
      folder,
    ],
    {
      onLine: (line) => {
        step.note(line);
      },
    },
  );
  throwIfAborted(engine);
  const image = built.exitCode === 0 ? await inspect(engine, tag) : undefined;
  if (image === undefined)
    throw stepError({
      code: 'IMAGE_BUILD_FAILED',
      message: `the collector image could not be built from ${folder}`,
      where: path.join(folder, 'Dockerfile'),
      details: lastLines(built),
      hint: `Try it by hand: ${engine.name} build ${folder}\nor give an image that is there: --image NAME`,
    });
  return { id: image.id, recorded };
}

const CONTEXT_LABEL = 'airbundle.context';

function networkOf(engine: Engine): string[] {
  const network = engine.env['AIRBUNDLE_ENGINE_NETWORK'];
  return network === undefined || network === '' ? [] : ['--network', network];
}

interface Inspected {
  readonly id: string;
  readonly context: string | undefined;
}

async function inspect(engine: Engine, name: string): Promise<Inspected | undefined> {
  const result = await engine.command(['image', 'inspect', name]);
  throwIfAborted(engine);
  if (result.exitCode !== 0) return undefined;
  const [image] = imagesOf(engine, result);
  if (image === undefined) return undefined;
  return {
    id: image.Id.startsWith('sha256:') ? image.Id : `sha256:${image.Id}`,
    context: image.Config?.Labels?.[CONTEXT_LABEL],
  };
}

interface ImageWords {
  readonly Id: string;
  readonly Config?: { readonly Labels?: Readonly<Record<string, string>> | null };
}

function imagesOf(engine: Engine, answer: RunResult): readonly ImageWords[] {
  try {
    return JSON.parse(answer.stdout) as readonly ImageWords[];
  } catch {
    throw engineFailed(engine, 'describe an image', answer);
  }
}

export interface BuildContext {
  /** Over `MODE SHA256 PATH` lines in path order; MODE is 755 or 644, so that a umask changes nothing. */
  readonly sha256: Sha256;
  /** The base image, as the Dockerfile's last FROM says it. */
  readonly base: string;
}

/** @throws BundleError exit 3 */
export async function readContext(folder: string): Promise<BuildContext> {
  // First of all: a mistaken "dockerfile: /" is not read to its end.
  const dockerfile = path.join(folder, 'Dockerfile');
  const text = await readFile(dockerfile, 'utf8').catch((cause: unknown) => {
    throw (cause as NodeJS.ErrnoException).code === 'ENOTDIR'
      ? badContext(
          folder,
          "the collector's folder is a file: name the folder that holds the Dockerfile",
          cause,
        )
      : badContext(dockerfile, `the collector's Dockerfile cannot be read: ${reasonOf(cause)}`, cause);
  });
  const base = baseOf(text);
  if (base === undefined) throw badContext(dockerfile, 'the Dockerfile names no base image (FROM)');
  const lines: string[] = [];
  for (const name of await filesBelow(folder)) {
    const file = path.join(folder, name);
    const { bytes, mode } = await readWithMode(file).catch((cause: unknown) => {
      throw badContext(file, `a file of the collector cannot be read: ${reasonOf(cause)}`, cause);
    });
    const digest = createHash('sha256').update(bytes).digest('hex');
    lines.push(`${(mode & 0o100) === 0 ? '644' : '755'} ${digest} ${name}\n`);
  }
  return { sha256: Sha256.parse(createHash('sha256').update(lines.join('')).digest('hex')), base };
}

async function readWithMode(file: string): Promise<{ readonly bytes: Buffer; readonly mode: number }> {
  return { bytes: await readFile(file), mode: (await stat(file)).mode };
}

/** `ARG BASE=centos:7.5.1804` + `FROM $BASE` is understood: a digest is pinned by changing the ARG. */
function baseOf(dockerfile: string): string | undefined {
  const args = new Map<string, string>();
  let base: string | undefined;
  for (const line of dockerfile.split('\n')) {
    const arg = /^\s*ARG\s+([A-Za-z_][A-Za-z0-9_]*)=(\S+)\s*$/i.exec(line);
    if (arg?.[1] !== undefined && arg[2] !== undefined && base === undefined) args.set(arg[1], arg[2]);
    const from = /^\s*FROM\s+(?:--\S+\s+)*(\S+)/i.exec(line)?.[1];
    if (from !== undefined)
      base = from.replace(/\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?/g, (_, name: string) => args.get(name) ?? '');
  }
  return base === '' ? undefined : base;
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw badContext(folder, "the collector's folder cannot be read", cause);
  });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      if (!entry.isFile()) throw badContext(file, "the collector's folder may hold plain files only");
      return path.relative(folder, file).split(path.sep).join('/');
    })
    .sort(byCodePoint);
}

function badContext(where: string, message: string, cause?: unknown): Error {
  return invalidError({
    code: 'BAD_COLLECTOR',
    message,
    where,
    hint: 'The manifest\'s "collector: { dockerfile: FOLDER }" is relative to the manifest; or give an image: --image NAME',
    ...(cause === undefined ? {} : { cause }),
  });
}
