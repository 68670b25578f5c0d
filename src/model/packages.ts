import { z } from 'zod';

/** Where a component is built: on the node with its own packages, or in a root that only the bundle filled. */
export const BuildWay = z.enum(['host', 'isolated'], 'must be host or isolated');
export type BuildWay = z.infer<typeof BuildWay>;

/** A bare name is needed for both. */
type RequestedPackage = string | { readonly name: string; readonly needed: 'build' | 'run' };

export function packageName(entry: RequestedPackage): string {
  return typeof entry === 'string' ? entry : entry.name;
}

function neededFor(entry: RequestedPackage): 'build' | 'run' | 'both' {
  return typeof entry === 'string' ? 'both' : entry.needed;
}

type Requesting = readonly { readonly packages: readonly RequestedPackage[] }[];

/** The names that some component needs when it runs. */
export function namesForRun(components: Requesting): ReadonlySet<string> {
  return new Set(
    components
      .flatMap(({ packages }) => packages)
      .filter((entry) => neededFor(entry) !== 'build')
      .map(packageName),
  );
}

/** The names that components need when they are built, and none of them when it runs. */
export function namesForBuildOnly(components: Requesting): ReadonlySet<string> {
  const run = namesForRun(components);
  return new Set(
    components
      .flatMap(({ packages }) => packages)
      .map(packageName)
      .filter((name) => !run.has(name)),
  );
}
