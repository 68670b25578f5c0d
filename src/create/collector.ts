import { access, stat } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { stepError } from '../errors.js';
import { lastLines } from '../host/process.js';
import type { Sha256 } from '../model/grammar.js';
import type { Manifest } from '../model/manifest.js';
import type { Step } from '../report.js';
import { withoutCredentials } from './credentials.js';
import { engineFailed } from './engine.js';
import type { Container, CreateContainer, Engine } from './engine.js';
import { readText } from './engine-tar.js';
import type { FileIn } from './engine-tar.js';
import type { ClosureFacts, RpmFacts, YumFacts } from './judge.js';
import type { PublicKey } from './openpgp.js';
import type { Store } from './store.js';
import type { Seed, YumMemory } from './yum-memory.js';

/*
 * What runs in the containers. The scripts (dockerfiles/collector) gather facts; nothing is decided there,
 * and nothing here either: judge.ts decides.
 */

export interface Download {
  readonly name: string;
  readonly sha256: Sha256;
  readonly sizeBytes: number;
}

/** Where the repository's own metadata has a checksum. */
export interface Origin {
  readonly repository: string;
  readonly checksum: string;
  readonly path: string;
}

export interface YumRequest {
  readonly repositories: Manifest['repositories'];
  readonly keys: readonly PublicKey[];
  /** Names, or exact NEVRAs. */
  readonly packages: readonly string[];
  /** RPMs of the store that belong to the set: yum resolves with them, and does not download them. */
  readonly atHand: readonly Sha256[];
  /** What yum need not download again. */
  readonly memory: YumMemory;
  /** How long servers may send next to nothing; yum tries several times, each for a quarter of it. */
  readonly timeoutSeconds: number;
}

export interface YumResult extends YumFacts {
  readonly downloads: readonly Download[];
  readonly origins: readonly Origin[];
  /** How many of the downloads were seeds. */
  readonly reused: number;
  /** What the scripts ask to be told to the packager. */
  readonly warnings: readonly string[];
}

/** Facts about one RPM are small; more than this is not read. */
const MAX_FACTS_BYTES = 4 * 1024 * 1024;
const MAX_ORIGINS_BYTES = 16 * 1024 * 1024;

/** One yum run in a container with a network. RPMs go into the store as they come out; nothing is judged yet. */
export async function runYum(
  create: CreateContainer,
  image: string,
  store: Store,
  request: YumRequest,
  step: Step,
): Promise<YumResult> {
  const atHand = request.atHand.map((sha256) => ({
    path: `airbundle/at-hand/${sha256}.rpm`,
    from: store.path(sha256),
  }));
  const { memory } = request;
  // RPMs at hand and seeds do not go together: a seed may be another file of the same name.
  const seeds = request.atHand.length > 0 ? [] : memory.seeds;
  const container = await create({
    role: 'yum',
    image,
    network: true,
    command: [
      'sh',
      '/airbundle/collect.sh',
      ...yumArguments([...request.packages, ...atHand.map((file) => `/${file.path}`)]),
    ],
  });
  await container.copyIn([
    ...(await scripts('collect.sh', 'origins.py', 'plugins/airbundle.py', 'plugins/airbundle.conf')),
    ...keyFiles(request.keys),
    { path: 'airbundle/yum.conf', text: yumConf(request.repositories, request.keys, request.timeoutSeconds) },
    ...atHand,
    ...seeds.map(({ name, sha256 }) => ({ path: `airbundle/rpms/${name}`, from: store.path(sha256) })),
    { path: 'airbundle/seeds', text: seeds.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('') },
    ...(memory.metadataFile === undefined
      ? []
      : [{ path: 'airbundle/metadata.tar', from: memory.metadataFile }]),
  ]);

  const ended = await container.run((line) => {
    const count = /^\((\d+)\/(\d+)\): (\S+)/.exec(line);
    if (count === null) step.note(withoutCredentials(line).slice(0, 100));
    else {
      step.progress({ done: Number(count[1]), total: Number(count[2]), unit: 'items' });
      step.note(count[3] ?? '');
    }
  });
  const facts = { exitCode: ended.exitCode ?? -1, stdout: ended.stdout, stderr: ended.stderr };
  if (ended.exitCode !== 0) {
    await memory.forgetMetadata();
    return { ...facts, files: [], downloads: [], origins: [], reused: 0, warnings: [] };
  }

  const files: string[] = [];
  const downloads: Download[] = [];
  await container.copyOut('/airbundle/rpms', async (member) => {
    const name = member.path.replace(/^rpms\/?/, '');
    if (member.type === 'folder' && name === '') return;
    files.push(name);
    if (member.type !== 'file' || !/^[^/]+\.rpm$/.test(name)) return;
    step.note(name);
    downloads.push({ name, ...(await store.put(member.bytes)) });
  });
  const reused = await readReused(container, seeds);
  for (const { name, sha256 } of reused) {
    files.push(name);
    downloads.push({ name, sha256, sizeBytes: (await stat(store.path(sha256))).size });
  }
  await keepMetadata(container, memory);
  return {
    ...facts,
    files,
    downloads,
    origins: await readOrigins(container, request.repositories),
    reused: reused.length,
    warnings: [...ended.stderr.matchAll(/^airbundle: warning: (.+)$/gm)].map(([, text = '']) => text),
  };
}

