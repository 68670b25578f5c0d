import type { Command } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, reporterFor } from './commandline.js';
import { usageError } from './errors.js';
import type { ReadHost } from './host/host.js';
import { plainJson } from './model/plain.js';
import type { Reporter } from './report.js';
import { inspect } from './review/inspect.js';
import type { StoredKey, TrustedKey } from './review/keys.js';
import { givenKeys, requireNotRemoved, trustStore } from './review/keys.js';
import type { KeyOrigin } from './review/render.js';
import { renderInventory, renderVerified, verifiedToJson } from './review/render.js';
import { asOne, examine, locate } from './review/verify.js';

interface ReviewOptions extends CommonOptions {
  readonly key?: readonly string[];
  readonly fingerprint?: readonly string[];
  readonly unsigned?: boolean;
}

/** What differs between the packager's command and the node's. */
interface ReviewSetting {
  readonly host: () => ReadHost;
  /** The keys of this machine's trust store count when none is given. */
  readonly trustStore: boolean;
}

interface Keys {
  readonly keys: readonly TrustedKey[];
  readonly origin: KeyOrigin;
  /** How many of them must have signed. */
  readonly signers: number | 'every';
  readonly removed: readonly StoredKey[];
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** `verify` and `inspect`: the same on every machine, without root, writing nothing. */
export function reviewCommands(root: Command, setting: ReviewSetting): void {
  const name = root.name();
  const stored = setting.trustStore ? '; without it, the keys that this node trusts' : '';
  const options = (command: Command): Command =>
    commonOptions(command)
      .argument('<bundle>', 'the folder of the bundle, or its X.tar')
      .option(
        '--key <file>',
        `the public key that signed it; with several, each has to have signed${stored}`,
        collect,
      )
      .option(
        '--fingerprint <hex>',
        "the key's fingerprint, which came by another way than the medium (can be repeated)",
        collect,
      );
  options(root.command('verify'))
    .description('check the signature and everything below it, down to each member; nothing is written')
    .option('--unsigned', 'check only that the files agree with each other, not who made them')
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        `  ${name} verify /media/usb/tts-ha-1.0.1-el7.x86_64 --key packager.pub.pem --fingerprint "1a2b 3c4d …"`,
        `  ${name} verify /media/usb/tts-ha-1.0.1-el7.x86_64/tts-ha-1.0.1-el7.x86_64.tar --unsigned`,
        '',
        'Exit code 0: everything is as it was signed (with --unsigned: as it was packed). 4: something is not.',
      ].join('\n'),
    )
    .action((bundle: string, given: ReviewOptions) => runVerify(bundle, given, setting));
  options(root.command('inspect'))
    .description('show what is in a bundle: packages, sources, build steps, licences, signers')
    .option('--unsigned', 'do not verify it, only look')
    .addHelpText(
      'after',
      [
        '',
        'With a key the bundle is verified first; without one the result is marked NOT VERIFIED.',
        'Examples:',
        `  ${name} inspect /media/usb/tts-ha-1.0.1-el7.x86_64 --key packager.pub.pem | less`,
        `  ${name} inspect tts-ha-1.0.1-el7.x86_64.tar --unsigned -o json`,
      ].join('\n'),
    )
    .action((bundle: string, given: ReviewOptions) => runInspect(bundle, given, setting));
}

async function runVerify(bundle: string, options: ReviewOptions, setting: ReviewSetting): Promise<void> {
  await withReporter(options, async (reporter) => {
    const host = setting.host();
    const place = await locate(host, bundle);
    const unsigned = options.unsigned === true;
    const { keys, origin, signers, removed } = await keysFor(host, options, setting);
    if (keys.length === 0 && !unsigned && place.kind === 'folder') throw noKey();
    const examined = await examine(host, { place, keys, signers, removed, unsigned, reporter });
    if (options.output === 'json') await print(`${plainJson(verifiedToJson(examined, keys))}\n`);
    if (examined.bundle === undefined) throw asOne(examined.problems, place.path);
    if (options.output === 'text') await print(renderVerified(examined.bundle, origin));
  });
}

async function runInspect(bundle: string, options: ReviewOptions, setting: ReviewSetting): Promise<void> {
  await withReporter(options, async (reporter) => {
    const host = setting.host();
    const place = await locate(host, bundle);
    const { keys, origin, signers, removed } = await keysFor(host, options, setting);
    const unsigned = keys.length === 0;
    const inventory = await inspect(host, { place, keys, signers, removed, unsigned, reporter });
    await print(options.output === 'json' ? `${plainJson(inventory)}\n` : renderInventory(inventory, origin));
  });
}

async function keysFor(host: ReadHost, options: ReviewOptions, setting: ReviewSetting): Promise<Keys> {
  const { key: files = [], fingerprint: fingerprints = [] } = options;
  if (options.unsigned === true && files.length + fingerprints.length > 0)
    throw usageError({
      code: 'KEY_AND_UNSIGNED',
      message: '--unsigned checks no signature; --key and --fingerprint are for the other way',
      hint: 'Leave out --unsigned.',
    });
  if (files.length === 0 && fingerprints.length > 0)
    throw usageError({
      code: 'NO_KEY',
      message: 'a fingerprint alone checks nothing',
      hint: 'Add the key that it belongs to: --key packager.pub.pem',
    });
  const none: Keys = { keys: [], origin: 'given', signers: 'every', removed: [] };
  if (options.unsigned === true) return none;
  const store = setting.trustStore ? await trustStore(host) : undefined;
  if (files.length > 0) {
    const keys = await givenKeys(host, files, fingerprints);
    const removed = store?.removed ?? [];
    for (const [index, key] of keys.entries()) requireNotRemoved(key, removed, files[index] ?? '--key');
    return { keys, origin: fingerprints.length > 0 ? 'fingerprint' : 'given', signers: 'every', removed };
  }
  if (store === undefined) return none;
  return { keys: store.trusted, origin: 'store', signers: store.threshold, removed: store.removed };
}

function noKey(): Error {
  return usageError({
    code: 'NO_KEY',
    message: 'a key is needed to prove who made this',
    hint: 'Add: --key packager.pub.pem --fingerprint F, with the fingerprint that the packager told you by another way than the medium. To check only that the files agree with each other: --unsigned',
  });
}

async function withReporter(
  options: ReviewOptions,
  work: (reporter: Reporter) => Promise<void>,
): Promise<void> {
  const reporter = reporterFor(options, process.env);
  try {
    await work(reporter);
  } finally {
    reporter.close();
  }
}

/** Until it is out: the process ends right after, and a reader may have gone already (`| head`). */
async function print(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const gone = (error?: NodeJS.ErrnoException | null): void => {
      if (error === undefined || error === null || error.code === 'EPIPE') resolve();
      else reject(error);
    };
    process.stdout.once('error', gone).write(text, gone);
  });
}
