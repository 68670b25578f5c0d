import type { BundledRpm } from '../model/contents.js';
import { compareEvr } from '../model/evr.js';
import type { Nevra } from '../model/nevra.js';
import { compareNevra, formatNevra } from '../model/nevra.js';
import { duplicatesOf } from './rpm-duplicates.js';

/**
 * Packages that a running system stands on: never installed over another version unless named with
 * --allow-protected. Their -devel and -headers packages are not among them.
 */
export const PROTECTED_PACKAGES: readonly string[] = [
  'bash',
  'centos-release',
  'coreutils',
  'dbus',
  'dbus-libs',
  'dracut',
  'filesystem',
  'glibc',
  'glibc-common',
  'glibc-minimal-langpack',
  'gnupg2',
  'grub2',
  'grub2-common',
  'grub2-tools',
  'initscripts',
  'kernel',
  'kmod',
  'kmod-libs',
  'krb5-libs',
  'libgcc',
  'libselinux',
  'libsepol',
  'libstdc++',
  'nspr',
  'nss',
  'nss-softokn',
  'nss-softokn-freebl',
  'nss-util',
  'openssh',
  'openssh-clients',
  'openssh-server',
  'openssl',
  'openssl-libs',
  'pam',
  'polkit',
  'python',
  'python-libs',
  'rpm',
  'rpm-build-libs',
  'rpm-libs',
  'rpm-python',
  'selinux-policy',
  'selinux-policy-targeted',
  'setup',
  'shadow-utils',
  'sudo',
  'systemd',
  'systemd-libs',
  'util-linux',
  'yum',
];

export interface RpmAllowances {
  /** --allow-upgrade: an older installed package may be replaced. */
  readonly upgrade: boolean;
  /** --allow-protected NAME: protected packages that may be installed or replaced. */
  readonly protectedNames: readonly string[];
}

export interface OlderInstalled {
  readonly rpm: BundledRpm;
  readonly installed: Nevra;
}

/** The bundle's RPMs, compared with the rpmdb. */
export interface RpmPlan {
  /** Not there: goes in. */
  readonly missing: readonly BundledRpm[];
  /** The same version is there: skipped. */
  readonly same: readonly BundledRpm[];
  /** A newer one is there: kept. */
  readonly newer: readonly OlderInstalled[];
  /** An older one is there: replaced only with --allow-upgrade. */
  readonly older: readonly OlderInstalled[];
  /** Why nothing may go on; one sentence each, empty when all is allowed. */
  readonly refusals: readonly string[];
}

/**
 * @param unfinished NEVRAs of a step that was begun and not ended: a killed %post leaves a package that
 *   looks whole (FACTS), so these count as missing
 */
export function planRpms(
  bundled: readonly BundledRpm[],
  installed: readonly Nevra[],
  allow: RpmAllowances,
  unfinished: ReadonlySet<string> = new Set(),
): RpmPlan {
  const byName = new Map<string, Nevra[]>();
  for (const nevra of installed) byName.set(nevra.name, [...(byName.get(nevra.name) ?? []), nevra]);

  const missing: BundledRpm[] = [];
  const same: BundledRpm[] = [];
  const newer: OlderInstalled[] = [];
  const older: OlderInstalled[] = [];
  for (const rpm of [...bundled].sort((a, b) => compareNevra(a.nevra, b.nevra))) {
    const there = newestComparable(rpm.nevra, byName.get(rpm.nevra.name) ?? []);
    const order = there === undefined ? undefined : compareEvr(there, rpm.nevra);
    if (there === undefined || order === undefined) missing.push(rpm);
    else if (order === 0 && unfinished.has(formatNevra(rpm.nevra))) {
      // Killed between the new version and the removal of the old one: both are in the rpmdb.
      const old = byName.get(rpm.nevra.name)?.find((nevra) => compareEvr(nevra, rpm.nevra) < 0);
      if (old === undefined) missing.push(rpm);
      else older.push({ rpm, installed: old });
    } else if (order === 0) same.push(rpm);
    else if (order > 0) newer.push({ rpm, installed: there });
    else older.push({ rpm, installed: there });
  }
  const twice = new Set(
    bundled.filter(({ nevra }) => !unfinished.has(formatNevra(nevra))).map(({ nevra }) => nevra.name),
  );
  const refusals = [...refusalsOf(missing, older, allow), ...duplicatesOf(installed, twice)];
  return { missing, same, newer, older, refusals };
}

/** Of the installed packages of one name, the newest that this one would replace: same architecture, or noarch on either side. */
function newestComparable(wanted: Nevra, there: readonly Nevra[]): Nevra | undefined {
  return there
    .filter((nevra) => isComparable(wanted, nevra))
    .sort(compareEvr)
    .pop();
}

function isComparable(wanted: Nevra, there: Nevra): boolean {
  return there.arch === wanted.arch || there.arch === 'noarch' || wanted.arch === 'noarch';
}

/** Another version of the same package, or this one: one goes when the other comes. */
export function isSamePackage(a: Nevra, b: Nevra): boolean {
  return a.name === b.name && isComparable(a, b);
}

/** What is there before and after these upgrades. Pure. */
export function staying(installed: readonly Nevra[], upgrade: readonly BundledRpm[]): Nevra[] {
  return installed.filter((there) => !upgrade.some(({ nevra }) => isSamePackage(nevra, there)));
}

function refusalsOf(
  missing: readonly BundledRpm[],
  older: readonly OlderInstalled[],
  allow: RpmAllowances,
): string[] {
  const isProtected = (name: string): boolean =>
    PROTECTED_PACKAGES.includes(name) && !allow.protectedNames.includes(name);
  return [
    ...(allow.upgrade
      ? []
      : older.map(
          ({ rpm, installed }) =>
            `${formatNevra(installed)} is installed, the bundle has the newer ${formatNevra(rpm.nevra)} (--allow-upgrade)`,
        )),
    ...older
      .filter(({ rpm }) => allow.upgrade && isProtected(rpm.nevra.name))
      .map(
        ({ rpm, installed }) =>
          `${formatNevra(installed)} is protected and would become ${formatNevra(rpm.nevra)} (--allow-protected ${rpm.nevra.name})`,
      ),
    ...missing
      .filter((rpm) => isProtected(rpm.nevra.name))
      .map(
        (rpm) =>
          `${formatNevra(rpm.nevra)} is protected and not installed here (--allow-protected ${rpm.nevra.name})`,
      ),
  ];
}
