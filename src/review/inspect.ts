import { join } from 'node:path';
import type { ReadHost } from '../host/host.js';
import type { Contents, Member } from '../model/contents.js';
import { folder } from '../model/layout.js';
import { byCodePoint, compareNevra, formatNevra } from '../model/nevra.js';
import { packageName } from '../model/packages.js';
import { plain } from '../model/plain.js';
import type { TrustedKey } from './keys.js';
import { peekContents } from './payload.js';
import type { Signature } from './signed.js';
import { parseRaw, rawChecksums, signaturesIn } from './signed.js';
import type { VerifyRequest } from './verify.js';
import { asProblem, verify } from './verify.js';

export interface Package {
  readonly nevra: string;
  readonly path: string;
  /** The components whose `packages` name it; none: a dependency of one of those. */
  readonly requiredBy: readonly string[];
  readonly licence: string;
  /** OpenPGP fingerprint of the key that signed the RPM. */
  readonly signer: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly summary: string;
  readonly sourceRpm: string;
  readonly origin: { readonly repository: string; readonly path: string };
}

type BundledComponent = Contents['components'][number];

export interface Component extends Omit<BundledComponent, 'source'> {
  readonly source: BundledComponent['source'] & { readonly sizeBytes: number; readonly sha256: string };
  /** Of its `packages`, those that no RPM in the bundle is called: another one provides them. */
  readonly packagesElsewhere: readonly string[];
}

/** Everything in a bundle, for a person who has to approve it. */
export interface Inventory {
  /** False: this is only what the bundle says about itself. */
  readonly verified: boolean;
  readonly bundle: Pick<Contents, 'name' | 'version' | 'sequence' | 'description' | 'target'>;
  /** SHA-256 of X.sha256, and of X.tar when it was read as a whole. */
  readonly digest: string | undefined;
  readonly payloadSha256: string | undefined;
  readonly signatures: readonly Signature[];
  readonly others: readonly string[];
  readonly components: readonly Component[];
  readonly packages: readonly Package[];
  readonly runtime: Contents['runtime'] & { readonly sizeBytes: number; readonly sha256: string };
  readonly collector: Contents['collector'];
  /** Members that are neither RPM nor source nor runtime: the installer. */
  readonly programs: readonly Member[];
  readonly totals: {
    readonly members: number;
    readonly sizeBytes: number;
    readonly packages: { readonly count: number; readonly sizeBytes: number };
    readonly sources: { readonly count: number; readonly sizeBytes: number };
    /** How many RPMs have each licence, signer and repository. */
    readonly licences: Readonly<Record<string, number>>;
    readonly signers: Readonly<Record<string, number>>;
    readonly repositories: Readonly<Record<string, number>>;
  };
}

type Seen = Pick<Inventory, 'verified' | 'digest' | 'payloadSha256' | 'signatures' | 'others'>;

/**
 * What is in a bundle. With keys it is verified first, as a whole; without any, only bundle.json is read,
 * and `verified` is false.
 * @throws BundleError exit 4
 */
export async function inspect(host: ReadHost, request: VerifyRequest): Promise<Inventory> {
  if (request.unsigned)
    return peek(host, request.place).catch((error: unknown) => {
      throw asProblem(error, request.place.path);
    });
  const { digest, signatures, others, payload } = await verify(host, request);
  return inventoryOf(payload.contents, {
    verified: true,
    digest,
    payloadSha256: payload.sha256,
    signatures,
    others,
  });
}

async function peek(host: ReadHost, place: VerifyRequest['place']): Promise<Inventory> {
  const nothing = { verified: false, digest: undefined, payloadSha256: undefined, others: [] };
  if (place.kind === 'tar')
    return inventoryOf(await peekContents(host, place.path), { ...nothing, signatures: [] });
  const raw = await rawChecksums(host, place.path);
  const { checksums, digest } = parseRaw(place.path, raw);
  const stem = raw.name.slice(0, -folder.checksums('').length);
  const contents = await peekContents(
    host,
    join(place.path, checksums.files[0]?.name ?? folder.payload(stem)),
  );
  const noKeys: readonly TrustedKey[] = [];
  return inventoryOf(contents, {
    ...nothing,
    digest,
    signatures: await signaturesIn(host, place.path, raw, noKeys),
  });
}

