import type { Host } from '../host/host.js';
import type { Reporter } from '../report.js';
import { inStep } from '../report.js';
import type { Erasable, Erased } from './build-packages.js';
import { eraseBuildPackages, findErasable } from './build-packages.js';
import type { Journal } from './journal.js';
import type { Plan } from './plan.js';
import type { Receipt } from './receipt.js';
import { writeReceipt } from './receipt.js';
import { forgetAdded } from './undo-record.js';

export interface EraseOutcome {
  readonly receipt: Receipt;
  readonly warnings: readonly string[];
}

const packagesOf = (plan: Plan): readonly string[] =>
  plan.steps.flatMap((step) => (step.kind === 'erase' ? step.packages : []));

/**
 * What the plan's last step will erase, looked up while services are watched anyway; only rpm's own work is left for
 * the time behind the commit. Never throws: undefined, and it is looked up then.
 * @param files that will be the installed ones
 */
export async function lookAhead(
  host: Host,
  plan: Plan,
  files: Receipt['files'],
): Promise<Erasable | undefined> {
  const candidates = packagesOf(plan);
  if (candidates.length === 0) return undefined;
  return findErasable(host, candidates, files).catch(() => undefined);
}

/**
 * The plan's last step, once the receipt is written: the services run, so a failure here is a warning, and the
 * next run goes on with what the receipt calls pending.
 * @param ahead what {@link lookAhead} found
 */
export async function eraseAfterwards(
  host: Host,
  plan: Plan,
  receipt: Receipt,
  journal: Journal,
  reporter: Reporter,
  ahead?: Promise<Erasable | undefined>,
): Promise<EraseOutcome> {
  const step = plan.steps.find((candidate) => candidate.kind === 'erase');
  if (step?.kind !== 'erase') return { receipt, warnings: [] };
  try {
    const done = await inStep(
      reporter,
      step.id,
      'erase what only the build needed',
      async () => {
        const erasable = (await ahead) ?? (await findErasable(host, step.packages, receipt.files));
        return eraseBuildPackages(host, journal, step.packages, erasable);
      },
      ({ erased, kept }) => `${String(erased.length)} erased, ${String(kept.length)} stay`,
    );
    await forgetAdded(host, receipt, done.erased);
    const settled = withErased(receipt, done);
    await writeReceipt(host, settled);
    return { receipt: settled, warnings: warningsOf(done) };
  } catch (error) {
    return {
      receipt,
      warnings: [
        `packages of the build could not be erased (${error instanceof Error ? error.message : String(error)}); the same command tries again: ${step.packages.join(' ')}`,
      ],
    };
  }
}

/** Whether erasing is all that is left to do: the bundle is committed already. */
export function onlyErases(plan: Plan): boolean {
  return plan.steps.length > 0 && plan.steps.every((step) => step.kind === 'erase');
}

function withErased(receipt: Receipt, { erased, kept, left, installedCount }: Erased): Receipt {
  const gone = new Set(erased);
  const stays = new Set(kept.map(({ nevra }) => nevra));
  const { before, installed, absent } = receipt.rpms;
  return {
    ...receipt,
    rpms: {
      before,
      after: installedCount,
      installed: installed.filter((nevra) => !gone.has(nevra)),
      absent: [...new Set([...absent.filter((nevra) => !stays.has(nevra)), ...erased])].sort(),
      pending: [...left],
    },
  };
}

function warningsOf({ left, problem }: Erased): string[] {
  if (left.length === 0) return [];
  return [
    `packages that only the build needed could not be erased (${problem ?? ''}); the same command tries again: ${left.join(' ')}`,
  ];
}
