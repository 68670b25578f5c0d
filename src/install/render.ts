import { formatBytes } from '../report.js';
import type { Inventory } from './inventory-schema.js';
import type { Cost, PlanDocument } from './plan-schema.js';

const SHORT_LIST = 12;

/** The plan as a person reads it before saying yes. */
export function renderPlan(plan: PlanDocument, verbose: boolean): string {
  const { bundle, system } = plan;
  const shown = (changes: readonly string[]): readonly string[] =>
    verbose || changes.length <= SHORT_LIST
      ? changes
      : [...changes.slice(0, 10), `… and ${String(changes.length - 10)} more (--verbose shows all)`];
  return [
    `Plan for ${plan.node ?? 'this node'}: ${bundle.name} ${bundle.version} (sequence ${String(bundle.sequence)}, ${bundle.digest.slice(0, 16)})`,
    `  on ${system.name}, release ${system.release}, ${system.arch}`,
    ...plan.steps.flatMap((step, index) => [
      `${String(index + 1).padStart(2)}. ${step.id}: ${step.title}`,
      ...shown(step.changes).map((change) => `      ${change}`),
      `      undo: ${step.undo}`,
    ]),
    ...(verbose ? everything(plan) : editedLines(plan)),
    ...(plan.steps.length === 0 ? [] : costLines(plan.cost)),
    ...(plan.rpmTest === 'not tried'
      ? [' not tried: rpm --test (only the node can; its inventory has it when it was taken with the folder)']
      : []),
    ...plan.notes.map((note) => ` note: ${note}`),
    ...plan.refusals.map((refusal) => ` refused: ${refusal}`),
    '',
  ].join('\n');
}

function costLines({ disk, freeBytes, seconds }: Cost): string[] {
  const minutes = seconds < 90 ? `${String(seconds)} s` : `${String(Math.ceil(seconds / 60))} min`;
  return [
    ` time: about ${minutes} (an estimate)`,
    ...disk.map(
      ({ folder, what, bytes, estimate, stays }) =>
        ` disk: ${folder}  ${formatBytes(bytes)}${estimate ? ' (an estimate)' : ''}  ${what}${stays ? '' : '; gone at the end of the run'}`,
    ),
    ` disk: ${formatBytes(freeBytes)} free where the stage is`,
  ];
}

/** What somebody changed by hand is never replaced unseen. */
function editedLines(plan: PlanDocument): string[] {
  return plan.files.filter((file) => file.changedByHand).flatMap(fileLines);
}

/** The lists of the document, one line each. */
function everything(plan: PlanDocument): string[] {
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`${title}:`, ...lines.map((line) => `   ${line}`)];
  return [
    ...section(
      'packages',
      plan.packages.map(
        (one) =>
          `${one.action}  ${one.package}${one.installed === null || one.installed === one.package ? '' : `  (installed: ${one.installed})`}  ${one.why}; undo: ${one.undo}`,
      ),
    ),
    ...section(
      'directories',
      plan.directories.map(
        (one) => `${one.change}  ${one.path}  ${one.mode} ${one.owner}; undo: ${one.undo}`,
      ),
    ),
    ...section('files', plan.files.flatMap(fileLines)),
    ...section(
      'accounts',
      plan.accounts.map(
        (one) => `${one.change}  ${one.name}  home ${one.home}  shell ${one.shell}; undo: ${one.undo}`,
      ),
    ),
    ...section(
      'services',
      plan.services.map(
        (one) =>
          `${[...(one.enable ? ['enable'] : []), ...(one.action === 'none' ? [] : [one.action])].join(' and ') || 'unchanged'}  ${one.unit}  (now ${one.active === '' ? 'unknown' : one.active}, ${one.enabled === '' ? 'unknown' : one.enabled}); undo: ${one.undo}`,
      ),
    ),
    ...section(
      'kernel settings',
      plan.sysctl.map(
        (one) =>
          `${one.key}  ${one.from ?? 'none'} → ${one.to}${one.from === one.to ? ' (unchanged)' : ''}  by ${one.file}; undo: ${one.undo}`,
      ),
    ),
    ...section(
      'firewall',
      plan.firewall.rules.flatMap((one) => [
        one.rule,
        `  ${one.todo}`,
        ...one.commands.map((argv) => `    ${argv.map(quoted).join(' ')}`),
      ]),
    ),
  ];
}

function fileLines(file: PlanDocument['files'][number]): string[] {
  const was =
    file.was === null || file.change === 'unchanged' ? '' : `  (was ${file.was.mode} ${file.was.owner})`;
  return [
    `${file.change}  ${file.path}  ${file.mode ?? ''} ${file.owner}${was}${file.changedByHand ? '  changed by hand since the last installation' : ''}${file.diffNote === null ? '' : `  ${file.diffNote}`}; undo: ${file.undo}`,
    ...(file.diff ?? []).map((line) => `   | ${line}`),
  ];
}

function quoted(word: string): string {
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** What an inventory holds, in a few lines. */
export function renderInventory(inventory: Inventory): string {
  const { facts, bundle, asked, receipt, rpmTest } = inventory;
  const objections = rpmTest === null ? undefined : rpmTest.problems.length + rpmTest.obsoletes.length;
  return [
    `${inventory.node ?? 'this node'}: ${facts.os.name}, release ${facts.os.release}, ${facts.arch}, ${String(facts.installed.length)} RPMs`,
    `  taken at ${inventory.takenAt}, ${bundle === null ? 'without a bundle' : `for ${bundle.name} ${bundle.version}`}`,
    `  asked about ${String(asked.files.length)} files, ${String(asked.units.length)} services, ${String(asked.sysctl.length)} kernel settings`,
    `  ${receipt === null ? 'nothing is installed' : `installed: ${receipt.contents.name} ${receipt.contents.version}`}`,
    `  rpm --test: ${objections === undefined ? 'not tried' : objections === 0 ? 'no objection' : `${String(objections)} objections`}`,
    '',
  ].join('\n');
}
