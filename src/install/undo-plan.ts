import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { MadeAccount, Placed } from './journal.js';
import type { ReplacedPackage } from './package-changes.js';
import type { UnitState } from './probe.js';
import { readUnits } from './probe.js';
import { installedPackages, ownerOf } from './rpm.js';
import type { KeptPackage } from './rpm-erase.js';
import { requireFound } from './rpm-database.js';
import { checkOldRpm, readOldRpms, rpmLabel, testDowngrade, testErase } from './rpm-erase.js';
import type { PathUndo, Undo } from './undo-merge.js';
import { leftByRpm, overwrittenFiles } from './unpacked.js';

/** What is at a path now. */
export type PathNow =
  | { readonly kind: 'none' | 'other' }
  | {
      readonly kind: 'file';
      readonly sha256: string;
      readonly mode: number;
      readonly uid: number;
      readonly gid: number;
    }
  | { readonly kind: 'link'; readonly to: string };

export interface FilePlan {
  readonly undo: PathUndo;
  readonly action: 'same' | 'put-back' | 'remove' | 'leave';
  /** What is there is not what a run put there: it is kept aside first. */
  readonly byHand: boolean;
  /** Why it is left. */
  readonly why?: string;
}

export interface PackagePlan {
  readonly erase: readonly Nevra[];
  readonly kept: readonly KeptPackage[];
  /** Put back from these RPM files. */
  readonly downgrade: readonly (ReplacedPackage & { readonly file: string })[];
  /** Stay as they are: why. */
  readonly oneWay: readonly (ReplacedPackage & { readonly because: string })[];
}

export interface ServicePlan {
  /** Stopped before any file changes, in this order. */
  readonly stop: readonly string[];
  readonly disable: readonly string[];
  /** Done when the files are back, in this order. */
  readonly enable: readonly string[];
  readonly act: readonly { readonly unit: string; readonly action: 'restart' | 'reload' | 'start' }[];
}

export interface UndoPlan {
  readonly files: readonly FilePlan[];
  readonly packages: PackagePlan;
  readonly services: ServicePlan;
  readonly accounts: readonly MadeAccount[];
  /** Files that a killed rpm left and no package owns; as it looks before packages are erased. */
  readonly unpacked: readonly string[];
}

export interface UndoPlanOptions {
  /** Folders with the RPMs of replaced packages. */
  readonly oldRpms: readonly string[];
  /** An earlier try was ended: what looks as before may not have been taken note of. */
  readonly resumed: boolean;
}

/** Looks at the node and says what taking back would do; changes nothing. */
export async function planUndo(host: Host, undo: Undo, options: UndoPlanOptions): Promise<UndoPlan> {
  const files = await Promise.all(
    undo.paths.map(async (path) => {
      const now = await readPath(host, path.before.path);
      const owner = isChangedByHand(path, now) ? await ownerOf(host, path.before.path) : undefined;
      return planFile(path, now, owner);
    }),
  );
  const units = await readUnits(
    host,
    undo.units.map(({ unit }) => unit),
  );
  const accounts = await Promise.all(
    undo.accounts.map(async (account) => ((await accountExists(host, account.name)) ? [account] : [])),
  );
  return {
    files,
    packages: await planPackages(host, undo, options.oldRpms),
    services: planServices(undo, units, touchedPaths(files, options.resumed)),
    accounts: accounts.flat(),
    unpacked: (await leftByRpm(host)).paths.map(({ path }) => path),
  };
}

export async function readPath(host: Host, path: string): Promise<PathNow> {
  const facts = await host.lstat(path);
  if (facts === undefined) return { kind: 'none' };
  if (facts.kind === 'link') return { kind: 'link', to: (await host.readlink(path)) ?? '' };
  if (facts.kind !== 'file') return { kind: 'other' };
  const { mode, uid, gid } = facts;
  return { kind: 'file', sha256: (await host.sha256(path)) ?? '', mode, uid, gid };
}

/** Pure: what happens to one path. @param owner the installed package that owns it; asked for what was changed by hand */
export function planFile(undo: PathUndo, now: PathNow, owner: string | undefined): FilePlan {
  const { before } = undo;
  if (isAsBefore(undo, now)) return { undo, action: 'same', byHand: false };
  if (now.kind === 'other')
    return { undo, action: 'leave', byHand: true, why: 'there is no file there any more' };
  const byHand = isChangedByHand(undo, now);
  if (byHand && owner !== undefined)
    return { undo, action: 'leave', byHand, why: `it belongs to ${owner} by now` };
  const nothing = before.backup === null && before.link === null;
  return { undo, action: nothing ? 'remove' : 'put-back', byHand };
}

function isAsBefore({ before }: PathUndo, now: PathNow): boolean {
  if (before.link !== null) return now.kind === 'link' && now.to === before.link;
  if (before.backup === null) return now.kind === 'none';
  return (
    now.kind === 'file' &&
    now.sha256 === before.sha256 &&
    now.mode === before.mode &&
    now.uid === before.uid &&
    now.gid === before.gid
  );
}

/** Also where it is not known what was put there: better kept aside once too often. */
function isChangedByHand({ before, ours }: PathUndo, now: PathNow): boolean {
  const is = ({ sha256, link }: Placed): boolean =>
    now.kind === 'file' ? sha256 === now.sha256 : now.kind === 'link' && link === now.to;
  if (now.kind === 'none') return ours.length > 0;
  const content: Placed[] = before.sha256 === null ? [] : [{ sha256: before.sha256, link: null }];
  return ![...ours, ...content].some(is);
}

