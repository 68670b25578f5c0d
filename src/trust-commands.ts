import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, reporterFor } from './commandline.js';
import { EXIT, usageError } from './errors.js';
import type { Host } from './host/host.js';
import type { StoredKey, TrustStore } from './install/trust.js';
import { trustStore } from './install/trust.js';
import type { TrustRequest, TrustResult } from './install/trust-change.js';
import { addKey, removeKey, requirement, requireThreshold } from './install/trust-change.js';
import { formatFingerprint } from './model/signature.js';
import { audited, newRunId } from './node-command.js';
import { askLine, hasTerminal } from './terminal.js';

/** What the node's program lends its commands. */
interface TrustSetting {
  readonly host: () => Host;
  /** @throws BundleError exit 5 */
  readonly requireRoot: () => void;
  readonly absolute: (path: string) => string;
}

interface ChangeOptions extends CommonOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

/** `trust list|add|remove|require`. */
export function trustCommands(root: Command, setting: TrustSetting): void {
  const trust = root
    .command('trust')
    .description('the keys whose signatures count on this node, and how many of them must sign');
  commonOptions(trust.command('list'))
    .description('every key that is or was trusted here, with its fingerprint')
    .addHelpText('after', '\nExample:\n  airbundle trust list')
    .action(async (options: CommonOptions) => {
      const store = await trustStore(setting.host());
      print(
        options.output === 'json' ? `${JSON.stringify(storeToJson(store), null, 2)}\n` : renderStore(store),
      );
    });
  changeOptions(trust.command('add'))
    .description('trust one more key')
    .argument('<file>', 'the public key, PEM')
    .option('--fingerprint <hex>', "the key's fingerprint, which came by another way; -y does not replace it")
    .option('--again', 'although this key was removed here')
    .addHelpText('after', '\nExample:\n  airbundle trust add new.pub.pem --fingerprint "1a2b 3c4d …"')
    .action(
      async (
        file: string,
        options: ChangeOptions & { readonly fingerprint?: string; readonly again?: boolean },
      ) => {
        setting.requireRoot();
        const fingerprint = options.fingerprint ?? (await askFingerprint());
        const path = setting.absolute(file);
        const { host, request } = begin('add', [path], setting, options);
        finish(
          await addKey(host, { ...request, file: path, fingerprint, again: options.again === true }),
          options,
        );
      },
    );
  changeOptions(trust.command('remove'))
    .description('trust a key no more, and remember that it was removed')
    .argument('<keyid>', 'its key id, or at least the first 8 digits')
    .addHelpText('after', '\nExample:\n  airbundle trust remove 1a2b3c4d')
    .action(async (keyId: string, options: ChangeOptions) => {
      setting.requireRoot();
      const { host, request } = begin('remove', [keyId], setting, options);
      finish(await removeKey(host, { ...request, keyId, date: () => new Date() }), options);
    });
  changeOptions(trust.command('require'))
    .description('say how many of the trusted keys must have signed a release')
    .argument('<number>', 'from 1 to the number of trusted keys', signerCount)
    .addHelpText('after', '\nExample:\n  airbundle trust require 2')
    .action(async (threshold: number, options: ChangeOptions) => {
      setting.requireRoot();
      const { host, request } = begin('require', [String(threshold)], setting, options);
      finish(await requireThreshold(host, { ...request, threshold }), options);
    });
}

function changeOptions(command: Command): Command {
  return commonOptions(command)
    .option('-y, --yes', 'do not ask; needed without a terminal')
    .option('--dry-run', 'only say what would be different');
}

function signerCount(text: string): number {
  if (/^[1-9][0-9]?$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not a number from 1 to 99`);
}

/** The fingerprint is what makes a key the right one: nothing answers for the person here. */
async function askFingerprint(): Promise<string | undefined> {
  return hasTerminal() ? askLine('Fingerprint of the key, as you were told by another way: ') : undefined;
}

function begin(
  verb: string,
  flags: readonly string[],
  setting: TrustSetting,
  options: ChangeOptions,
): { readonly host: Host; readonly request: TrustRequest } {
  const runId = newRunId();
  const reporter = reporterFor(options, process.env);
  const command = `trust ${verb}`;
  const { host, audit } = audited(setting.host(), { command, flags, runId, reporter });
  return { host, request: { ...answersOf(options), runId, audit } };
}

function answersOf(options: ChangeOptions): Pick<TrustRequest, 'dryRun' | 'confirm'> {
  const dryRun = options.dryRun === true;
  return {
    dryRun,
    confirm: async (changes) => {
      if (options.output === 'text') print(changes.map((line) => `${line}\n`).join(''));
      if (dryRun || options.yes === true) return true;
      if (hasTerminal()) return /^y(?:es)?$/i.test(((await askLine('Go on? [y/N] ')) ?? '').trim());
      throw usageError({
        code: 'NO_TERMINAL',
        message: 'there is no terminal to ask on; nothing was changed',
        hint: 'Run the same command with -y. To look only: --dry-run',
      });
    },
  };
}

const OUTCOMES: Readonly<Record<TrustResult['outcome'], string>> = {
  changed: 'done',
  unchanged: 'it is like that already; nothing was changed',
  planned: 'nothing was changed',
  declined: 'nothing was changed',
};

function finish({ outcome, changes, store }: TrustResult, options: ChangeOptions): void {
  if (options.output === 'json')
    print(
      `${JSON.stringify({ outcome, changes, ...(store === undefined ? {} : storeToJson(store)) }, null, 2)}\n`,
    );
  else print(`${OUTCOMES[outcome]}\n${store === undefined ? '' : renderStore(store)}`);
  if (outcome === 'declined') process.exitCode = EXIT.refused;
}

function storeToJson({ trusted, removed, idle, threshold }: TrustStore) {
  const shown = (key: StoredKey, state: 'trusted' | 'removed') => ({
    keyId: key.keyId,
    fingerprint: key.fingerprint,
    state,
    since: key.since,
    file: key.path,
  });
  return {
    threshold,
    keys: [...trusted.map((key) => shown(key, 'trusted')), ...removed.map((key) => shown(key, 'removed'))],
    notCounted: idle.map((key) => key.path),
  };
}

function renderStore({ trusted, removed, idle, threshold }: TrustStore): string {
  const shown = (key: StoredKey, state: string): string[] => [
    `${state.padEnd(7)}  ${key.keyId}  since ${key.since}  ${key.path}`,
    `         ${formatFingerprint(key.fingerprint)}`,
  ];
  return [
    trusted.length === 0 ? 'no key is trusted on this node' : requirement(threshold, trusted.length),
    ...(threshold > trusted.length && trusted.length > 0
      ? ['so nothing can be installed: airbundle trust add FILE, or airbundle trust require M']
      : []),
    ...trusted.flatMap((key) => shown(key, 'trusted')),
    ...removed.flatMap((key) => shown(key, 'removed')),
    ...idle.map((key) => `does not count, the key of ${key.keyId} is above: ${key.path}`),
    '',
  ].join('\n');
}

function print(text: string): void {
  process.stdout.write(text);
}
