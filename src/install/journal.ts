import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';

/** What was at a path before this program wrote there. */
export interface Displaced {
  readonly path: string;
  /** A copy of the file that was there. */
  readonly backup: string | null;
  /** What the symbolic link that was there said. */
  readonly link: string | null;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A unit before this program touched it. */
export interface UnitBefore {
  readonly unit: string;
  readonly active: string;
  readonly enabled: string;
}

/** One line of the journal: what this program did on this node, in the order in which it did it. */
export type JournalEvent =
  | {
      readonly event: 'begin';
      readonly digest: string;
      readonly bundle: string;
      readonly node: string | null;
      readonly units: readonly UnitBefore[];
    }
  | { readonly event: 'step-start'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-done'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-failed'; readonly step: string; readonly reason: string }
  | ({ readonly event: 'displaced' } & Displaced)
  | { readonly event: 'made'; readonly path: string }
  | { readonly event: 'undone'; readonly step: string; readonly problems: readonly string[] }
  | { readonly event: 'commit'; readonly digest: string }
  | { readonly event: 'end'; readonly result: 'committed' | 'failed' | 'interrupted' };

export interface Journal {
  /** Resolves when the line is on disk. A line that could not be written does not hold up the next one. */
  record(event: JournalEvent): Promise<void>;
}

/**
 * Opens the journal for one run. Every line is synced before the change that it announces.
 * @param runId written into each line
 */
export function openJournal(host: Host, runId: string): Journal {
  let last: Promise<void> = Promise.resolve();
  // A killed run or a full disk can leave half a line: the next one must not be glued to it.
  let whole = false;
  const append = async (line: string): Promise<void> => {
    if (!whole) {
      const text = await host.read(target.journal);
      if (text !== undefined && text.length > 0 && text[text.length - 1] !== 0x0a)
        await host.appendDurable(target.journal, '\n');
    }
    whole = false;
    await host.appendDurable(target.journal, line);
    whole = true;
  };
  return {
    record(event) {
      const line = `${JSON.stringify({ time: new Date().toISOString(), run: runId, ...event })}\n`;
      const mine = last.then(() => append(line));
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}

/** What earlier runs began and neither committed nor undid: they were killed, or could not undo everything. */
export interface Unsettled {
  /**
   * NEVRAs of an RPM step that began and never ended: a killed %post leaves a package that looks whole to
   * rpm -q and rpm -V (FACTS), so these are installed again.
   */
  readonly packages: ReadonlySet<string>;
  /** What these runs wrote over, in the order in which they did; each path once, as it was before all of them. */
  readonly displaced: readonly Displaced[];
  /** Directories that they made, in that order. */
  readonly made: readonly string[];
  /** Units as they were before the first of them. */
  readonly units: ReadonlyMap<string, UnitBefore>;
}

export const NOTHING_UNSETTLED: Unsettled = {
  packages: new Set(),
  displaced: [],
  made: [],
  units: new Map(),
};

export async function readUnsettled(host: Host): Promise<Unsettled> {
  return unsettled((await host.read(target.journal))?.toString('utf8') ?? '');
}

/** Pure: the journal's text → what is open at its end. */
export function unsettled(text: string): Unsettled {
  const packages = new Set<string>();
  let begun: string[] = [];
  const displaced = new Map<string, Displaced>();
  const made = new Set<string>();
  const units = new Map<string, UnitBefore>();
  const settle = (): void => {
    for (const open of [displaced, made, units]) open.clear();
  };
  for (const raw of text.split('\n')) {
    const line = parse(raw);
    if (line === undefined) continue;
    if (line.event === 'begin')
      for (const unit of listOf(line.units))
        if (isUnit(unit) && !units.has(unit.unit)) units.set(unit.unit, unit);
    if (line.event === 'displaced' && isDisplaced(line) && !displaced.has(line.path))
      displaced.set(line.path, {
        path: line.path,
        backup: line.backup,
        link: line.link,
        mode: line.mode,
        uid: line.uid,
        gid: line.gid,
      });
    if (line.event === 'made' && typeof line.path === 'string') made.add(line.path);
    if (line.event === 'commit') settle();
    if (line.event === 'undone' && listOf(line.problems).length === 0) settle();
    if (line.step !== 'rpms') continue;
    if (line.event === 'step-start') {
      begun = listOf(line.data).filter((nevra): nevra is string => typeof nevra === 'string');
      for (const nevra of begun) packages.add(nevra);
    }
    // Only what this step began: an earlier bundle's half-installed package stays open.
    if (line.event === 'step-done') for (const nevra of begun) packages.delete(nevra);
  }
  return { packages, displaced: [...displaced.values()], made: [...made], units };
}

/** Any of the events, as read: nothing is believed of it. */
interface Line {
  readonly event?: unknown;
  readonly step?: unknown;
  readonly data?: unknown;
  readonly units?: unknown;
  readonly problems?: unknown;
  readonly path?: unknown;
  readonly backup?: unknown;
  readonly link?: unknown;
  readonly mode?: unknown;
  readonly uid?: unknown;
  readonly gid?: unknown;
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

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function isUnit(value: unknown): value is UnitBefore {
  if (typeof value !== 'object' || value === null) return false;
  const { unit, active, enabled } = value as Partial<Record<keyof UnitBefore, unknown>>;
  return [unit, active, enabled].every((word) => typeof word === 'string');
}

function isDisplaced(line: Line): line is Line & Displaced {
  const nullable = (value: unknown): boolean => value === null || typeof value === 'string';
  return (
    typeof line.path === 'string' &&
    nullable(line.backup) &&
    nullable(line.link) &&
    [line.mode, line.uid, line.gid].every((value) => typeof value === 'number')
  );
}