/** Pure: bundle.json, ordered for a reader. */
export function inventoryOf(contents: Contents, seen: Seen): Inventory {
  const members = new Map<string, Member>(contents.members.map((entry) => [entry.path, entry]));
  const factsOf = (path: string): Pick<Member, 'sizeBytes'> & { sha256: string } => ({
    sizeBytes: members.get(path)?.sizeBytes ?? 0,
    sha256: members.get(path)?.sha256 ?? '',
  });
  const askedBy = askers(contents.components);
  const packages = [...contents.rpms]
    .sort((a, b) => compareNevra(a.nevra, b.nevra))
    .map((rpm): Package => ({
      nevra: formatNevra(rpm.nevra),
      path: rpm.path,
      requiredBy: askedBy(rpm.nevra),
      licence: rpm.licence,
      signer: rpm.signer,
      ...factsOf(rpm.path),
      summary: rpm.summary,
      sourceRpm: rpm.sourceRpm,
      origin: rpm.origin,
    }));
  const here = new Set(contents.rpms.flatMap(({ nevra }) => requestsOf(nevra)));
  const components = contents.components.map((component): Component => ({
    ...component,
    source: { ...component.source, ...factsOf(component.source.path) },
    packagesElsewhere: component.packages.map(packageName).filter((wanted) => !here.has(wanted)),
  }));
  const known = new Set<string>([
    contents.runtime.path,
    ...packages.map((entry) => entry.path),
    ...components.map((component) => component.source.path),
  ]);
  const { name, version, sequence, description, target } = contents;
  return {
    ...seen,
    bundle: { name, version, sequence, description, target },
    components,
    packages,
    runtime: { ...contents.runtime, ...factsOf(contents.runtime.path) },
    collector: contents.collector,
    programs: contents.members.filter((entry) => !known.has(entry.path)),
    totals: {
      members: contents.members.length + 1,
      sizeBytes: sum(contents.members),
      packages: { count: packages.length, sizeBytes: sum(packages) },
      sources: {
        count: components.length,
        sizeBytes: sum(components.map((component) => component.source)),
      },
      licences: countsOf(packages.map((entry) => entry.licence)),
      signers: countsOf(packages.map((entry) => entry.signer)),
      repositories: countsOf(packages.map((entry) => entry.origin.repository)),
    },
  };
}

type Nevra = Contents['rpms'][number]['nevra'];

/** What asks for a package: its name, or NAME.ARCH. */
function requestsOf({ name, arch }: Nevra): [string, string] {
  return [name, `${name}.${arch}`];
}

/** Who asks for a package, in the components' order. The lists are looked up: bundle.json may be anybody's, and long. */
function askers(components: Contents['components']): (nevra: Nevra) => readonly string[] {
  const byRequest = new Map<string, number[]>();
  for (const [index, { packages }] of components.entries())
    for (const wanted of new Set(packages.map(packageName))) {
      const indexes = byRequest.get(wanted);
      if (indexes === undefined) byRequest.set(wanted, [index]);
      else indexes.push(index);
    }
  const known = new Map<string, readonly string[]>();
  return (nevra) => {
    const [byName, exact] = requestsOf(nevra);
    const found = known.get(exact);
    if (found !== undefined) return found;
    const indexes = new Set([...(byRequest.get(byName) ?? []), ...(byRequest.get(exact) ?? [])]);
    const names = [...indexes].sort((a, b) => a - b).map((index) => components[index]?.name ?? '');
    known.set(exact, names);
    return names;
  };
}

function sum(sized: readonly { readonly sizeBytes: number }[]): number {
  return sized.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
}

/** The most frequent first. */
function countsOf(words: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(plain(word), (counts.get(plain(word)) ?? 0) + 1);
  return Object.fromEntries([...counts].sort((a, b) => b[1] - a[1] || byCodePoint(a[0], b[0])));
}
