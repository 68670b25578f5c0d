import { EXIT, refusedError, stepError, usageError, BundleError } from '../errors.js';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { alone } from './alone.js';
import type { Receipt } from './receipt.js';
import { readReceipt, removeReceipt, writeReceipt } from './receipt.js';
import { systemError } from './system-error.js';
import { dropOldBackups, dropLeftovers } from './tidy.js';
import { undoCommand } from './undo-command.js';
import type { Undo } from './undo-merge.js';
import { layerOfUnsettled, mergeLayers } from './undo-merge.js';
import type { CommittedRuns } from './undo-record.js';
import { committedRuns } from './undo-record.js';
import type { UndoRequest, UndoResult, UndoRun } from './undo-run.js';
import { checkBack, nothingDone, runUndo } from './undo-run.js';
import type { Unsettled } from './unsettled.js';
import { hasUnsettled, readUnsettled } from './unsettled.js';

export interface RollbackRequest extends UndoRequest {
  /** The digest to go back to, or its first 8 or more digits. */
  readonly to: string | undefined;
}

/**
 * Takes back an unfinished run if there is one; otherwise the last committed run, or all after `to`.
 * @throws BundleError exit 2, 5 or 6
 */
export async function rollback(host: Host, request: RollbackRequest): Promise<UndoResult> {
  if ((await host.lstat(target.state)) === undefined) throw nothingToUndo();
  try {
    return await alone(host, () => rollbackAlone(host, request), request.audit);
  } catch (error) {
    throw systemError(error, 'preparing the rollback', EXIT.stepFailed);
  }
}

async function rollbackAlone(host: Host, request: RollbackRequest): Promise<UndoResult> {
  await dropLeftovers(host, undefined);
  const receipt = await readReceipt(host);
  const open = await readUnsettled(host, receipt?.run ?? null);
  const runs = await committedRuns(host, receipt);
  const undo = chooseUndo(open, runs, receipt, request.to);
  if (undo.runs.length === 0 && open.begun === undefined) {
    // A rollback that was killed once it was done, and before it removed what it had put back, is typed again.
    if (!request.dryRun && receipt !== undefined && !hasUnsettled(open)) await dropOldBackups(host, receipt);
    return nothingDone(undo);
  }
  const run: UndoRun = {
    kind: 'rollback',
    undo,
    resumes: open.begun?.kind === 'rollback' ? open.begun.run : undefined,
    command: await undoCommand(host, 'rollback'),
    commit: async (journal) => {
      if (undo.receipt === undefined) await removeReceipt(host);
      else if (undo.receipt.run !== receipt?.run) await writeReceipt(host, undo.receipt);
      await journal.record({ event: 'taken-back', digest: undo.receipt?.digest ?? null });
      await journal.record({ event: 'end', result: 'committed' });
      await dropOldBackups(host, undo.receipt);
    },
  };
  const result = await runUndo(host, request, run);
  if (result.outcome !== 'taken-back') return result;
  const warnings = await checkBack(host, run, request).catch((error: unknown) => {
    throw doneButNotWell(error);
  });
  return { ...result, warnings: [...result.warnings, ...warnings] };
}

/** Pure: which runs are taken back. @throws BundleError exit 2 or 5 */
export function chooseUndo(
  open: Unsettled,
  runs: CommittedRuns,
  receipt: Receipt | undefined,
  to: string | undefined,
): Undo {
  const { begun } = open;
  if (begun?.kind === 'uninstall')
    throw refusedError({
      code: 'UNFINISHED_RUN',
      message: `the uninstall ${begun.run} on this node is not finished`,
      where: `run ${begun.run}`,
      hint: 'Finish it: airbundle uninstall',
    });
  if (begun?.kind === 'rollback') {
    if (to !== undefined && begun.digest?.startsWith(to) !== true)
      throw refusedError({
        code: 'UNFINISHED_RUN',
        message: `a rollback to ${begun.digest ?? 'nothing installed'} is not finished; this is to another digest`,
        where: `run ${begun.run}`,
        hint: 'Finish it first: airbundle rollback',
      });
    const count = runs.records.filter(({ run }) => begun.undoes.includes(run)).length;
    return undoOf(open, runs, receipt, count);
  }
  if (to !== undefined) return undoOf(open, runs, receipt, countTo(to, runs, receipt));
  if (hasUnsettled(open)) return undoOf(open, runs, receipt, 0);
  if (receipt === undefined) throw nothingToUndo();
  if (runs.records.length === 0) throw unknownPast(receipt);
  return undoOf(open, runs, receipt, 1);
}

