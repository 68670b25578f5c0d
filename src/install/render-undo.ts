import { formatNevra } from '../model/nevra.js';
import type { Undo } from './undo-merge.js';
import type { FilePlan, UndoPlan } from './undo-plan.js';

/** What will be taken back, as a person reads it before saying yes. */
export function renderUndoPlan(undo: Undo, plan: UndoPlan, title: string, verbose: boolean): string {
  const shown = (lines: readonly string[]): readonly string[] =>
    verbose || lines.length <= 12
      ? lines
      : [...lines.slice(0, 10), `… and ${String(lines.length - 10)} more (--verbose shows all)`];
  const section = (head: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [`  ${head}`, ...shown(lines).map((line) => `      ${line}`)];
  const { receipt } = undo;
  return [
    `${title}: ${receipt === undefined ? 'back to a node without the bundle' : `back to ${receipt.contents.name} ${receipt.contents.version} (${receipt.digest.slice(0, 16)}, of ${receipt.committedAt})`}`,
    ...section(
      'runs that are taken back',
      undo.runs.map(({ run, bundle }) => `${run}  ${bundle}`),
    ),
    ...section('services', serviceLines(plan)),
    ...section('files', plan.files.flatMap(fileLine)),
    ...section('packages', packageLines(plan)),
    ...section(
      'what an rpm that was killed left',
      plan.unpacked.map((path) => `remove ${path}`),
    ),
    ...section(
      'accounts',
      plan.accounts.map(({ name }) => `remove ${name}, if nothing is its own`),
    ),
    '',
  ].join('\n');
}

function serviceLines({ services: { stop, disable, enable, act } }: UndoPlan): string[] {
  return [
    ...stop.map((unit) => `stop ${unit}`),
    ...disable.map((unit) => `disable ${unit}`),
    ...enable.map((unit) => `enable ${unit}`),
    ...act.map(({ unit, action }) => `${action} ${unit}`),
  ];
}

function fileLine({ undo: { before }, action, byHand, why }: FilePlan): string[] {
  const changed = byHand ? ' (changed by hand since: kept aside)' : '';
  switch (action) {
    case 'same':
      return [];
    case 'put-back':
      return [`put back ${before.path}${changed}`];
    case 'remove':
      return [`remove ${before.path}${changed}`];
    case 'leave':
      return [`leave ${before.path}: ${why ?? ''}`];
  }
}

function packageLines({ packages: { erase, kept, downgrade, oneWay } }: UndoPlan): string[] {
  return [
    ...erase.map((nevra) => `erase ${formatNevra(nevra)}`),
    ...downgrade.map(({ from, to }) => `put back ${from} in the place of ${to}`),
    ...kept.map(({ nevra, because }) => `${nevra} is not erased: ${because}`),
    ...oneWay.map(({ from, to, because }) => `one-way: ${to} stays, it was ${from}: ${because}`),
  ];
}

/** The plan for programs. */
export function undoPlanToJson(undo: Undo, plan: UndoPlan): Record<string, unknown> {
  const { packages, services, accounts } = plan;
  return {
    runs: undo.runs,
    digest: undo.receipt?.digest ?? null,
    services,
    files: plan.files.map(({ undo: { before }, action, byHand, why }) => ({
      path: before.path,
      action,
      changedByHand: byHand,
      ...(why === undefined ? {} : { why }),
    })),
    packages: {
      erase: packages.erase.map(formatNevra),
      kept: packages.kept,
      putBack: packages.downgrade.map(({ from, to }) => ({ from, to })),
      oneWay: packages.oneWay,
    },
    accounts: accounts.map(({ name }) => name),
    unpacked: plan.unpacked,
  };
}
