import { createHash } from 'node:crypto';
import { z } from 'zod';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { BundledComponent } from '../model/contents.js';
import { ContentsSchema } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';

const InstalledFile = z.strictObject({
  component: z.string(),
  path: z.string(),
  sha256: Sha256,
  mode: z.int(),
});
export type InstalledFile = z.infer<typeof InstalledFile>;

const InstalledLink = z.strictObject({ component: z.string(), path: z.string(), to: z.string() });
export type InstalledLink = z.infer<typeof InstalledLink>;

/** What `status` asks about, as the site said when it was installed (configure/types.ts). */
const Watched = z.strictObject({
  units: z.array(z.string()),
  versions: z.array(
    z.strictObject({ component: z.string(), label: z.string(), argv: z.tuple([z.string()], z.string()) }),
  ),
  vips: z.array(
    z.strictObject({ name: z.string(), address: z.string(), prefixLength: z.int(), interface: z.string() }),
  ),
  sockets: z.array(z.strictObject({ path: z.string(), send: z.string(), judge: z.string() })),
});
export type Watched = z.infer<typeof Watched>;

export const ReceiptSchema = z.strictObject({
  airbundleReceipt: z.literal(1),
  /** The run that committed it: its undo.json says how to go back. null in receipts of before this was kept. */
  run: z.string().nullable().default(null),
  /** SHA-256 of X.sha256: names one signed bundle. */
  digest: Sha256,
  /** The key that its signature was verified with. */
  keyId: z.string(),
  /** UTC. */
  committedAt: z.string(),
  node: z.string().nullable(),
  siteDigest: Sha256.nullable(),
  contents: ContentsSchema,
  /** Component → digest of its source and recipe: what the files below were built from. */
  recipes: z.record(z.string(), z.string()),
  files: z.array(InstalledFile),
  links: z.array(InstalledLink),
  /** The configuration files as they were rendered; absent in receipts of before this was kept. */
  configured: z.array(InstalledFile).default([]),
  /** Paths that earlier installations put there, that are still there and belong to none of the above; absent: there are none. */
  dropped: z.array(z.string()).optional(),
  watched: Watched,
  rpms: z.strictObject({
    before: z.int(),
    after: z.int(),
    installed: z.array(z.string()),
    /** NEVRAs of the bundle that this node does without: erased after the build, or only ever in its own root. */
    absent: z.array(z.string()).default([]),
    /** NEVRAs that are to be erased after the build; a run that was killed did not get to it. */
    pending: z.array(z.string()).default([]),
  }),
});
export type Receipt = z.infer<typeof ReceiptSchema>;

/** @throws BundleError exit 5 when there is one that cannot be read: it says what was committed here */
export async function readReceipt(host: Host): Promise<Receipt | undefined> {
  const bytes = await host.read(target.receipt);
  if (bytes === undefined) return undefined;
  try {
    return ReceiptSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw refusedError({
      code: 'BAD_RECEIPT',
      message: 'the receipt of the last installation cannot be read',
      where: target.receipt,
      details: [cause instanceof z.ZodError ? (z.prettifyError(cause).split('\n')[0] ?? '') : String(cause)],
      hint: `It says what is installed here, so nothing goes on without it. Restore it from a backup of the node: install -m 600 BACKUP${target.receipt} ${target.receipt}`,
      cause,
    });
  }
}

export async function writeReceipt(host: Host, receipt: Receipt): Promise<void> {
  // In one order of its members: a receipt that a rollback puts back has the bytes that it had.
  const text = JSON.stringify(ReceiptSchema.parse(receipt), null, 1);
  await host.writeDurable(target.receipt, `${text}\n`, { mode: 0o600 });
}

/** Two components with the same recipe are built from the same source by the same commands. */
export function recipeOf(component: BundledComponent): string {
  const { source, build, install, files, discard, links, smoke } = component;
  const parts = [source.commit, source.tree, build, install, files, discard, links, smoke ?? []];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** After the last run was taken back: nothing is installed. */
export async function removeReceipt(host: Host): Promise<void> {
  await host.remove(target.receipt);
}
