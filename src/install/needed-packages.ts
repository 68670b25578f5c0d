import type { BundledRpm, Contents } from '../model/contents.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { BuildWay } from '../model/packages.js';
import { namesForBuildOnly, namesForRun } from '../model/packages.js';
import type { Receipt } from './receipt.js';

/** Where this run builds, and who said so. */
export interface ChosenWay {
  readonly way: BuildWay;
  readonly because: 'manifest' | 'flag';
}

export function chooseWay(contents: Pick<Contents, 'buildIn'>, flag: BuildWay | undefined): ChosenWay {
  return flag === undefined
    ? { way: contents.buildIn ?? 'host', because: 'manifest' }
    : { way: flag, because: 'flag' };
}

export interface NeededRequest {
  readonly contents: Pick<Contents, 'rpms' | 'components'>;
  readonly way: BuildWay;
  /** Something has to be built. */
  readonly builds: boolean;
  /** Paths of the RPMs that rpm says this node lacks to run the programs; undefined: nobody asked rpm. */
  readonly runPackages: ReadonlySet<string> | undefined;
  readonly receipt: Pick<Receipt, 'rpms'> | undefined;
  /** NEVRAs that a killed run began to install: they look whole, and are not (FACTS). */
  readonly unfinished: ReadonlySet<string>;
}

export interface NeededPackages {
  /** The bundle's RPMs that the node's own rpmdb has to hold, or a newer version. */
  readonly wanted: readonly BundledRpm[];
  /** Those that it does without. */
  readonly leftOut: readonly BundledRpm[];
}

/**
 * Which of the bundle's RPMs the node itself needs. A build on the node needs all of them; once it is done,
 * what the receipt calls absent is not missed. Pure.
 */
export function neededPackages(request: NeededRequest): NeededPackages {
  const { contents, way, builds, runPackages, receipt, unfinished } = request;
  if (builds && way === 'host') return { wanted: contents.rpms, leftOut: [] };
  const run = namesForRun(contents.components);
  const build = namesForBuildOnly(contents.components);
  // A killed run may have erased some of those that its receipt calls pending.
  const absent = new Set([...(receipt?.rpms.absent ?? []), ...(receipt?.rpms.pending ?? [])].map(nameOf));
  const isNeeded = ({ path, nevra }: BundledRpm): boolean => {
    if (run.has(nevra.name) || unfinished.has(formatNevra(nevra))) return true;
    if (runPackages !== undefined) return runPackages.has(path);
    return receipt !== undefined && !build.has(nevra.name) && !absent.has(nevra.name);
  };
  return {
    wanted: contents.rpms.filter(isNeeded),
    leftOut: contents.rpms.filter((rpm) => !isNeeded(rpm)),
  };
}

/** Of a NEVRA: version and release hold no "-". */
function nameOf(nevra: string): string {
  return nevra.replace(/-[^-]+-[^-]+$/, '');
}

export interface EraseRequest {
  readonly contents: Pick<Contents, 'components'>;
  /** --keep-build-packages */
  readonly keep: boolean;
  /** What this run installs for a build on the node; empty when it builds none there. */
  readonly missing: readonly BundledRpm[];
  /** What the node needs of the bundle although nothing is built there. */
  readonly needed: readonly BundledRpm[];
  /** NEVRAs that uncommitted runs before this one added. */
  readonly addedBefore: readonly string[];
  /** NEVRAs that a committed run was to erase and did not get to. */
  readonly pending: readonly string[];
  readonly installed: readonly Nevra[];
}

/**
 * NEVRAs that this program added and that no component declares for its run: after the checks they are erased,
 * except for those that something else turns out to need. Nothing that was there before is among them. Where they
 * are to be kept: those that a killed run has erased already. Pure.
 */
export function eraseCandidates(request: EraseRequest): string[] {
  const { contents, keep, missing, needed, addedBefore, pending, installed } = request;
  const there = new Set(installed.map(formatNevra));
  if (keep) return pending.filter((nevra) => !there.has(nevra)).sort();
  const stays = new Set(needed.map((rpm) => rpm.nevra.name));
  const run = namesForRun(contents.components);
  // Bundles of before `needed`: each package is there for what runs, and so is what it requires.
  const declared = namesForBuildOnly(contents.components).size > 0;
  const added = declared ? [...missing.map((rpm) => formatNevra(rpm.nevra)), ...addedBefore] : [];
  const now = new Set(missing.map((rpm) => formatNevra(rpm.nevra)));
  const here = added.filter((nevra) => now.has(nevra) || there.has(nevra));
  // Also when it is gone by now: the receipt has to say so.
  return [...new Set([...here, ...pending])]
    .filter((nevra) => !run.has(nameOf(nevra)) && !stays.has(nameOf(nevra)))
    .sort();
}
