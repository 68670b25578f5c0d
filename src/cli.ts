import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, oneOf, reporterFor, runProgram } from './commandline.js';
import type { CreateResult } from './create/create.js';
import type { CacheEntry } from './create/cache.js';
import type { SignResult } from './create/sign-folder.js';
import { usageError } from './errors.js';
import type { Host } from './host/host.js';
import type { Dial } from './host/remote.js';
import { formatFingerprint } from './model/signature.js';
import { formatBytes } from './report.js';
import { askNewPassphrase, askPassphrase, hasTerminal } from './terminal.js';

// What one command needs is loaded by that command: most of a start is reading modules (docs/performance.md).

/** The folder of the package: src/ when run from source, build/ when built. */
const packageFolder = join(dirname(fileURLToPath(import.meta.url)), '..');

interface CollectOptions extends CommonOptions {
  readonly engine?: 'docker' | 'podman';
  readonly image?: string;
  readonly cache?: string;
  readonly trustHttp?: readonly string[];
}

interface CreateOptions extends CollectOptions {
  readonly key?: string;
  readonly sign: boolean;
  readonly passphraseFile?: string;
  readonly out: string;
  readonly force?: boolean;
  readonly locked?: boolean;
}

/** Flag over environment; no variable here affects trust. */
function environment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function version(): string {
  const text: unknown = JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8'));
  return typeof text === 'object' && text !== null && 'version' in text ? String(text.version) : 'unknown';
}

/** @param word the command that was typed; unless it is known, every command is there */
async function program(word: string | undefined): Promise<Command> {
  const root = new Command('bundle')
    .description(
      'Makes a signed bundle of RPMs, pinned sources and an installer, for hosts without internet.',
    )
    .version(version());
  commonOptions(root.command('init'))
    .description('write a commented manifest, its templates and a site to start from')
    .argument('[folder]', 'where to; nothing that is there is overwritten', '.')
    .addHelpText('after', '\nExample:\n  bundle init my-bundle')
    .action(runInit);
  commonOptions(root.command('keygen'))
    .description('make a signing key: PREFIX.key.pem (keep it) and PREFIX.pub.pem (hand it out)')
    .requiredOption('--out <prefix>', 'where the two files go, for example keys/packager')
    .option('--passphrase-file <file>', 'encrypt the private key with the first line of this file')
    .addOption(
      new Option('--passphrase', 'encrypt the private key; the passphrase is asked for, twice').conflicts(
        'passphraseFile',
      ),
    )
    .addHelpText('after', '\nExample:\n  bundle keygen --out keys/packager --passphrase')
    .action(runKeygen);
  collectOptions(root.command('lock'))
    .description('write the exact packages, commits and digests to the lock; what still fits stays')
    .argument('[components...]', 'with --update: renew only these')
    .option('--update', 'take what the origins have now, also where the lock fits')
    .addHelpText(
      'after',
      '\nExamples:\n  bundle lock manifests/tts-ha.yaml\n  bundle lock manifests/tts-ha.yaml --update COMPONENT',
    )
    .action(runLock);
  collectOptions(root.command('create'))
    .description('collect, pack and sign: writes OUT/NAME-VERSION-el7.x86_64/')
    .option('--key <file>', 'the signing key that "bundle keygen" made')
    .option('--no-sign', 'write the folder without a signature; the key is on another machine')
    .option('--passphrase-file <file>', "the key's passphrase, on the first line; asked for otherwise")
    .option('--out <folder>', 'where the folder of the bundle goes', process.env['AIRBUNDLE_OUT'] ?? 'dist')
    .option('--locked', 'refuse to write the lock: it must be there and fit the manifest')
    .option('--force', 'replace a bundle of the same name that has other bytes')
    .addHelpText('after', '\nExample:\n  bundle create manifests/tts-ha.yaml --key keys/packager.key.pem')
    .action(runCreate);
  commonOptions(root.command('sign'))
    .description("add one more signer's signature to a folder whose files agree with its checksums")
    .argument('<bundle>', 'the folder of the bundle; or its X.sha256 alone, where the key is')
    .requiredOption('--key <file>', 'the signing key that "bundle keygen" made')
    .option('--passphrase-file <file>', "the key's passphrase, on the first line; asked for otherwise")
    .addHelpText(
      'after',
      [
        '\nExamples:',
        '  bundle sign dist/tts-ha-1.0.1-el7.x86_64 --key keys/security.key.pem',
        '  bundle sign /media/usb/tts-ha-1.0.1-el7.x86_64.sha256 --key keys/security.key.pem',
      ].join('\n'),
    )
    .action(runSign);
  const own = ['cache', '--version', '-V', ...root.commands.map((command) => command.name())];
  if (word === undefined || !own.includes(word)) {
    const named = GROUPS.filter(({ commands }) => word !== undefined && commands.includes(word));
    for (const group of named.length > 0 ? named : GROUPS) await group.add(root);
  }
  cacheCommands(root.command('cache').description('what is kept between runs'));
  return root;
}

