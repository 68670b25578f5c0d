import { z } from 'zod';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Receipt } from './receipt.js';
import { ReceiptSchema } from './receipt.js';
import { RunningSchema } from './running.js';

const Placed = z.union([
  z.strictObject({ sha256: z.string(), link: z.null() }),
  z.strictObject({ sha256: z.null(), link: z.string() }),
]);

/** What a committed run did, kept beside the files that it displaced: all that taking it back needs. */
const UndoRecordSchema = z.strictObject({
  airbundleUndo: z.literal(1),
  run: z.string(),
  /** UTC. */
  committedAt: z.string(),
  /** Name and version. */
  bundle: z.string(),
  /** Digest that was committed before; null: nothing was. */
  from: z.string().nullable(),
  to: z.string(),
  displaced: z.array(
    z.strictObject({
      path: z.string(),
      backup: z.string().nullable(),
      link: z.string().nullable(),
      mode: z.int(),
      uid: z.int(),
      gid: z.int(),
      sha256: z.string().nullable(),
      after: Placed.nullable(),
    }),
  ),
  made: z.array(z.string()),
  packages: z.strictObject({
    added: z.array(z.string()),
    replaced: z.array(z.strictObject({ from: z.string(), to: z.string() })),
  }),
  accounts: z.array(z.strictObject({ name: z.string(), ownGroup: z.boolean() })),
  units: z.array(z.strictObject({ unit: z.string(), active: z.string(), enabled: z.string() })),
  /** What this run left running. */
  running: RunningSchema,
  /** The receipt before this run. */
  receipt: ReceiptSchema.nullable(),
});
export type UndoRecord = z.infer<typeof UndoRecordSchema>;

const pathOf = (run: string): string => `${target.backup}/${run}/undo.json`;

export async function writeUndoRecord(host: Host, record: UndoRecord): Promise<void> {
  const path = pathOf(record.run);
  await host.ensureDirectory(`${target.backup}/${record.run}`);
  await host.writeDurable(path, `${JSON.stringify(UndoRecordSchema.parse(record), null, 1)}\n`, {
    mode: 0o600,
  });
}

async function readUndoRecord(host: Host, run: string): Promise<UndoRecord | undefined> {
  const bytes = await host.read(pathOf(run));
  if (bytes === undefined) return undefined;
  try {
    return UndoRecordSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw refusedError({
      code: 'BAD_UNDO',
      message: 'what a run changed on this node cannot be read',
      where: pathOf(run),
      hint: 'Restore it from a backup of the node. Nothing was changed.',
      cause,
    });
  }
}

/** What was erased since is nobody's to take back: the same package may be an administrator's by then. */
export async function forgetAdded(
  host: Host,
  receipt: Receipt | undefined,
  erased: readonly string[],
): Promise<void> {
  for (const record of (await committedRuns(host, receipt)).records) {
    const added = record.packages.added.filter((nevra) => !erased.includes(nevra));
    if (added.length < record.packages.added.length)
      await writeUndoRecord(host, { ...record, packages: { ...record.packages, added } });
  }
}

/** The committed runs, the newest first, each linked to the one before by the receipt that it keeps. */
export interface CommittedRuns {
  readonly records: readonly UndoRecord[];
  /** What was committed before the oldest of them, when nothing says how it came about. */
  readonly unknown: Receipt | undefined;
}

/** @throws BundleError exit 5 for a record that cannot be read */
export async function committedRuns(host: Host, receipt: Receipt | undefined): Promise<CommittedRuns> {
  const records: UndoRecord[] = [];
  const seen = new Set<string>();
  let at = receipt;
  while (at !== undefined) {
    const record = at.run === null || seen.has(at.run) ? undefined : await readUndoRecord(host, at.run);
    if (record === undefined) return { records, unknown: at };
    seen.add(record.run);
    records.push(record);
    at = record.receipt ?? undefined;
  }
  return { records, unknown: undefined };
}
