import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { KEPT_LIST } from './tidy.js';

const KeptSchema = z.array(
  z.strictObject({ path: z.string(), copy: z.string().nullable(), link: z.string().nullable() }),
);
/** What somebody had made of a path, before a run took it back. */
export type Kept = z.infer<typeof KeptSchema>[number];

/** Keeps what people had changed by hand, below the run's own backup folder; kept.json names it. */
export interface KeptAside {
  keep(path: string): Promise<void>;
  /** From a backup that is about to be removed. @param run the run that displaced it */
  keepCopy(path: string, backup: string, run: string): Promise<void>;
  all(): readonly Kept[];
}

export async function readKept(host: Host, runId: string): Promise<Kept[]> {
  const bytes = await host.read(join(target.backup, runId, KEPT_LIST));
  const read = bytes === undefined ? [] : (JSON.parse(bytes.toString('utf8')) as unknown);
  const parsed = KeptSchema.safeParse(read);
  return parsed.success ? parsed.data : [];
}

/** @param before what an earlier, unfinished try kept: it is told again */
export function keepAside(host: Host, runId: string, before: readonly Kept[]): KeptAside {
  const kept = [...before];
  const add = async (entry: Kept, from: string): Promise<void> => {
    if (entry.copy !== null) {
      await host.ensureDirectory(dirname(entry.copy));
      await host.copyDurable(from, entry.copy, { mode: 0o600 });
    } else await host.ensureDirectory(join(target.backup, runId));
    kept.push(entry);
    const list = join(target.backup, runId, KEPT_LIST);
    await host.writeDurable(list, `${JSON.stringify(kept, null, 1)}\n`, { mode: 0o600 });
  };
  return {
    async keep(path) {
      const facts = await host.lstat(path);
      if (facts?.kind === 'link')
        await add({ path, copy: null, link: (await host.readlink(path)) ?? '' }, path);
      if (facts?.kind === 'file')
        await add({ path, copy: `${target.backup}/${runId}${path}`, link: null }, path);
    },
    async keepCopy(path, backup, run) {
      if ((await host.lstat(backup)) === undefined) return;
      await add({ path, copy: `${target.backup}/${runId}/from-${run}${path}`, link: null }, backup);
    },
    all: () => kept,
  };
}

export function keptInWords({ path, copy, link }: Kept): string {
  return copy === null
    ? `${path} was changed by hand: it was a link to ${link ?? ''}`
    : `${path} was changed by hand; what was in it: ${copy}`;
}
