import type { Command } from 'commander';
import { Option } from 'commander';
import type { DocumentOptions } from './commandline.js';
import { documentOptions, reporterFor } from './commandline.js';
import { putDocument, requirePlace } from './document-output.js';
import { EXIT, usageError } from './errors.js';
import type { Host } from './host/host.js';
import { planFromInventory } from './install/desk-plan.js';
import { formatInventory } from './install/inventory.js';
import { formatPlan, planDocument } from './install/plan-document.js';
import type { BuildChoice } from './install/plan.js';
import { renderInventory, renderPlan } from './install/render.js';
import type { TakeRequest } from './install/take-inventory.js';
import { takeInventory } from './install/take-inventory.js';
import { BuildWay } from './model/packages.js';
import { givenKeys } from './review/keys.js';

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

interface InventoryOptions extends DocumentOptions {
  readonly key?: string;
  readonly fingerprint?: string;
  readonly site?: string;
  readonly node?: string;
}

/** What the node's entry knows. */
export interface NodeSetting {
  readonly host: () => Host;
  readonly requireRoot: () => void;
  readonly absolute: (path: string) => string;
  readonly run: () => Pick<TakeRequest, 'now' | 'date' | 'runId' | 'interrupted'>;
}

/** `inventory`: on the node. */
export function inventoryCommand(root: Command, setting: NodeSetting): void {
  documentOptions(root.command('inventory'), 'json')
    .description('write down what a plan has to know of this node, for: bundle plan --inventory')
    .argument('[folder]', 'the folder of the bundle; without it only what is installed here is asked about')
    .option('--key <file>', 'the public key that signed it; before the first installation only')
    .option('--fingerprint <hex>', "the key's fingerprint, which came by another way than the medium")
    .option('--site <file>', 'the site file')
    .option('--node <name>', "this node's name in the site file")
    .addHelpText(
      'after',
      [
        '',
        'Changes nothing. Lines that may hold a secret are masked.',
        'Example:',
        '  airbundle inventory /media/usb/tts-ha-1.0.1-el7.x86_64 --site site.yaml --node lb1 -o lb1.json',
      ].join('\n'),
    )
    .action((folder: string | undefined, options: InventoryOptions) =>
      runInventory(folder, options, setting),
    );
}

async function runInventory(
  folder: string | undefined,
  options: InventoryOptions,
  { host: hostOf, requireRoot, absolute, run }: NodeSetting,
): Promise<void> {
  requireRoot();
  const host = hostOf();
  const path = (given: string | undefined): string | undefined =>
    given === undefined ? undefined : absolute(given);
  await requirePlace(host, options.output);
  const reporter = reporterFor(options, process.env);
  try {
    const inventory = await takeInventory(host, {
      ...run(),
      directory: path(folder),
      key: path(options.key),
      fingerprint: options.fingerprint,
      site: path(options.site),
      node: options.node,
      allow: { upgrade: false, protectedNames: [], conflicts: [], takeOver: false },
      build: { way: undefined, keepPackages: false },
      reporter,
    });
    await putDocument(host, options.output, {
      value: inventory,
      bytes: formatInventory(inventory),
      text: renderInventory(inventory),
    });
  } finally {
    reporter.close();
  }
}

interface DeskPlanOptions extends DocumentOptions {
  readonly inventory: string;
  readonly key?: readonly string[];
  readonly fingerprint?: readonly string[];
  readonly unsigned?: boolean;
  readonly site?: string;
  readonly node?: string;
  readonly verbose?: boolean;
  readonly allowUpgrade?: boolean;
  readonly takeOver?: boolean;
  readonly build?: BuildWay;
  readonly keepBuildPackages?: boolean;
  readonly allowProtected: readonly string[];
  readonly allowConflict: readonly string[];
}

/** `plan` away from the node, from what it wrote down. */
export function deskPlanCommand(root: Command, host: () => Host): void {
  planAllowances(
    documentOptions(root.command('plan'), 'text')
      .description('show what install would do on a node that wrote its inventory; nothing is changed')
      .argument('<folder>', 'the folder of the bundle, with its four files')
      .requiredOption('--inventory <file>', 'what "airbundle inventory" wrote on the node')
      .option('--key <file>', 'the public key that signed it; with several, each has to have signed', collect)
      .option(
        '--fingerprint <hex>',
        "the key's fingerprint, which came by another way than the medium (can be repeated)",
        collect,
      )
      .option('--unsigned', 'do not check who made the bundle; the plan says so')
      .option('--site <file>', 'the site file')
      .option('--node <name>', "the node's name in the site file"),
  )
    .addHelpText(
      'after',
      '\nExample:\n  bundle plan dist/tts-ha-1.0.1-el7.x86_64 --inventory lb1.json --site site.yaml --node lb1 --key packager.pub.pem -o plan.json',
    )
    .action((folder: string, options: DeskPlanOptions) => runDeskPlan(folder, options, host()));
}

/** What the flags say about building. */
export function buildChoice(options: {
  readonly build?: BuildWay;
  readonly keepBuildPackages?: boolean;
}): BuildChoice {
  return { way: options.build, keepPackages: options.keepBuildPackages === true };
}

/** The flags that a plan depends on, for every command that makes one. */
export function planAllowances(command: Command): Command {
  return installAllowances(command).option('--verbose', 'the whole plan: every package, file and difference');
}

/** What an operator may allow an installation, wherever it is typed. */
export function installAllowances(command: Command): Command {
  return command
    .option('--allow-upgrade', 'replace older installed packages')
    .option(
      '--allow-protected <name>',
      'install or replace this protected package (can be repeated)',
      collect,
      [],
    )
    .option(
      '--allow-conflict <name>',
      'go on although rpm --test objects to this package (can be repeated)',
      collect,
      [],
    )
    .option('--take-over', 'replace files and units that belong to an installed package')
    .addOption(
      new Option(
        '--build <way>',
        "where to build, whatever the manifest says: with the node's own packages, or in a root of its own",
      ).choices(BuildWay.options),
    )
    .option('--keep-build-packages', 'do not erase the packages that this run adds for the build alone');
}

async function runDeskPlan(folder: string, options: DeskPlanOptions, host: Host): Promise<void> {
  const { key: files = [], fingerprint: fingerprints = [], unsigned = false } = options;
  if (unsigned ? files.length + fingerprints.length > 0 : files.length === 0)
    throw usageError({
      code: unsigned ? 'KEY_AND_UNSIGNED' : 'NO_KEY',
      message: unsigned
        ? '--unsigned checks no signature; --key and --fingerprint are for the other way'
        : 'a key is needed to prove who made this',
      hint: unsigned ? 'Leave out --unsigned.' : 'Add: --key packager.pub.pem',
    });
  await requirePlace(host, options.output);
  const reporter = reporterFor(options, process.env);
  try {
    const plan = await planFromInventory(host, {
      directory: folder,
      inventory: options.inventory,
      site: options.site,
      node: options.node,
      keys: await givenKeys(host, files, fingerprints),
      unsigned,
      allow: {
        upgrade: options.allowUpgrade === true,
        protectedNames: options.allowProtected,
        conflicts: options.allowConflict,
        takeOver: options.takeOver === true,
      },
      build: buildChoice(options),
      reporter,
    });
    const document = planDocument(plan);
    await putDocument(host, options.output, {
      value: document,
      bytes: formatPlan(document),
      text: renderPlan(document, options.verbose === true),
    });
    if (plan.refusals.length > 0) process.exitCode = EXIT.refused;
  } finally {
    reporter.close();
  }
}