/** In the order of the help. */
const GROUPS: readonly { readonly commands: readonly string[]; add(root: Command): Promise<void> }[] = [
  {
    commands: ['deploy', 'status'],
    async add(root) {
      const { deployCommand, siteStatusCommand } = await import('./rollout-commands.js');
      const dial: Dial = async (given) => (await import('./host/ssh.js')).dialSsh(given);
      const setting = { host: await hostHere(), dial };
      deployCommand(root, setting);
      siteStatusCommand(root, setting);
    },
  },
  {
    commands: ['plan'],
    async add(root) {
      (await import('./plan-commands.js')).deskPlanCommand(root, await hostHere());
    },
  },
  {
    commands: ['export'],
    async add(root) {
      (await import('./export-commands.js')).exportCommands(root, version);
    },
  },
  {
    commands: ['receipts'],
    async add(root) {
      (await import('./receipt-commands.js')).receiptReviewCommands(root, { host: await hostHere() });
    },
  },
  {
    commands: ['verify', 'inspect'],
    async add(root) {
      (await import('./review-commands.js')).reviewCommands(root, {
        host: await hostHere(),
        trustStore: false,
      });
    },
  },
];

async function hostHere(): Promise<() => Host> {
  return (await import('./host/local.js')).localHost;
}

function cacheCommands(cache: Command): void {
  const folder = (command: Command): Command =>
    commonOptions(command).option('--cache <folder>', 'the cache (AIRBUNDLE_CACHE)');
  folder(cache.command('list'))
    .description('every entry: size, last use, what it is')
    .addHelpText('after', '\nExample:\n  bundle cache list')
    .action(runCacheList);
  folder(cache.command('prune'))
    .description('remove what has not been used for a time and none of these locks needs')
    .argument('[locks...]', 'locks whose packages, sources and runtime stay')
    .option('--older-than <days>', 'unused for so many days; 0 for all', wholeNumber, 30)
    .option('--dry-run', 'only say what would go')
    .addHelpText(
      'after',
      '\nExample:\n  bundle cache prune manifests/tts-ha.lock.json --older-than 0 --dry-run',
    )
    .action(runCachePrune);
}