function touchedPaths(files: readonly FilePlan[], resumed: boolean): ReadonlySet<string> {
  return new Set(
    files
      .filter(({ action }) => (resumed ? action !== 'leave' : action === 'put-back' || action === 'remove'))
      .map(({ undo }) => undo.before.path),
  );
}

/** Pure: what was not running stops, what was running runs again with what is put back. */
export function planServices(
  undo: Pick<Undo, 'units' | 'running' | 'back' | 'current' | 'receipt'>,
  now: ReadonlyMap<string, UnitState>,
  touched: ReadonlySet<string>,
): ServicePlan {
  const services = new Map(
    [...undo.running.services, ...undo.back.services].map((service) => [service.unit, service]),
  );
  const order = [...services.keys()];
  const units = [...undo.units].sort((a, b) => order.indexOf(a.unit) - order.indexOf(b.unit));
  const stop: string[] = [];
  const disable: string[] = [];
  const enable: string[] = [];
  const act: ServicePlan['act'][number][] = [];
  for (const before of units) {
    const { unit } = before;
    const state = now.get(unit);
    const known = (state?.fragment ?? '') !== '';
    const runs = !['', 'inactive', 'failed', 'unknown'].includes(state?.active ?? '');
    if (before.active !== 'active') {
      if (known && runs) stop.unshift(unit);
    } else {
      const action = actionOf(unit, services, touched, filesOf(undo, services.get(unit)?.component));
      if (state?.active !== 'active') act.push({ unit, action: 'start' });
      else if (action !== undefined) act.push({ unit, action });
    }
    if (before.enabled !== 'enabled' && known && state?.enabled === 'enabled') disable.unshift(unit);
    if (before.enabled === 'enabled' && state?.enabled !== 'enabled') enable.push(unit);
  }
  return { stop, disable, enable, act };
}

function filesOf(
  { current, receipt }: Pick<Undo, 'current' | 'receipt'>,
  component: string | undefined,
): string[] {
  return [current, receipt]
    .flatMap((one) => [...(one?.files ?? []), ...(one?.links ?? [])])
    .filter((file) => file.component === component)
    .map((file) => file.path);
}

function actionOf(
  unit: string,
  services: ReadonlyMap<string, Undo['running']['services'][number]>,
  touched: ReadonlySet<string>,
  programs: readonly string[],
): 'restart' | 'reload' | undefined {
  const service = services.get(unit);
  if (service === undefined) return undefined;
  if ([service.unitFile, ...service.restartOn, ...programs].some((path) => touched.has(path)))
    return 'restart';
  return service.reloadOn.some((path) => touched.has(path)) ? 'reload' : undefined;
}

async function planPackages(host: Host, undo: Undo, folders: readonly string[]): Promise<PackagePlan> {
  const installed = await installedPackages(host);
  const byNevra = new Map(installed.map((nevra) => [formatNevra(nevra), nevra]));
  const added = undo.packages.added.flatMap((nevra) => byNevra.get(nevra) ?? []);
  const replaced: ReplacedPackage[] = [];
  for (const change of undo.packages.replaced)
    if (byNevra.has(change.to) || (await isHalfReplaced(host, byNevra.get(change.from))))
      replaced.push(change);
  const addedLabels = new Set(added.map(rpmLabel));
  const old = replaced.length === 0 ? [] : await readOldRpms(host, folders);
  const downgrade: PackagePlan['downgrade'][number][] = [];
  const oneWay: PackagePlan['oneWay'][number][] = [];
  for (const { from, to } of replaced) {
    const rpm = old.find(({ nevra }) => nevra === from);
    const because =
      rpm === undefined
        ? `its old RPM is not at hand (now: --old-rpms FOLDER; later only by hand: rpm -Uvh --oldpackage FILE)${byNevra.has(from) ? '; an rpm was killed between the two, and there is something of both' : ''}`
        : ((await checkOldRpm(host, rpm)) ?? undefined);
    if (rpm !== undefined && because === undefined) downgrade.push({ from, to, file: rpm.file });
    else oneWay.push({ from, to, because: because ?? '' });
  }
  const against = await testDowngrade(
    host,
    downgrade.map(({ file }) => file),
    addedLabels,
  );
  if (against.length > 0) {
    for (const { from, to } of downgrade) oneWay.push({ from, to, because: `rpm: ${against.join('; ')}` });
    downgrade.length = 0;
  }
  const leaving = new Set(
    downgrade.flatMap(({ to }) => {
      const nevra = byNevra.get(to);
      return nevra === undefined ? [] : [rpmLabel(nevra)];
    }),
  );
  await requireFound(host, added.map(rpmLabel));
  return { ...(await testErase(host, added, leaving)), downgrade, oneWay };
}

/** An rpm was killed while it unpacked the version that was to follow: its files lie there, its name is in no database. */
async function isHalfReplaced(host: Host, from: Nevra | undefined): Promise<boolean> {
  return from !== undefined && (await overwrittenFiles(host, from)).length > 0;
}

export async function accountExists(host: Host, name: string): Promise<boolean> {
  const result = await host.run(['getent', 'passwd', name]);
  return result.exitCode === 0 && result.stdout.startsWith(`${name}:`);
}

/** Our own program, its command and its trusted keys: they go last, since they are at work. */
export function isOwnPath(path: string): boolean {
  return (
    path === target.command ||
    path === target.commandAlias ||
    path.startsWith(`${target.libexec}/`) ||
    path.startsWith(`${target.trust}/`)
  );
}
