import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** One line of the journal: what this program did on this node, in the order in which it did it. */
export type JournalEvent =
  | {
      readonly event: 'begin';
      readonly digest: string;
      readonly bundle: string;
      readonly node: string | null;
    }
  | { readonly event: 'step-start'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-done'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-failed'; readonly step: string; readonly reason: string }
  | { readonly event: 'displaced'; readonly path: string; readonly backup: string | null }
  | { readonly event: 'undone'; readonly step: string }
  | { readonly event: 'commit'; readonly digest: string }
  | { readonly event: 'end'; readonly result: 'committed' | 'failed' | 'interrupted' };

export interface Journal {
  /** Resolves when the line is on disk. */
  record(event: JournalEvent): Promise<void>;
}

/**
 * Opens the journal for one run. Every line is synced before the change that it announces.
 * @param runId written into each line
 */
export function openJournal(host: Host, runId: string): Journal {
  let last: Promise<void> = Promise.resolve();
  return {
    record(event) {
      const line = `${JSON.stringify({ time: new Date().toISOString(), run: runId, ...event })}\n`;
      last = last.then(() => host.appendDurable(target.journal, line));
      return last;
    },
  };
}

interface Line {
  readonly run?: string;
  readonly event?: string;
  readonly step?: string;
  readonly data?: unknown;
}

/**
 * NEVRAs of an RPM step that began and never ended: a killed %post leaves a package that looks whole
 * to rpm -q and rpm -V (FACTS), so these are installed again.
 */
export async function unfinishedPackages(host: Host): Promise<Set<string>> {
  const text = (await host.read(target.journal))?.toString('utf8') ?? '';
  const open = new Set<string>();
  for (const raw of text.split('\n')) {
    const line = parse(raw);
    if (line?.step !== 'rpms') continue;
    if (line.event === 'step-start' && Array.isArray(line.data))
      for (const nevra of line.data) if (typeof nevra === 'string') open.add(nevra);
    if (line.event === 'step-done') open.clear();
  }
  return open;
}

/** A line that a crash cut off is no event. */
function parse(raw: string): Line | undefined {
  if (raw === '') return undefined;
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
