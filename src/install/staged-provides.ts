import { join } from 'node:path';
import type { Host } from '../host/host.js';
import type { BundledRpm } from '../model/contents.js';
import { rpmHeaders } from './rpm-headers.js';

/** Which of the staged RPMs provides a capability: a name, "libfoo.so.1()(64bit)", or a path. */
export type Provider = (capability: string) => BundledRpm | undefined;

const QUERY = 'R %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n[P %{PROVIDENAME}\\n][F %{FILENAMES}\\n]';

/**
 * As the RPMs' own headers say, read by rpm. Versions are not compared here: rpm judges the set afterwards.
 * @param stage where the bundle was unpacked
 * @throws BundleError exit 6 when rpm cannot read them
 */
export async function stagedProvides(
  host: Host,
  stage: string,
  rpms: readonly BundledRpm[],
): Promise<Provider> {
  if (rpms.length === 0) return () => undefined;
  const files = rpms.map((rpm) => join(stage, rpm.path));
  return parseProvides(await rpmHeaders(host, QUERY, files), rpms);
}

/** Pure: the answer to the query, package by package. */
export function parseProvides(text: string, rpms: readonly BundledRpm[]): Provider {
  const byLabel = new Map(rpms.map((rpm) => [labelOf(rpm), rpm]));
  const providers = new Map<string, BundledRpm>();
  let current: BundledRpm | undefined;
  for (const line of text.split('\n')) {
    const word = line.slice(2);
    if (line.startsWith('R ')) current = byLabel.get(word);
    else if (current !== undefined && /^[PF] /.test(line) && !providers.has(word))
      providers.set(word, current);
  }
  return (capability) => providers.get(capability.split(/ [<>=]+ /)[0] ?? capability);
}

function labelOf({ nevra }: BundledRpm): string {
  return `${nevra.name}-${nevra.version}-${nevra.release}.${nevra.arch}`;
}
