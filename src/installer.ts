import { Command } from 'commander';
import type { CommonOptions, DocumentOptions } from './commandline.js';
import { commonOptions, documentOptions, reporterFor, runProgram } from './commandline.js';
import { putDocument, requirePlace } from './document-output.js';
import { EXIT } from './errors.js';
import { localHost } from './host/local.js';
import type { InstallRequest, InstallResult } from './install/install.js';
import { install } from './install/install.js';
import { installTools } from './install/tools.js';
import { formatPlan, planDocument } from './install/plan-document.js';
import { readPlan } from './install/plan-file.js';
import { renderPlan } from './install/render.js';
import { planFlags } from './install/resume.js';
import { readOwnView } from './install/own-view.js';
import { askedSecret } from './install/secret-question.js';
import { readStatus, renderStatus } from './install/status.js';
import { buildChoice, inventoryCommand, planAllowances } from './plan-commands.js';
import { renderOwnView } from './model/own-view.js';
import type { BuildWay } from './model/packages.js';
import { receiptCommands } from './receipt-commands.js';
import { reviewCommands } from './review-commands.js';
import { printable } from './report.js';
import { trustCommands } from './trust-commands.js';
import {
  absolute,
  agreedTo,
  audited,
  newRunId,
  requireRoot,
  stopOnSignals,
  wasInterrupted,
} from './node-command.js';
import { undoCommands } from './undo-commands.js';

interface PlanOptions {
  readonly key?: string;
  readonly fingerprint?: string;
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

interface InstallOptions extends CommonOptions, PlanOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly plan?: string;
}

function program(): Command {
  const root = new Command('airbundle').description(
    'Installs a signed bundle on this node and looks after it.',
  );
  installOptions(commonOptions(root.command('install')))
    .description('verify the bundle, show the plan, carry it out, check the services')
    .option('-y, --yes', 'do not ask; needed without a terminal')
    .option('--dry-run', 'stop after the plan')
    .option(
      '--plan <file>',
      'go on only if the plan is the same as in this file, which "plan -o FILE.json" wrote',
    )
    .addHelpText(
      'after',
      '\nExample:\n  airbundle install /media/usb/tts-ha-1.0.1-el7.x86_64 --site site.yaml --node lb1',
    )
    .action(async (directory: string, options: InstallOptions) =>
      runInstall(directory, options, options.dryRun === true),
    );
  installOptions(documentOptions(root.command('plan'), 'text'))
    .description('show what install would do, and change nothing that runs')
    .addHelpText(
      'after',
      '\nExample:\n  airbundle plan /media/usb/tts-ha-1.0.1-el7.x86_64 --site site.yaml --node lb1 -o plan.json',
    )
    .action(runPlan);
  commonOptions(root.command('status'))
    .description('versions, services, VIPs, backends, and files that were changed since')
    .option('--own-view', 'as far as this node can see: whether another machine answers for a VIP')
    .option(
      '--compare-secret',
      'compare the secret that nodes share with the salted hash on stdin; only "same" or "different" is told',
    )
    .addHelpText(
      'after',
      '\nExit code 0 also when something is wrong: it is listed under "problems".\n\nExamples:\n  airbundle status -o json\n  airbundle status --own-view',
    )
    .action(runStatus);
  commonOptions(root.command('tools'))
    .description('put the command and its runtime on a jump host, and nothing of what the bundle carries')
    .argument('<folder>', 'the folder of the bundle, with its four files')
    .option('--key <file>', 'the public key that signed it; the first time only')
    .option('--fingerprint <hex>', "the key's fingerprint, which came by another way than the medium")
    .addHelpText(
      'after',
      [
        '',
        'The first time it is called by the folder itself: sh install.sh --tools-only --key FILE --fingerprint F',
        'Example:',
        '  airbundle tools /media/usb/tts-ha-1.0.2-el7.x86_64',
      ].join('\n'),
    )
    .action(runTools);
  trustCommands(root, { host: localHost, requireRoot, absolute });
  inventoryCommand(root, { host: localHost, requireRoot, absolute, run: thisRun });
  undoCommands(root, localHost);
  receiptCommands(root, { host: localHost, requireRoot, absolute });
  reviewCommands(root, { host: localHost, trustStore: true });
  return root;
}

interface StatusOptions extends CommonOptions {
  readonly ownView?: boolean;
  readonly compareSecret?: boolean;
}

async function runStatus(options: StatusOptions): Promise<void> {
  requireRoot();
  const host = localHost();
  const status = await readStatus(host, options.compareSecret === true ? await askedSecret() : undefined);
  const view = options.ownView === true ? await readOwnView(host, status) : undefined;
  const text = `${renderStatus(status)}${view === undefined ? '' : renderOwnView(view)}`;
  process.stdout.write(
    options.output === 'json'
      ? `${JSON.stringify(view === undefined ? status : { ...status, ownView: view }, null, 2)}\n`
      : text.split('\n').map(printable).join('\n'),
  );
}

