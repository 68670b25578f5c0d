import { isDeepStrictEqual } from 'node:util';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** Some hundred runs; what a run needs is in its last few hundred lines. */
const MAX_JOURNAL_BYTES = 1024 * 1024;

/**
 * Leaves out the oldest runs of a journal that has grown long, as far as what is open at its end stays the
 * same: a package whose scriptlet was killed years ago is still to be installed again.
 * @param open what a journal's text leaves open
 */
export async function shortenJournal(
  host: Pick<Host, 'read' | 'writeDurable'>,
  open: (text: string) => unknown,
  maxBytes = MAX_JOURNAL_BYTES,
): Promise<void> {
  const bytes = await host.read(target.journal);
  if (bytes === undefined || bytes.length <= maxBytes) return;
  const text = bytes.toString('utf8');
  const before = open(text);
  const starts = [...text.matchAll(/^\{"time":"[^"]*","run":"[^"]*","event":"begin"/gm)].map(
    ({ index }) => index,
  );
  const cut = starts.find((start) => text.length - start <= maxBytes / 2) ?? starts.at(-1);
  if (cut === undefined) return;
  const kept = text.slice(cut);
  const packages = text
    .slice(0, cut)
    .split('\n')
    .filter((line) => line.includes('"step":"rpms"'));
  const short = [kept, [...packages, kept].join('\n')].find((one) => isDeepStrictEqual(open(one), before));
  if (short !== undefined && short.length < bytes.length)
    await host.writeDurable(target.journal, short, { mode: 0o600 });
}
