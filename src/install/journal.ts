import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { PackageChanges } from './package-changes.js';
import type { Running } from './running.js';

/** What a run puts at a path: a regular file or a symbolic link. */
export type Placed =
  { readonly sha256: string; readonly link: null } | { readonly sha256: null; readonly link: string };

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
  /** SHA-256 of the file that was there. */
  readonly sha256: string | null;
  /** What took its place; null: not known. */
  readonly after: Placed | null;
}

/** A unit before this program touched it. */
export interface UnitBefore {
  readonly unit: string;
  readonly active: string;
  readonly enabled: string;
}

export interface MadeAccount {
  readonly name: string;
  /** Its group was made with it. */
  readonly ownGroup: boolean;
}

/** A run as it began. What differs in a run that goes on with it is refused. */
export type Begun = BegunInstall | BegunUndo;

export interface BegunInstall {
  readonly kind: 'install';
  readonly digest: string;
  /** Name and version. */
  readonly bundle: string;
  readonly node: string | null;
  readonly siteDigest: string | null;
  /** The flags that change the plan, as typed, sorted. */
  readonly flags: readonly string[];
}

export interface BegunUndo {
  readonly kind: 'rollback' | 'uninstall';
  /** The digest that is gone back to; null: nothing installed. */
  readonly digest: string | null;
  /** The runs that it takes back, the newest first. */
  readonly undoes: readonly string[];
  /** The run whose receipt is committed afterwards. */
  readonly to: string | null;
}

/** One line of the journal: what this program did on this node, in the order in which it did it. */
export type JournalEvent =
  | ({
      readonly event: 'begin';
      /** SHA-256 of the plan that was approved, when one was given. */
      readonly plan?: string;
      readonly units: readonly UnitBefore[];
      readonly running: Running;
    } & BegunInstall)
  | ({ readonly event: 'begin' } & BegunUndo)
  /** After the commit: packages that only the build needed, before and after rpm erases them. */
  | { readonly event: 'erasing' | 'erased'; readonly packages: readonly string[] }
  | { readonly event: 'step-start'; readonly step: 'rpms'; readonly data: PackageChanges }
  | { readonly event: 'step-start'; readonly step: 'users'; readonly data: readonly MadeAccount[] }
  | { readonly event: 'step-start'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-done'; readonly step: string; readonly data?: unknown }
  | { readonly event: 'step-failed'; readonly step: string; readonly reason: string }
  | ({ readonly event: 'displaced' } & Displaced)
  /** Another content than the one that `displaced` announced goes to a path of this or an unfinished run. */
  | { readonly event: 'placed'; readonly path: string; readonly after: Placed }
  | { readonly event: 'made'; readonly path: string }
  | { readonly event: 'undone'; readonly step: string; readonly problems: readonly string[] }
  | { readonly event: 'commit'; readonly digest: string | null }
  /** A rollback or an uninstall is done: nothing of what it took back is open any more. */
  | { readonly event: 'taken-back'; readonly digest: string | null }
  /** The trust store: said before it is changed, for the record of a run that is killed. */
  | { readonly event: 'change'; readonly kind: 'trust'; readonly changes: readonly string[] }
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
