import { join } from 'node:path';
import { EXIT } from '../errors.js';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { alone } from './alone.js';
import { readReceipt, removeReceipt } from './receipt.js';
import { undoOf, unknownPast } from './rollback.js';
import { systemError } from './system-error.js';
import { dropLeftovers, KEPT_LIST } from './tidy.js';
import { undoCommand } from './undo-command.js';
import { committedRuns } from './undo-record.js';
import type { UndoRequest, UndoResult } from './undo-run.js';
import { nothingDone, runUndo } from './undo-run.js';
import { NOTHING_UNSETTLED, readUnsettled } from './unsettled.js';

export interface UninstallRequest extends UndoRequest {
  /** Receipts, sequence floor and removed keys go too. */
  readonly purge: boolean;
}

/** Below the state folder: what a later installation must still know. */
const REMEMBERED: readonly string[] = ['receipts', 'floor.json'];
/** In the trust store. */
const REMOVED_KEYS = 'removed';

/**
 * Takes back every run, then everything of our own. What people changed by hand stays in the backup
 * folder and is named.
 * @throws BundleError exit 5 or 6
 */
export async function uninstall(host: Host, request: UninstallRequest): Promise<UndoResult> {
  const places = [target.state, target.command, target.libexec, target.trust];
  const there = await Promise.all(places.map((path) => host.lstat(path)));
  if (there.every((facts) => facts === undefined))
    return nothingDone(undoOf(NOTHING_UNSETTLED, { records: [], unknown: undefined }, undefined, 0));
  try {
    return await alone(host, () => uninstallAlone(host, request), request.audit);
  } catch (error) {
    throw systemError(error, 'preparing the uninstall', EXIT.stepFailed);
  }
}

async function uninstallAlone(host: Host, request: UninstallRequest): Promise<UndoResult> {
  await dropLeftovers(host, undefined);
  const receipt = await readReceipt(host);
  const open = await readUnsettled(host, receipt?.run ?? null);
  const runs = await committedRuns(host, receipt);
  if (runs.unknown !== undefined) throw unknownPast(runs.unknown);
  const undo = undoOf(open, runs, receipt, runs.records.length);
  return runUndo(host, request, {
    kind: 'uninstall',
    undo,
    resumes: open.begun !== undefined && open.begun.kind !== 'install' ? open.begun.run : undefined,
    command: await undoCommand(host, 'uninstall'),
    commit: async () => {
      await removeTrust(host, request.purge);
      await removeCommand(host);
      await removeReceipt(host);
      await removeState(host, request.purge);
    },
  });
}

/** The keys that are trusted; those that were removed stay known. */
async function removeTrust(host: Host, purge: boolean): Promise<void> {
  for (const name of await host.list(target.trust))
    if (purge || name !== REMOVED_KEYS) await host.remove(join(target.trust, name));
  for (const folder of [join(target.trust, REMOVED_KEYS), target.trust, '/etc/airbundle'])
    await host.removeDirectory(folder);
}

/** What is left of the program that does this: it is in memory by now. */
async function removeCommand(host: Host): Promise<void> {
  const marked = '# airbundle: written by its installer.';
  const text = await host.read(target.command).catch(() => undefined);
  if (text?.toString('utf8').includes(marked) === true) await host.remove(target.command);
  if ((await host.readlink(target.commandAlias)) === target.command) await host.remove(target.commandAlias);
  for (const path of [target.runtime, target.installer, target.deploy]) await host.remove(path);
  await host.removeDirectory(target.libexec);
}

async function removeState(host: Host, purge: boolean): Promise<void> {
  await host.remove(target.log);
  for (const name of await host.list(target.backup))
    if ((await host.lstat(join(target.backup, name, KEPT_LIST))) === undefined)
      await host.remove(join(target.backup, name));
  await host.removeDirectory(target.backup);
  for (const name of await host.list(target.state)) {
    const path = join(target.state, name);
    if (path === target.backup || (!purge && REMEMBERED.includes(name))) continue;
    await host.remove(path);
  }
  await host.removeDirectory(target.state);
}
