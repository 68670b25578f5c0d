import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Begun, Displaced, MadeAccount, Placed, UnitBefore } from './journal.js';
import type { PackageChanges, ReplacedPackage } from './package-changes.js';
import { NO_PACKAGE_CHANGES, together } from './package-changes.js';
import type { Running } from './running.js';
import { NOTHING_RUNNING, RunningSchema } from './running.js';

/** What earlier runs began and neither committed nor undid: they were killed, or could not undo everything. */
export interface Unsettled {
  /** The last run that was begun and not ended well; undefined: what is open is a failed run's, which was undone. */
  readonly begun: (Begun & { readonly run: string }) | undefined;
  /**
   * NEVRAs of an RPM step that began and never ended: a killed %post leaves a package that looks whole to
   * rpm -q and rpm -V (FACTS), so these are installed again.
   */
  readonly packages: ReadonlySet<string>;
  /** What all uncommitted runs did to the rpmdb, also those that failed and were undone: packages stay. */
  readonly packageChanges: PackageChanges;
  /** Accounts that they made; these stay too. */
  readonly accounts: readonly MadeAccount[];
  /** What these runs wrote over, in the order in which they did; each path once, as it was before all of them. */
  readonly displaced: readonly Displaced[];
  /** Directories that they made, in that order. */
  readonly made: readonly string[];
  /** Units as they were before the first of them. */
  readonly units: ReadonlyMap<string, UnitBefore>;
  /** What the last of them would have had running. */
  readonly running: Running;
}

export const NOTHING_UNSETTLED: Unsettled = {
  begun: undefined,
  packages: new Set(),
  packageChanges: NO_PACKAGE_CHANGES,
  accounts: [],
  displaced: [],
  made: [],
  units: new Map(),
  running: NOTHING_RUNNING,
};

/** @param committedRun the run that the receipt names: it was committed, whether the journal got to say so or not */
export async function readUnsettled(host: Host, committedRun: string | null): Promise<Unsettled> {
  return unsettled((await host.read(target.journal))?.toString('utf8') ?? '', committedRun);
}

/** Anything that `airbundle rollback` would take back before it comes to a committed run. */
export function hasUnsettled({ begun, packageChanges, accounts }: Unsettled): boolean {
  return (
    begun !== undefined || packageChanges.added.length + packageChanges.replaced.length + accounts.length > 0
  );
}

/** Pure: the journal's text → what is open at its end. */
export function unsettled(text: string, committedRun: string | null = null): Unsettled {
  const lines = text.split('\n').flatMap((raw) => parse(raw) ?? []);
  const committed = committedRun === null ? -1 : lines.map((line) => line.run).lastIndexOf(committedRun);
  const packages = new Set<string>();
  let begunPackages: string[] = [];
  let begun: Unsettled['begun'];
  let running = NOTHING_RUNNING;
  let packageChanges = NO_PACKAGE_CHANGES;
  const accounts = new Map<string, MadeAccount>();
  const displaced = new Map<string, Displaced>();
  const made = new Set<string>();
  const units = new Map<string, UnitBefore>();
  const undone = (): void => {
    for (const open of [displaced, made, units]) open.clear();
    begun = undefined;
  };
  const settle = (): void => {
    undone();
    packageChanges = NO_PACKAGE_CHANGES;
    accounts.clear();
  };

  for (const [index, line] of lines.entries()) {
    switch (line.event) {
      case 'begin': {
        for (const unit of listOf(line.units))
          if (isUnit(unit) && !units.has(unit.unit)) units.set(unit.unit, unit);
        begun = begunOf(line);
        const described = RunningSchema.safeParse(line.running);
        if (described.success) running = described.data;
        break;
      }
      case 'displaced':
        if (isDisplaced(line) && !displaced.has(line.path)) displaced.set(line.path, displacedOf(line));
        break;
      case 'placed': {
        const entry = typeof line.path === 'string' ? displaced.get(line.path) : undefined;
        const after = placedOf(line.after);
        if (entry !== undefined && after !== null) displaced.set(entry.path, { ...entry, after });
        break;
      }
      case 'made':
        if (typeof line.path === 'string') made.add(line.path);
        break;
      case 'undone':
        if (listOf(line.problems).length === 0) undone();
        break;
      case 'commit':
        settle();
        break;
      case 'taken-back':
        settle();
        packages.clear();
        break;
      case 'step-start':
        if (line.step === 'users')
          for (const account of listOf(line.data))
            if (isAccount(account) && !accounts.has(account.name)) accounts.set(account.name, account);
        if (line.step !== 'rpms') break;
        {
          const changes = packageChangesOf(line.data);
          packageChanges = together(packageChanges, changes);
          begunPackages = [...changes.added, ...changes.replaced.map(({ to }) => to)];
          for (const nevra of begunPackages) packages.add(nevra);
        }
        break;
      case 'step-done':
        // Only what this step began: an earlier bundle's half-installed package stays open.
        if (line.step === 'rpms') for (const nevra of begunPackages) packages.delete(nevra);
        break;
      default:
    }
    if (index === committed) settle();
  }
  return {
    begun,
    packages,
    packageChanges,
    accounts: [...accounts.values()],
    displaced: [...displaced.values()],
    made: [...made],
    units,
    running,
  };
}