function wholeNumber(text: string): number {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not a number of days`);
}

function collectOptions(command: Command): Command {
  return commonOptions(command)
    .argument('<manifest>', 'the manifest, a YAML file')
    .option(
      '--engine <name>',
      'docker or podman; found by itself otherwise (AIRBUNDLE_ENGINE)',
      oneOf('docker', 'podman'),
    )
    .option(
      '--image <name>',
      "a collector image that is there already, instead of the manifest's (AIRBUNDLE_IMAGE)",
    )
    .option('--cache <folder>', 'downloads, sources and packages between runs (AIRBUNDLE_CACHE)')
    .option(
      '--trust-http <component>',
      "take this component's commit over plain http (or git://) as it comes the first time, and lock it (can be repeated)",
      (name: string, names: readonly string[] | undefined) => [...(names ?? []), name],
    );
}

async function runInit(folder: string, options: CommonOptions): Promise<void> {
  const { initFolder } = await import('./create/init.js');
  const written = await initFolder(packageFolder, folder);
  if (options.output === 'json') {
    print(`${JSON.stringify({ folder, written }, null, 2)}\n`);
    return;
  }
  print(
    [
      ...written.map((file) => join(folder, file)),
      `Next: change what is marked with "<--" in ${join(folder, 'manifest.yaml')}, then: bundle keygen, bundle create.`,
      '',
    ].join('\n'),
  );
}

async function runKeygen(
  options: CommonOptions & {
    readonly out: string;
    readonly passphraseFile?: string;
    readonly passphrase?: boolean;
  },
): Promise<void> {
  const asks = options.passphrase === true;
  if (asks && !hasTerminal())
    throw usageError({
      code: 'NO_TERMINAL',
      message: 'there is no terminal to ask for the passphrase on; no key was made',
      hint: 'Give --passphrase-file FILE.',
    });
  const { keygen } = await import('./create/keys.js');
  const made = await keygen({
    prefix: options.out,
    ...(options.passphraseFile === undefined ? {} : { passphraseFile: options.passphraseFile }),
    ...(asks ? { askPassphrase: askNewPassphrase } : {}),
  });
  if (options.output === 'json') {
    print(`${JSON.stringify(made, null, 2)}\n`);
    return;
  }
  print(
    [
      `private key  ${made.keyPath}   keep it off the medium; it signs releases`,
      `public key   ${made.publicKeyPath}   hand it to whoever installs`,
      `key id       ${made.keyId}`,
      `fingerprint  ${formatFingerprint(made.fingerprint)}`,
      'Tell the fingerprint to whoever installs by another way than the medium (telephone, letter).',
      '',
    ].join('\n'),
  );
}

/** What lock and create have in common: where things are, and how they are stopped. */
async function collection(manifest: string, options: CollectOptions) {
  const { defaultCacheDirectory } = await import('./create/store.js');
  const env = environment();
  const engine = options.engine ?? engineOf(env['AIRBUNDLE_ENGINE']);
  const image = options.image ?? env['AIRBUNDLE_IMAGE'];
  const stop = new AbortController();
  let signals = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      signals += 1;
      if (signals === 1)
        process.stderr.write(`${signal}: stopping; containers and temporary files are removed\n`);
      stop.abort(new Error(signal));
    });
  return {
    manifestPath: manifest,
    cacheDir: options.cache ?? env['AIRBUNDLE_CACHE'] ?? defaultCacheDirectory(env, homedir()),
    env,
    signal: stop.signal,
    ...(engine === undefined ? {} : { engine }),
    ...(image === undefined ? {} : { image }),
    ...(options.trustHttp === undefined ? {} : { trustHttp: options.trustHttp }),
  };
}

function engineOf(text: string | undefined): 'docker' | 'podman' | undefined {
  if (text === undefined || text === 'docker' || text === 'podman') return text;
  throw usageError({
    code: 'COMMAND_LINE',
    message: `"${text}" is none of: docker, podman`,
    where: 'the environment variable AIRBUNDLE_ENGINE',
    hint: 'Set it to one of them, or leave it out and the engine is found by itself: unset AIRBUNDLE_ENGINE',
  });
}

async function runLock(
  manifest: string,
  components: readonly string[],
  options: CollectOptions & { readonly update?: boolean },
): Promise<void> {
  if (components.length > 0 && options.update !== true)
    throw usageError({
      code: 'COMPONENTS_WITHOUT_UPDATE',
      message: 'components are named to renew them, and nothing says so',
      hint: `bundle lock ${manifest} --update ${components.join(' ')}`,
    });
  const update = components.length > 0 ? components : 'all';
  const reporter = reporterFor(options, process.env);
  try {
    const { lockManifest } = await import('./create/create.js');
    const locked = await lockManifest({
      ...(await collection(manifest, options)),
      ...(options.update === true ? { update } : {}),
      reporter,
    });
    print(
      options.output === 'json'
        ? `${JSON.stringify(locked, null, 2)}\n`
        : [
            `${locked.lockWritten ? 'locked' : 'the lock fits already'}: ${locked.lockPath}`,
            ...locked.lockChanges.map((line) => `  ${line}`),
            '',
          ].join('\n'),
    );
  } finally {
    reporter.close();
  }
}

/** Where a signing key's passphrase comes from. */
function passphraseSource({ passphraseFile }: { readonly passphraseFile?: string }) {
  return {
    ...(passphraseFile === undefined ? {} : { passphraseFile }),
    ...(hasTerminal() ? { askPassphrase } : {}),
  };
}

function requireOneOf({ key, sign }: CreateOptions): void {
  if (sign === (key !== undefined)) return;
  throw usageError({
    code: sign ? 'NO_KEY' : 'KEY_AND_NO_SIGN',
    message: sign
      ? 'nothing says who signs the bundle'
      : '--no-sign signs nothing; --key is for the other way',
    hint: sign
      ? 'Give the key: --key keys/packager.key.pem. When it is on another machine: --no-sign'
      : 'Leave out one of the two.',
  });
}

async function runCreate(manifest: string, options: CreateOptions): Promise<void> {
  requireOneOf(options);
  const reporter = reporterFor(options, process.env);
  try {
    const { createBundle } = await import('./create/create.js');
    const result = await createBundle({
      ...(await collection(manifest, options)),
      out: options.out,
      keyPath: options.key,
      ...passphraseSource(options),
      ...(options.force === undefined ? {} : { force: options.force }),
      ...(options.locked === undefined ? {} : { locked: options.locked }),
      installerPath: join(packageFolder, 'build', 'installer.cjs'),
      deployPath: join(packageFolder, 'build', 'deploy.cjs'),
      installShPath: join(packageFolder, 'build', 'install.sh'),
      reporter,
    });
    print(options.output === 'json' ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
  } finally {
    reporter.close();
  }
}

async function runSign(
  bundle: string,
  options: CommonOptions & { readonly key: string; readonly passphraseFile?: string },
): Promise<void> {
  const reporter = reporterFor(options, process.env);
  try {
    const { signBundle } = await import('./create/sign-folder.js');
    const signed = await signBundle((await hostHere())(), {
      bundle,
      keyPath: options.key,
      ...passphraseSource(options),
      reporter,
    });
    print(options.output === 'json' ? `${JSON.stringify(signed, null, 2)}\n` : await describeSigned(signed));
  } finally {
    reporter.close();
  }
}

async function describeSigned(signed: SignResult): Promise<string> {
  const { releaseWords } = await import('./review/verify.js');
  const { checksums, digest, state } = signed;
  return [
    `${state === 'same' ? 'was signed by this key already' : 'signed'}: ${releaseWords(checksums)}`,
    `  checksums    sha256 ${digest}   the signature is over this file`,
    ...checksums.files.map((file) => `  sha256       ${file.sha256}  ${file.name}`),
    `  key id       ${signed.keyId}`,
    `  fingerprint  ${formatFingerprint(signed.fingerprint)}`,
    `  signature    ${signed.signaturePath}`,
    ...(signed.unchecked.length === 0
      ? []
      : [
          `Not checked, since not all of them are here: ${signed.unchecked.join(' and ')}.`,
          'Compare the digest of the checksums with what the packager told you, and put the signature file into the folder of the bundle.',
        ]),
    '',
  ].join('\n');
}

interface CacheOptions extends CommonOptions {
  readonly cache?: string;
}

async function cacheFolder(options: CacheOptions): Promise<string> {
  const { defaultCacheDirectory } = await import('./create/store.js');
  const env = environment();
  return options.cache ?? env['AIRBUNDLE_CACHE'] ?? defaultCacheDirectory(env, homedir());
}

async function runCacheList(options: CacheOptions): Promise<void> {
  const { listCache } = await import('./create/cache.js');
  const list = await listCache(await cacheFolder(options));
  print(
    options.output === 'json'
      ? `${JSON.stringify(list, null, 2)}\n`
      : [
          ...list.entries.map(cacheLine),
          `${String(list.entries.length)} entries, ${formatBytes(list.sizeBytes)} in ${list.cacheDir}`,
          '',
        ].join('\n'),
  );
}

async function runCachePrune(
  locks: readonly string[],
  options: CacheOptions & { readonly olderThan: number; readonly dryRun?: boolean },
): Promise<void> {
  const { pruneCache } = await import('./create/cache.js');
  const result = await pruneCache({
    cacheDir: await cacheFolder(options),
    lockPaths: locks,
    olderThanDays: options.olderThan,
    dryRun: options.dryRun === true,
    nowMs: Date.now(),
  });
  print(
    options.output === 'json'
      ? `${JSON.stringify(result, null, 2)}\n`
      : [
          ...result.removed.map(cacheLine),
          `${result.dryRun ? 'would remove' : 'removed'} ${String(result.removed.length)} entries, ${formatBytes(result.removedBytes)}; ${formatBytes(result.keptBytes)} stay in ${result.cacheDir}`,
          '',
        ].join('\n'),
  );
}

function cacheLine({ kind, name, sha256, sizeBytes, usedAt }: CacheEntry): string {
  const days = Math.max(0, Math.floor((Date.now() - Date.parse(usedAt)) / 86_400_000));
  const age = days === 0 ? 'today' : `${String(days)} d ago`;
  return `${kind.padEnd(7)} ${formatBytes(sizeBytes).padStart(10)}  ${age.padStart(10)}  ${(sha256 ?? '').slice(0, 12).padEnd(12)}  ${name}`.trimEnd();
}

function describe(result: CreateResult): string {
  const { keyId, stem } = result;
  const near = relative(process.cwd(), result.folder);
  const folder = near.startsWith('..') ? result.folder : near;
  return [
    `${folder}/`,
    `  ${result.stem}.tar  ${formatBytes(result.payloadBytes)}  sha256 ${result.payloadSha256}`,
    `  ${String(result.rpms)} RPMs, ${String(result.sources)} sources, ${keyId === undefined ? 'not signed here' : `signed by ${keyId}`}`,
    ...(result.lockWritten ? [`  wrote ${result.lockPath}: put it under version control`] : []),
    ...result.lockChanges.map((line) => `    ${line}`),
    ...(keyId === undefined ? signElsewhere(folder, stem) : carryIn(stem, keyId)),
    '',
  ].join('\n');
}

function carryIn(stem: string, keyId: string): string[] {
  return [
    'Carry the folder in. On the node, as root, in the folder (F: the fingerprint from bundle keygen):',
    `  openssl dgst -sha256 -verify packager.pub.pem -signature ${stem}.sha256.${keyId}.sig ${stem}.sha256 \\`,
    `    && sha256sum --strict -c ${stem}.sha256 \\`,
    '    && sh install.sh --key packager.pub.pem --fingerprint F --site site.yaml --node NAME',
  ];
}

function signElsewhere(folder: string, stem: string): string[] {
  return [
    `Carry ${stem}.sha256 alone to the machine that has the key, and there:`,
    `  bundle sign ${stem}.sha256 --key packager.key.pem`,
    `Bring the .sig file back into ${folder}, and here (F: the fingerprint from bundle keygen):`,
    `  bundle verify ${folder} --key packager.pub.pem --fingerprint F`,
  ];
}

function print(text: string): void {
  process.stdout.write(text);
}

// execa's signal-exit takes away Node's own ignoring of SIGXFSZ: a write past a file-size limit is to fail, not to kill.
process.on('SIGXFSZ', () => undefined);
void program(process.argv[2])
  .then((commands) => runProgram(commands, process.argv))
  .then((code) => process.exit(code));
