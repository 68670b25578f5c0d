import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { LabError } from '../errors.js';
import { hashOf } from '../hash.js';
import { collectorImage } from '../images.js';
import { LAB, ROOT } from '../paths.js';
import { labRepository } from '../repository.js';
import { serveRepository } from '../serve.js';
import type { LabSource, LabSources } from '../sources.js';
import { labSources } from '../sources.js';
import { labManifest } from './manifest.js';

const Created = z.object({
  folder: z.string(),
  stem: z.string(),
  state: z.string(),
  payloadSha256: z.string(),
  payloadBytes: z.number(),
  keyId: z.string(),
  rpms: z.number(),
  sources: z.number(),
  lockWritten: z.boolean(),
  timings: z.record(z.string(), z.number()),
});

/** A bundle as the packager has it, and what was needed to make it. */
export interface PackedBundle extends z.infer<typeof Created> {
  /** Where everything of this set of inputs lies on this host. */
  readonly work: string;
  readonly publicKey: string;
  readonly fingerprint: string;
  readonly createMs: number;
}

export interface PackagerOptions {
  /** A folder with clones of the real upstreams; Debian's sources otherwise. */
  readonly clones?: string;
  /** The folder of the manifest and its templates; default: the shipped ones. */
  readonly manifests?: string;
  /** Where manifest, lock, keys and bundle go; default: a folder of its own for each set of inputs, kept. */
  readonly work?: string;
  /** The product's cache; default: the lab's, kept. */
  readonly cache?: string;
  /** Lines of the product's own progress; default: this process's stderr. */
  readonly quiet?: boolean;
}

/** The built command, as it would be installed. */
export const CLI = join(ROOT, 'build', 'cli.js');

/** What a packager types, on the lab's repository and sources: `bundle keygen` once, `bundle create`. */
export async function packager(
  options: PackagerOptions = {},
): Promise<PackedBundle & { readonly sources_: LabSources }> {
  const sources = await labSources(options.clones);
  return { ...(await packed('tts-ha', sources, options)), sources_: sources };
}

/**
 * The same for any shipped manifest.
 * @param name NAME.yaml in the folder of manifests
 * @throws LabError with the command's output
 */
export async function packed(
  name: string,
  sources: Readonly<Record<string, LabSource>>,
  options: PackagerOptions = {},
): Promise<PackedBundle> {
  const repository = await labRepository();
  const image = await collectorImage();
  // A lock belongs to one set of inputs; the address of a source is one of them.
  const origins = Object.values(sources).flatMap((source) => [source.url, source.commit]);
  const inputs = hashOf([name, repository.identity, ...origins]).slice(0, 12);
  const work = options.work ?? join(LAB, 'demo', inputs);
  await mkdir(work, { recursive: true });
  const served = await serveRepository(repository);
  try {
    const manifests = options.manifests ?? join(ROOT, 'manifests');
    const manifest = await labManifest(name, manifests, repository, served.url, sources, work);
    const keys = join(work, 'keys', 'packager');
    if (!(await exists(`${keys}.key.pem`))) await bundle(['keygen', '--out', keys], true);
    const startMs = performance.now();
    const text = await bundle(
      [
        ...['create', manifest, '--key', `${keys}.key.pem`, '--image', image, '-o', 'json'],
        ...[
          '--out',
          join(work, 'dist'),
          '--cache',
          options.cache ?? join(LAB, 'cache', 'product'),
          '--force',
        ],
      ],
      options.quiet === true,
    );
    const createMs = performance.now() - startMs;
    const created = Created.parse(JSON.parse(text));
    const publicKey = `${keys}.pub.pem`;
    return { ...created, work, publicKey, fingerprint: await fingerprintOf(publicKey), createMs };
  } finally {
    await served.close();
  }
}

/** Runs the built command; @returns its stdout. */
async function bundle(words: readonly string[], quiet: boolean): Promise<string> {
  const done = await execa(process.execPath, [CLI, ...words], {
    reject: false,
    stderr: quiet ? 'pipe' : 'inherit',
  });
  if (done.exitCode === 0) return done.stdout;
  throw new LabError(
    `bundle ${words[0] ?? ''} ended with exit code ${String(done.exitCode)}`,
    `${done.stdout}\n${quiet ? done.stderr : ''}`,
  );
}

/** As a person computes it, with openssl: not by the product's own code. */
async function fingerprintOf(publicKey: string): Promise<string> {
  const der = await execa('openssl', ['pkey', '-pubin', '-in', publicKey, '-outform', 'DER'], {
    encoding: 'buffer',
    // A DER that ends with the byte 0x0a would lose it.
    stripFinalNewline: false,
  });
  return (await execa('sha256sum', { input: der.stdout })).stdout.split(' ')[0] ?? '';
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** The files of a bundle folder with their sizes, for a person. */
export async function listing(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(
    names.map(async (name) => `${String((await stat(join(folder, name))).size).padStart(12)}  ${name}`),
  );
}
