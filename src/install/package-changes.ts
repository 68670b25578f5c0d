export interface ReplacedPackage {
  /** NEVRA that was installed. */
  readonly from: string;
  /** NEVRA that took its place. */
  readonly to: string;
}

/** What runs did to the rpmdb. */
export interface PackageChanges {
  /** NEVRAs of which no version was installed before. */
  readonly added: readonly string[];
  readonly replaced: readonly ReplacedPackage[];
}

export const NO_PACKAGE_CHANGES: PackageChanges = { added: [], replaced: [] };

/**
 * Two runs, one after the other, as one: what a second run replaces of the first one's packages was still
 * not there before both; a package that is installed again keeps its first origin.
 */
export function together(first: PackageChanges, second: PackageChanges): PackageChanges {
  const added = new Set(first.added);
  const origin = new Map(first.replaced.map(({ from, to }) => [to, from]));
  for (const { from, to } of second.replaced) {
    const before = origin.get(from);
    if (origin.has(to)) continue;
    if (added.delete(from)) added.add(to);
    else origin.set(to, before ?? from);
    origin.delete(from);
  }
  for (const nevra of second.added) if (!origin.has(nevra)) added.add(nevra);
  return { added: [...added], replaced: [...origin].map(([to, from]) => ({ from, to })) };
}