/** @param count how many committed runs, from the newest */
export function undoOf(
  open: Unsettled,
  { records }: CommittedRuns,
  receipt: Receipt | undefined,
  count: number,
): Undo {
  const undone = records.slice(0, count);
  const oldest = undone[undone.length - 1];
  const back = oldest === undefined ? receipt : (oldest.receipt ?? undefined);
  const leftOpen =
    open.displaced.length + open.made.length + open.units.size > 0 ||
    open.packageChanges.added.length + open.packageChanges.replaced.length + open.accounts.length > 0;
  return mergeLayers([...(leftOpen ? [layerOfUnsettled(open)] : []), ...undone], {
    current: receipt,
    receipt: back,
    back: records[count]?.running,
  });
}

/** How many runs lie between now and the state with this digest. */
function countTo(to: string, { records, unknown }: CommittedRuns, receipt: Receipt | undefined): number {
  if (!/^[0-9a-f]{8,64}$/.test(to))
    throw usageError({
      code: 'BAD_DIGEST',
      message: `--to takes a digest, or its first 8 or more hex digits, not "${to}"`,
      hint: 'To go back to a node without the bundle: airbundle uninstall. Digests: airbundle status; airbundle rollback --dry-run',
    });
  const states = [receipt, ...records.map((record) => record.receipt ?? undefined)];
  const digests = [...new Set(states.flatMap((state) => (state === undefined ? [] : [state.digest])))];
  const meant = digests.filter((digest) => digest.startsWith(to));
  if (meant.length > 1)
    throw usageError({
      code: 'BAD_DIGEST',
      message: `${to} is the beginning of several digests that were committed here`,
      details: meant,
      hint: 'Give more digits.',
    });
  const count = states.findIndex((state) => state !== undefined && state.digest === meant[0]);
  if (count >= 0) return count;
  throw refusedError({
    code: 'NO_SUCH_RUN',
    message: `no bundle with the digest ${to} was committed on this node, as far back as can be gone`,
    where: target.backup,
    details: states.flatMap((state) =>
      state === undefined
        ? []
        : [`${state.digest}  ${state.contents.name} ${state.contents.version}, ${state.committedAt}`],
    ),
    hint:
      unknown === undefined
        ? 'Take one of these.'
        : 'Take one of these; what was before them was not recorded.',
  });
}

function nothingToUndo(): BundleError {
  return refusedError({
    code: 'NOTHING_TO_UNDO',
    message: 'no bundle is installed on this node, and no run is unfinished',
    hint: 'Nothing was changed.',
  });
}

export function unknownPast(receipt: Receipt): BundleError {
  return refusedError({
    code: 'NO_UNDO',
    message: `how ${receipt.contents.name} ${receipt.contents.version} came onto this node was not recorded`,
    where: target.backup,
    hint: 'It was installed by an earlier airbundle, or the record is lost (is it in a backup of the node?). Install the same or a newer release once more; that run can then be taken back.',
  });
}

function doneButNotWell(error: unknown): unknown {
  if (!(error instanceof BundleError)) return error;
  return stepError({
    code: error.code,
    message: `the rollback is done, but ${error.message}`,
    ...(error.where === undefined ? {} : { where: error.where }),
    details: error.details,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}