function installOptions(command: Command): Command {
  return planAllowances(
    command
      .argument('<folder>', 'the folder of the bundle, with its four files')
      .option('--key <file>', 'the public key that signed it; for the first installation only')
      .option('--fingerprint <hex>', "the key's fingerprint, which came by another way than the medium")
      .option('--site <file>', 'the site file')
      .option('--node <name>', "this node's name in the site file"),
  );
}

async function runPlan(directory: string, options: DocumentOptions & PlanOptions): Promise<void> {
  requireRoot();
  const host = localHost();
  await requirePlace(host, options.output);
  const reporter = reporterFor(options, process.env);
  stopOnSignals('what was begun is undone');
  try {
    const { outcome, plan, receipt, warnings } = await install(host, {
      ...requestOf(directory, options),
      dryRun: true,
      reporter,
      confirm: () => Promise.resolve(true),
    });
    for (const warning of warnings) reporter.warn(warning);
    const document = planDocument(plan);
    await putDocument(host, options.output, {
      value: document,
      bytes: formatPlan(document),
      text: `${renderPlan(document, options.verbose === true)}${summary({ outcome, plan, receipt, warnings })}\n`,
    });
    if (plan.refusals.length > 0) process.exitCode = EXIT.refused;
  } finally {
    reporter.close();
  }
}

function requestOf(
  directory: string,
  options: PlanOptions,
): Omit<InstallRequest, 'dryRun' | 'reporter' | 'confirm'> {
  return {
    ...thisRun(),
    directory: absolute(directory),
    key: options.key === undefined ? undefined : absolute(options.key),
    fingerprint: options.fingerprint,
    site: options.site === undefined ? undefined : absolute(options.site),
    node: options.node,
    allow: {
      upgrade: options.allowUpgrade === true,
      protectedNames: options.allowProtected,
      conflicts: options.allowConflict,
      takeOver: options.takeOver === true,
    },
    build: buildChoice(options),
  };
}

function thisRun(): Pick<InstallRequest, 'now' | 'date' | 'runId' | 'interrupted'> {
  return {
    now: () => performance.now(),
    date: () => new Date(),
    runId: newRunId(),
    interrupted: wasInterrupted,
  };
}

async function runTools(
  directory: string,
  options: CommonOptions & { readonly key?: string; readonly fingerprint?: string },
): Promise<void> {
  requireRoot();
  const reporter = reporterFor(options, process.env);
  try {
    const result = await installTools(localHost(), {
      directory: absolute(directory),
      key: options.key === undefined ? undefined : absolute(options.key),
      fingerprint: options.fingerprint,
      runId: newRunId(),
      reporter,
    });
    process.stdout.write(
      options.output === 'json'
        ? `${JSON.stringify(result, null, 2)}\n`
        : `the tools of ${result.bundle} are ${result.outcome === 'unchanged' ? 'here already; nothing was changed' : 'here; see: airbundle deploy --help'}\n`,
    );
  } finally {
    reporter.close();
  }
}

async function runInstall(directory: string, options: InstallOptions, dryRun: boolean): Promise<void> {
  requireRoot();
  const reporter = reporterFor(options, process.env);
  stopOnSignals('what was begun is undone');
  const given = requestOf(directory, options);
  const { host, audit } = audited(localHost(), {
    ...{ command: 'install', flags: planFlags(given), runId: given.runId, reporter },
  });
  const expected = options.plan === undefined ? undefined : await readPlan(host, absolute(options.plan));
  const request: InstallRequest = {
    ...given,
    audit,
    expected,
    dryRun,
    reporter,
    confirm: (plan) =>
      agreedTo(renderPlan(planDocument(plan), options.verbose === true), { ...options, dryRun }),
  };
  try {
    finish(await install(host, request), options, (text) => {
      reporter.warn(text);
    });
  } finally {
    reporter.close();
  }
}

function finish(result: InstallResult, options: InstallOptions, warn: (text: string) => void): void {
  for (const warning of result.warnings) warn(warning);
  if (options.output === 'json') {
    process.stdout.write(
      `${JSON.stringify({ outcome: result.outcome, plan: planDocument(result.plan), warnings: result.warnings }, null, 2)}\n`,
    );
  } else process.stdout.write(`${summary(result)}\n`);
  if (result.outcome === 'declined') process.exitCode = EXIT.refused;
  if (result.outcome === 'planned' && result.plan.refusals.length > 0) process.exitCode = EXIT.refused;
}

function summary({ outcome, plan, receipt }: InstallResult): string {
  const name = `${plan.bundle.name} ${plan.bundle.version}`;
  switch (outcome) {
    case 'installed':
      return `installed ${name}: ${String(receipt?.rpms.before ?? 0)} RPMs before, ${String(receipt?.rpms.after ?? 0)} after; see: airbundle status`;
    case 'unchanged':
      return `${name} is installed already; nothing was changed`;
    case 'declined':
      return 'nothing was changed';
    case 'planned':
      if (plan.steps.length > 0) return 'this was the plan only; nothing was changed';
      return receipt?.digest === plan.bundle.digest
        ? `${name}: nothing to do`
        : `${name}: nothing to do, but to write down that it is installed`;
  }
}

// Modes are given where they matter; what tools make by themselves gets the usual ones.
process.umask(0o022);
void runProgram(program(), process.argv).then((code) => process.exit(code));