async function readReused(container: Container, seeds: readonly Seed[]): Promise<Seed[]> {
  if (seeds.length === 0) return [];
  let text = '';
  await container.copyOut('/airbundle/reused', async (member) => {
    text = await readText(member, MAX_ORIGINS_BYTES);
  });
  const wanted = new Set(text.split('\n'));
  return seeds.filter(({ name }) => wanted.has(name));
}

/** Only saves time: without it the next run downloads the metadata again. */
async function keepMetadata(container: Container, memory: YumMemory): Promise<void> {
  await container
    .copyOut('/airbundle/metadata.tar', async (member) => {
      if (member.type === 'file') await memory.keepMetadata(member.bytes);
    })
    .catch(() => undefined);
}

async function readOrigins(container: Container, repositories: Manifest['repositories']): Promise<Origin[]> {
  let text = '';
  await container.copyOut('/airbundle/origins', async (member) => {
    text = await readText(member, MAX_ORIGINS_BYTES);
  });
  return text.split('\n').flatMap((line): Origin[] => {
    const [folder = '', , checksum = '', relative = ''] = line.split('\t');
    // dnf's cache folder is ID-HASH, yum's is ID.
    const repository = repositories.find(
      ({ id }) => folder === id || folder.replace(/-[0-9a-f]{16}$/, '') === id,
    );
    return repository === undefined || relative === ''
      ? []
      : [{ repository: repository.id, checksum, path: relative }];
  });
}

/**
 * yum's arguments. The root is empty, so the closure does not depend on what the image holds; a name
 * that is not there must fail the run (yum's default is rc 0); no plugin, no repository of the image.
 */
export function yumArguments(packages: readonly string[]): string[] {
  return [
    ...['-y', '-c', '/airbundle/yum.conf'],
    ...['--setopt=reposdir=/dev/null', '--setopt=skip_missing_names_on_install=0'],
    ...['--installroot=/airbundle/root', '--releasever=7'],
    ...['install', '--downloadonly', '--downloaddir=/airbundle/rpms'],
    ...packages,
  ];
}

/** Only the manifest's repositories and keys. yum ignores the lines that only dnf knows, and the other way round. */
export function yumConf(
  repositories: Manifest['repositories'],
  keys: readonly PublicKey[],
  timeoutSeconds = 120,
): string {
  const gpgkey = keys.map((key) => `file:///airbundle/${keyPath(key)}`).join(' ');
  return [
    '[main]',
    'cachedir=/airbundle/cache',
    'reposdir=/dev/null',
    'keepcache=0',
    // Ours alone, not the image's.
    'plugins=1',
    'pluginpath=/airbundle/plugins',
    'pluginconfpath=/airbundle/plugins',
    // The repository is asked each time whether its metadata is still the cached one.
    'metadata_expire=0',
    'gpgcheck=1',
    'exclude=*.i?86',
    'multilib_policy=best',
    'skip_missing_names_on_install=0',
    'deltarpm=0',
    'install_weak_deps=0',
    'strict=1',
    'retries=5',
    // Less than minrate bytes a second for so long ends a try; it is also the limit for connecting.
    'minrate=1000',
    `timeout=${String(Math.ceil(timeoutSeconds / 4))}`,
    '',
    ...repositories.flatMap(({ id, url }) => [
      `[${id}]`,
      `name=${id}`,
      `baseurl=${url}`,
      'enabled=1',
      'gpgcheck=1',
      `gpgkey=${gpgkey}`,
      '',
    ]),
  ].join('\n');
}

