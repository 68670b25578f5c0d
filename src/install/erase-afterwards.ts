import type { Host } from '../host/host.js';
import type { Reporter } from '../report.js';
import { inStep } from '../report.js';
import type { Erased } from './build-packages.js';
import { eraseBuildPackages } from './build-packages.js';
import type { Journal } from './journal.js';
import type { Plan } from './plan.js';
import type { Receipt } from './receipt.js';
import { writeReceipt } from './receipt.js';
import { installedPackages } from './rpm.js';
import { forgetAdded } from './undo-record.js';

export interface EraseOutcome {
  readonly receipt: Receipt;
  readonly warnings: readonly string[];
}

/**
 * The plan's last step, once the receipt is written: the services run, so a failure here is a warning, and the
 * next run goes on with what the receipt calls pending.
 */
export async function eraseAfterwards(
  host: Host,
  plan: Plan,
  receipt: Receipt,
  journal: Journal,
  reporter: Reporter,
): Promise<EraseOutcome> {
  const step = plan.steps.find((candidate) => candidate.kind === 'erase');
  if (step?.kind !== 'erase') return { receipt, warnings: [] };
  try {
    const done = await inStep(
      reporter,
      step.id,
      'erase what only the build needed',
      () => eraseBuildPackages(host, journal, step.packages, receipt.files),
      ({ erased, kept }) => `${String(erased.length)} erased, ${String(kept.length)} stay`,
    );
    await forgetAdded(host, receipt, done.erased);
    const settled = withErased(receipt, done, (await installedPackages(host)).length);
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

function withErased(receipt: Receipt, { erased, kept, left }: Erased, after: number): Receipt {
  const gone = new Set(erased);
  const stays = new Set(kept.map(({ nevra }) => nevra));
  const { before, installed, absent } = receipt.rpms;
  return {
    ...receipt,
    rpms: {
      before,
      after,
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
