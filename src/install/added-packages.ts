import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** NEVRAs that runs since the last committed one put into the rpmdb and that were not there before. */
export async function addedSinceCommit(host: Host): Promise<string[]> {
  return parseAdded((await host.read(target.journal))?.toString('utf8') ?? '');
}

/** Pure: the journal's text → those NEVRAs, in order. A line that a crash cut off tells nothing. */
export function parseAdded(text: string): string[] {
  const added = new Set<string>();
  for (const raw of text.split('\n')) {
    const line = parse(raw);
    if (line?.event === 'commit' || line?.event === 'taken-back') added.clear();
    if (line?.event !== 'adds' || !Array.isArray(line.packages)) continue;
    for (const nevra of line.packages as unknown[]) if (typeof nevra === 'string') added.add(nevra);
  }
  return [...added];
}

function parse(raw: string): { readonly event?: unknown; readonly packages?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