export interface ExamineRequest {
  readonly keys: readonly PublicKey[];
  readonly rpms: readonly { readonly sha256: Sha256; readonly name: string }[];
}

export interface ExamineResult {
  readonly rpms: readonly RpmFacts[];
  /** undefined when it was not tried because a file is no RPM. */
  readonly closure: ClosureFacts | undefined;
}

/**
 * Facts about RPMs of the store, from a container without network. They go in under their digest, which
 * is computed again in there: what was examined is what the store holds.
 */
export async function examine(
  engine: Engine,
  container: Container,
  store: Store,
  request: ExamineRequest,
  step: Step,
): Promise<ExamineResult> {
  const total = request.rpms.length;
  await container.copyIn([
    ...(await scripts('examine.sh', 'examine-some.sh')),
    ...keyFiles(request.keys),
    ...request.rpms.map(({ sha256 }) => ({ path: `airbundle/rpms/${sha256}.rpm`, from: store.path(sha256) })),
  ]);
  let done = 0;
  const ended = await container.run((line) => {
    if (!line.startsWith('examined ')) return;
    done += 1;
    step.progress({ done, total, unit: 'items' });
  });
  if (ended.exitCode === 100)
    throw stepError({
      code: 'COLLECTOR_UNFIT',
      message: 'the collector image has no rpm',
      hint: 'Give an image with yum and rpm, such as the one from dockerfiles/centos-7.5.',
    });
  if (ended.exitCode !== 0) throw engineFailed(engine, 'examine the packages', ended);

  const out = new Map<string, string>();
  await container.copyOut('/airbundle/out', async (member) => {
    if (member.type === 'file')
      out.set(member.path.replace(/^out\//, ''), await readText(member, MAX_FACTS_BYTES));
  });
  const keysTaken = (out.get('keys') ?? '').split('\n').filter((line) => line !== '');
  if (keysTaken.length !== request.keys.length)
    throw stepError({
      code: 'COLLECTOR_UNFIT',
      message: `rpm took ${String(keysTaken.length)} of the ${String(request.keys.length)} pinned keys`,
      details: lastLines(ended, 10),
      hint: 'Is a key there twice, or of a kind that this rpm does not know?',
    });

  const rpms = request.rpms.map(({ sha256, name }): RpmFacts => {
    const fact = (file: string): string => out.get(`rpms/${sha256}/${file}`) ?? '';
    return {
      name,
      sha256,
      computedSha256: fact('sha256').trim(),
      magic: fact('magic'),
      checkExitCode: Number(fact('check.rc') === '' ? NaN : fact('check.rc')),
      check: fact('check.out'),
      header: fact('header'),
    };
  });
  const closureExitCode = out.get('closure.rc');
  return {
    rpms,
    closure:
      closureExitCode === undefined
        ? undefined
        : { exitCode: Number(closureExitCode), output: out.get('closure.out') ?? '' },
  };
}

function keyPath(key: PublicKey): string {
  return `keys/${key.fingerprint}.asc`;
}

function keyFiles(keys: readonly PublicKey[]): FileIn[] {
  return keys.map((key) => ({ path: `airbundle/${keyPath(key)}`, text: key.armored }));
}

async function scripts(...names: readonly string[]): Promise<FileIn[]> {
  const folder = await scriptsFolder();
  return names.map((name) => ({ path: `airbundle/${name}`, from: path.join(folder, name) }));
}

/** dockerfiles/collector of this package: this file is in src/create, or bundled into build. */
async function scriptsFolder(): Promise<string> {
  let at = path.dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const folder = path.join(at, 'dockerfiles', 'collector');
    const found = await access(path.join(folder, 'examine.sh')).then(
      () => true,
      () => false,
    );
    if (found) return folder;
    if (path.dirname(at) === at) throw new Error('dockerfiles/collector is missing from this installation');
    at = path.dirname(at);
  }
}