/** Any of the events, as read: nothing is believed of it. */
type Line = Readonly<
  Partial<
    Record<
      | 'run'
      | 'event'
      | 'kind'
      | 'digest'
      | 'bundle'
      | 'node'
      | 'siteDigest'
      | 'flags'
      | 'undoes'
      | 'to'
      | 'running'
      | 'step'
      | 'data'
      | 'units'
      | 'problems'
      | 'path'
      | 'backup'
      | 'link'
      | 'mode'
      | 'uid'
      | 'gid'
      | 'sha256'
      | 'after',
      unknown
    >
  >
>;

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

const textOr = <T>(value: unknown, otherwise: T): string | T =>
  typeof value === 'string' ? value : otherwise;

const textsOf = (value: unknown): string[] =>
  listOf(value).filter((one): one is string => typeof one === 'string');

function begunOf(line: Line): Begun & { readonly run: string } {
  const run = textOr(line.run, '');
  if (line.kind === 'rollback' || line.kind === 'uninstall')
    return {
      run,
      kind: line.kind,
      digest: textOr(line.digest, null),
      undoes: textsOf(line.undoes),
      to: textOr(line.to, null),
    };
  return {
    run,
    kind: 'install',
    digest: textOr(line.digest, ''),
    bundle: textOr(line.bundle, ''),
    node: textOr(line.node, null),
    siteDigest: textOr(line.siteDigest, null),
    flags: textsOf(line.flags),
  };
}

function packageChangesOf(data: unknown): PackageChanges {
  const { added, replaced } = (typeof data === 'object' && data !== null ? data : {}) as Partial<
    Record<keyof PackageChanges, unknown>
  >;
  return { added: textsOf(added), replaced: listOf(replaced).filter(isReplaced) };
}

function isReplaced(value: unknown): value is ReplacedPackage {
  if (typeof value !== 'object' || value === null) return false;
  const { from, to } = value as Partial<Record<keyof ReplacedPackage, unknown>>;
  return typeof from === 'string' && typeof to === 'string';
}

function isAccount(value: unknown): value is MadeAccount {
  if (typeof value !== 'object' || value === null) return false;
  const { name, ownGroup } = value as Partial<Record<keyof MadeAccount, unknown>>;
  return typeof name === 'string' && typeof ownGroup === 'boolean';
}

function isUnit(value: unknown): value is UnitBefore {
  if (typeof value !== 'object' || value === null) return false;
  const { unit, active, enabled } = value as Partial<Record<keyof UnitBefore, unknown>>;
  return [unit, active, enabled].every((word) => typeof word === 'string');
}

type DisplacedLine = Line & Omit<Displaced, 'sha256' | 'after'>;

function isDisplaced(line: Line): line is DisplacedLine {
  const nullable = (value: unknown): boolean => value === null || typeof value === 'string';
  return (
    typeof line.path === 'string' &&
    nullable(line.backup) &&
    nullable(line.link) &&
    [line.mode, line.uid, line.gid].every((value) => typeof value === 'number')
  );
}

function displacedOf(line: DisplacedLine): Displaced {
  const { path, backup, link, mode, uid, gid } = line;
  return {
    path,
    backup,
    link,
    mode,
    uid,
    gid,
    sha256: textOr(line.sha256, null),
    after: placedOf(line.after),
  };
}

function placedOf(value: unknown): Placed | null {
  if (typeof value !== 'object' || value === null) return null;
  const { sha256, link } = value as Partial<Record<keyof Placed, unknown>>;
  if (typeof sha256 === 'string') return { sha256, link: null };
  return typeof link === 'string' ? { sha256: null, link } : null;
}
