import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readPublicKey } from '../../src/create/openpgp.js';
import { makeRepository, sha256Of } from '../create/create-support.js';
import { collectorImage } from '../lab/images.js';
import { ROOT } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import { serveRepository } from '../lab/serve.js';
import type { ServedFolder } from '../lab/serve.js';

/** The lab's signed repository, a small git source and a runtime, for the real command. */
export interface CreateSetting {
  readonly folder: string;
  readonly out: string;
  readonly cache: string;
  readonly image: string;
  readonly manifest: string;
  readonly served: ServedFolder;
  /** Value of the label that every container of this setting has. */
  readonly label: string;
  env(more?: Readonly<Record<string, string>>): Record<string, string>;
  /** Words of `bundle create`. */
  words(more?: Readonly<{ out?: string; cache?: string; image?: string }>): string[];
  start(words: readonly string[], env?: Record<string, string>): Started;
  close(): Promise<void>;
}

export interface Started {
  readonly child: ChildProcess;
  readonly end: Promise<{
    readonly exitCode: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }>;
}

const CLI = path.join(ROOT, 'src', 'cli.ts');
const TSX = path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs');

export async function createSetting(): Promise<CreateSetting> {
  const folder = await mkdtemp(path.join(tmpdir(), 'create-e2e-'));
  const lab = await labRepository();
  const image = await collectorImage();
  const served = await serveRepository({ dir: lab.dir });
  const upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({
    'a.c': 'int a;\n',
    VERSION: '$Format:%h$\n',
    '.gitattributes': 'VERSION export-subst\n',
  });
  upstream.git('tag', 'v1.0');
  const { fingerprint } = readPublicKey(readFileSync(lab.keyFile), lab.keyFile);
  // The runtime may be any file: the repository's own key is served already.
  const runtime = path.basename(lab.keyFile);
  const manifest = path.join(folder, 'it.yaml');
  await writeFile(
    manifest,
    `airbundle: 1
name: it
version: "1"
sequence: 1
target: { os: el7, arch: x86_64 }
collector: { image: "${image}" }
repositories: [{ id: lab, url: "${served.url}" }]
keys: [{ fingerprint: "${fingerprint}", file: "${lab.keyFile}" }]
runtime: { url: "${served.url}${runtime}", sha256: ${sha256Of(readFileSync(lab.keyFile))}, version: "1.0" }
components:
  - name: c
    version: "1"
    licence: MIT
    packages: [zlib-devel, make]
    source: { git: ./upstream, ref: v1.0 }
    build: [[make]]
    install: [make, install]
    files: [/usr/bin/c]
`,
  );
  const label = path.basename(folder);
  const env = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? '/',
    AIRBUNDLE_ENGINE_ARGS: `--label airbundle.test=${label}`,
    ...more,
  });
  const start: CreateSetting['start'] = (words, given = env()) => {
    const child = spawn(process.execPath, ['--import', TSX, CLI, ...words], {
      env: given,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const end = new Promise<{ exitCode: number | null; stdout: string; stderr: string }>((resolve) => {
      child.on('exit', (exitCode) => {
        resolve({ exitCode, stdout, stderr });
      });
    });
    return { child, end };
  };
  const key = path.join(folder, 'packager');
  execFileSync(process.execPath, ['--import', TSX, CLI, 'keygen', '--out', key], { stdio: 'ignore' });
  return {
    folder,
    out: path.join(folder, 'dist'),
    cache: path.join(folder, 'cache'),
    image,
    manifest,
    served,
    label,
    env,
    words: (more = {}) => [
      ...['create', manifest, '--key', `${key}.key.pem`, '-o', 'json'],
      ...[
        '--out',
        more.out ?? path.join(folder, 'dist'),
        '--cache',
        more.cache ?? path.join(folder, 'cache'),
      ],
      ...(more.image === undefined ? [] : ['--image', more.image]),
    ],
    start,
    async close() {
      await served.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
