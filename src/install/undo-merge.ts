import type { Displaced, MadeAccount, Placed, UnitBefore } from './journal.js';
import type { PackageChanges } from './package-changes.js';
import { NO_PACKAGE_CHANGES, together } from './package-changes.js';
import type { Receipt } from './receipt.js';
import type { Running } from './running.js';
import { NOTHING_RUNNING } from './running.js';
import type { Unsettled } from './unsettled.js';

/** What one run, or the unfinished ones together, did. */
export interface Layer {
  readonly run: string;
  /** In words: name and version. */
  readonly bundle: string;
  readonly displaced: readonly Displaced[];
  readonly made: readonly string[];
  readonly packages: PackageChanges;
  readonly accounts: readonly MadeAccount[];
  readonly units: readonly UnitBefore[];
  readonly running: Running;
}

/** Several runs as one change, and what was there before all of them. */
export interface Undo {
  /** The newest first. */
  readonly runs: readonly { readonly run: string; readonly bundle: string }[];
  readonly paths: readonly PathUndo[];
  /** Directories that were made, in that order. */
  readonly made: readonly string[];
  readonly packages: PackageChanges;
  readonly accounts: readonly MadeAccount[];
  readonly units: readonly UnitBefore[];
  /** What these runs had running. */
  readonly running: Running;
  /** What runs afterwards, and how its files are tested. */
  readonly back: Running;
  /** What is installed now; undefined: nothing was committed. */
  readonly current: Receipt | undefined;
  /** What is installed afterwards. */
  readonly receipt: Receipt | undefined;
}

export interface PathUndo {
  readonly before: Omit<Displaced, 'after'>;
  /** What the runs put there, one after the other; empty: not known. */
  readonly ours: readonly Placed[];
  /** Copies of what people had made of it before a later of these runs displaced that. */
  readonly edited: readonly { readonly run: string; readonly backup: string }[];
}

export function layerOfUnsettled(open: Unsettled): Layer {
  const { begun, displaced, made, packageChanges, accounts, units, running } = open;
  return {
    run: begun?.run ?? 'failed runs',
    bundle: begun?.kind === 'install' ? `${begun.bundle}, not finished` : 'what failed runs left',
    displaced,
    made,
    packages: packageChanges,
    accounts,
    units: [...units.values()],
    running,
  };
}

/** @param layers the newest first */
export function mergeLayers(
  layers: readonly Layer[],
  state: Pick<Undo, 'current' | 'receipt'> & { readonly back?: Running | undefined },
): Undo {
  const paths = new Map<string, PathUndo>();
  const units = new Map<string, UnitBefore>();
  const accounts = new Map<string, MadeAccount>();
  let packages = NO_PACKAGE_CHANGES;
  for (const layer of [...layers].reverse()) {
    for (const { after, ...before } of layer.displaced) {
      const known = paths.get(before.path);
      paths.set(before.path, {
        before: known?.before ?? before,
        ours: [...(known?.ours ?? []), ...(after === null ? [] : [after])],
        edited: [...(known?.edited ?? []), ...editedBetween(known, before, layer.run)],
      });
    }
    for (const unit of layer.units) if (!units.has(unit.unit)) units.set(unit.unit, unit);
    for (const account of layer.accounts)
      if (!accounts.has(account.name)) accounts.set(account.name, account);
    packages = together(packages, layer.packages);
  }
  return {
    runs: layers.map(({ run, bundle }) => ({ run, bundle })),
    paths: [...paths.values()],
    made: [...new Set([...layers].reverse().flatMap((layer) => layer.made))],
    packages,
    accounts: [...accounts.values()],
    units: [...units.values()],
    running: {
      services: layers.flatMap((layer) => layer.running.services),
      refreshes: layers.flatMap((layer) => layer.running.refreshes),
      validations: [],
      checks: [],
    },
    back: state.back ?? NOTHING_RUNNING,
    current: state.current,
    receipt: state.receipt,
  };
}

/** What a later run displaced is what an earlier one had put there, or what people made of it since. */
function editedBetween(
  known: PathUndo | undefined,
  { sha256, backup }: PathUndo['before'],
  run: string,
): PathUndo['edited'] {
  if (known === undefined || backup === null || known.ours.some((placed) => placed.sha256 === sha256))
    return [];
  return [{ run, backup }];
}
