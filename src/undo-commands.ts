import type { Command } from 'commander';
import { Option } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, reporterFor } from './commandline.js';
import { EXIT } from './errors.js';
import type { Host } from './host/host.js';
import { keptInWords } from './install/kept-aside.js';
import { renderUndoPlan, undoPlanToJson } from './install/render-undo.js';
import { rollback } from './install/rollback.js';
import type { UndoRequest, UndoResult } from './install/undo-run.js';
import { uninstall } from './install/uninstall.js';
import type { Reporter } from './report.js';
import {
  absolute,
  agreedTo,
  audited,
  newRunId,
  requireRoot,
  stopOnSignals,
  wasInterrupted,
} from './node-command.js';

interface UndoOptions extends CommonOptions {
  readonly to?: string;
  readonly oldRpms: readonly string[];
  readonly purge?: boolean;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly verbose?: boolean;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** `rollback` and `uninstall`. */
export function undoCommands(root: Command, host: () => Host): void {
  undoOptions(root.command('rollback'))
    .description('take back an unfinished run; otherwise the last committed one')
    .option(
      '--to <digest>',
      'take back every run after the one that committed this digest (8 or more digits)',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  airbundle rollback --dry-run\n  airbundle rollback --to 3f9a1c20 --old-rpms /media/usb/old-rpms',
    )
    .action(async (options: UndoOptions) => {
      await runUndoCommand(options, 'Rollback', host, (using, request) =>
        rollback(using, { ...request, to: options.to }),
      );
    });
  undoOptions(root.command('uninstall'))
    .description('take back every run, then remove airbundle itself')
    .option('--purge', 'receipts, sequence floor and removed keys go too')
    .addHelpText('after', '\nExamples:\n  airbundle uninstall --dry-run\n  airbundle uninstall --purge -y')
    .action(async (options: UndoOptions) => {
      await runUndoCommand(options, 'Uninstall', host, (using, request) =>
        uninstall(using, { ...request, purge: options.purge === true }),
      );
    });
}

function undoOptions(command: Command): Command {
  return (
    commonOptions(command)
      .option(
        '--old-rpms <folder>',
        'RPMs of replaced packages, to put them back (can be repeated)',
        collect,
        [],
      )
      .option('-y, --yes', 'do not ask; needed without a terminal')
      .option('--dry-run', 'stop after the plan')
      .option('--verbose', 'the whole plan')
      // Typed for install.sh, which proves the folder with them where the command is not there; nothing is read here.
      .addOption(new Option('--key <file>').hideHelp())
      .addOption(new Option('--fingerprint <hex>').hideHelp())
  );
}

async function runUndoCommand(
  options: UndoOptions,
  title: string,
  host: () => Host,
  work: (host: Host, request: UndoRequest) => Promise<UndoResult>,
): Promise<void> {
  requireRoot();
  const reporter = reporterFor(options, process.env);
  stopOnSignals('the same command goes on with it');
  const runId = newRunId();
  const flags = [
    ...(options.to === undefined ? [] : [`--to ${options.to}`]),
    ...options.oldRpms.map((folder) => `--old-rpms ${folder}`),
    ...(options.purge === true ? ['--purge'] : []),
  ];
  const { host: using, audit } = audited(host(), {
    ...{ command: title.toLowerCase(), flags, runId, reporter, purge: options.purge === true },
  });
  const request: UndoRequest = {
    oldRpms: options.oldRpms.map(absolute),
    dryRun: options.dryRun === true,
    reporter,
    now: () => performance.now(),
    runId,
    audit,
    interrupted: wasInterrupted,
    confirm: (undo, plan) => agreedTo(renderUndoPlan(undo, plan, title, options.verbose === true), options),
  };
  try {
    finish(await work(using, request), options, title, reporter);
  } finally {
    reporter.close();
  }
}

function finish(result: UndoResult, options: UndoOptions, title: string, reporter: Reporter): void {
  const { outcome, undo, plan, receipt, kept, warnings } = result;
  for (const warning of [...warnings, ...kept.map(keptInWords)]) reporter.warn(warning);
  if (outcome === 'declined') process.exitCode = EXIT.refused;
  if (options.output === 'json') {
    const shown = { outcome, plan: undoPlanToJson(undo, plan), kept, warnings };
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return;
  }
  const now =
    receipt === undefined
      ? 'no bundle is installed on this node now'
      : `${receipt.contents.name} ${receipt.contents.version} is what is installed now`;
  const words: Record<UndoResult['outcome'], string> = {
    'taken-back': `${title.toLowerCase()} done: ${now}`,
    unchanged: 'nothing was changed',
    planned: 'this was the plan only; nothing was changed',
    declined: 'nothing was changed',
  };
  process.stdout.write(`${words[outcome]}\n`);
}
