import type { Evr } from '../model/evr.js';
import { compareVersion } from '../model/evr.js';
import type { BundledRpm } from '../model/contents.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import { rpmLabel } from './rpm-erase.js';
import { isSamePackage, PROTECTED_PACKAGES } from './rpm-plan.js';

/**
 * What packages say they take the place of under another name; lines that begin with "R " and "O ". A package
 * without any may print "(none)" in their place, without an end of line.
 */
export const OBSOLETES_FORMAT =
  'R %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n[O %{OBSOLETENAME}\\t%{OBSOLETEFLAGS}\\t%{OBSOLETEVERSION}\\n]\\n';

export interface Obsolete {
  readonly name: string;
  /** Of rpm's RPMSENSE flags, those that compare: LESS, GREATER, EQUAL; 0: every version. */
  readonly sense: number;
  /** "[EPOCH:]VERSION[-RELEASE]", or empty. */
  readonly evr: string;
}

const LESS = 2;
const GREATER = 4;
const EQUAL = 8;

/** Pure: label (NAME-VERSION-RELEASE.ARCH) → what the package obsoletes; other lines are left out. */
export function parseObsoletes(text: string): Map<string, Obsolete[]> {
  const found = new Map<string, Obsolete[]>();
  let current: Obsolete[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('R ')) {
      current = [];
      found.set(line.slice(2), current);
    } else if (line.startsWith('O ')) {
      const [name = '', flags = '', evr = ''] = line.slice(2).split('\t');
      current.push({ name, sense: Number(flags) & (LESS | GREATER | EQUAL), evr });
    }
  }
  return found;
}

/**
 * Pure: whether rpm would take this package away for it: by the name alone, not by what it provides.
 * Source: addObsoleteErasures in lib/depends.c and rpmdsCompare in lib/rpmds.c of rpm.
 */
export function isObsoleted(there: Nevra, { name, sense, evr }: Obsolete): boolean {
  if (there.name !== name) return false;
  if (sense === 0 || evr === '') return true;
  const order = compareWith(there, evr);
  return (sense & (order < 0 ? LESS : order > 0 ? GREATER : EQUAL)) !== 0;
}

/** Negative when `there` is older. What says no release speaks of all of them; no epoch is 0. */
function compareWith(there: Evr, evr: string): number {
  const [, epoch = '0', version = '', release] = /^(?:(\d*):)?([^-]*)(?:-(.*))?$/.exec(evr) ?? [];
  return (
    there.epoch - Number(epoch) ||
    compareVersion(there.version, version) ||
    (release === undefined || release === '' ? 0 : compareVersion(there.release, release))
  );
}

/**
 * Pure: why these packages may not go in. What a package obsoletes goes without a word with `rpm -U` and is
 * overwritten with `rpm -i --force`, and no rollback knows of it.
 * @param stays what is installed and is not replaced under its own name
 * @param headers what rpm prints for OBSOLETES_FORMAT
 */
export function obsoleteRefusals(
  rpms: readonly BundledRpm[],
  stays: readonly Nevra[],
  headers: string,
): string[] {
  const said = parseObsoletes(headers);
  return rpms.flatMap(({ nevra }) => {
    const obsoletes = said.get(rpmLabel(nevra)) ?? [];
    return stays
      .filter((there) => !isSamePackage(nevra, there) && obsoletes.some((one) => isObsoleted(there, one)))
      .map((there) => refusal(nevra, there));
  });
}

function refusal(nevra: Nevra, there: Nevra): string {
  const leaveOut = `leave ${nevra.name} out of the manifest`;
  const next = PROTECTED_PACKAGES.includes(there.name)
    ? `${there.name} is protected: ${leaveOut}`
    : `if nothing here needs it, remove it by hand first: rpm -e ${there.name}; otherwise ${leaveOut}`;
  return `${formatNevra(nevra)} obsoletes ${formatNevra(there)}, which is installed and would be lost (${next})`;
}
