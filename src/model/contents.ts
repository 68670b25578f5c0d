import { z } from 'zod';
import { untrustedError } from '../errors.js';
import { BundledConfiguration } from './declared.js';
import {
  BundlePath,
  Fingerprint,
  GitObject,
  LinkTarget,
  Name,
  PlacedGlob,
  PlacedPath,
  Sha256,
  TargetGlob,
  Version,
} from './grammar.js';
import { Nevra } from './nevra.js';
import { BuildWay } from './packages.js';
import { plain } from './plain.js';

const Argv = z.array(z.string().min(1)).min(1);

const Member = z.strictObject({
  path: BundlePath,
  mode: z.union([z.literal(0o644), z.literal(0o755)]),
  sizeBytes: z.int().min(0),
  sha256: Sha256,
});
export type Member = z.infer<typeof Member>;

const BundledRpm = z.strictObject({
  path: BundlePath,
  nevra: Nevra,
  signer: Fingerprint,
  licence: z.string(),
  summary: z.string(),
  sourceRpm: z.string(),
  origin: z.strictObject({ repository: z.string(), path: z.string() }),
});
export type BundledRpm = z.infer<typeof BundledRpm>;

const BundledComponent = z.strictObject({
  name: Name,
  version: Version,
  licence: z.string(),
  /** Bundles of before `needed` hold names only: such a package is needed for build and run. */
  packages: z.array(
    z.union([z.string(), z.strictObject({ name: z.string(), needed: z.enum(['build', 'run']) })]),
  ),
  source: z.strictObject({
    path: BundlePath,
    url: z.string(),
    ref: z.string(),
    commit: GitObject,
    tree: GitObject,
  }),
  build: z.array(Argv).min(1),
  install: Argv,
  files: z.array(PlacedGlob).min(1),
  discard: z.array(TargetGlob),
  links: z.array(z.strictObject({ path: PlacedPath, to: LinkTarget })),
  smoke: Argv.optional(),
  /** A renderer's name, or what the manifest declared, with its templates' texts. */
  configuration: z.union([Name, BundledConfiguration]).optional(),
});
export type BundledComponent = z.infer<typeof BundledComponent>;

/** bundle.json, the first member of X.tar: what is in the bundle and what is done with it. */
export const ContentsSchema = z.strictObject({
  airbundle: z.literal(1),
  name: Name,
  version: Version,
  sequence: z.int().min(1),
  description: z.string(),
  target: z.strictObject({
    os: z.literal('el7'),
    arch: z.literal('x86_64'),
    releases: z.array(z.string()).min(1),
  }),
  /** Every other member of the tar, in the tar's order. */
  members: z.array(Member),
  rpms: z.array(BundledRpm),
  /** Absent in bundles of before there was a choice: host. */
  buildIn: BuildWay.optional(),
  components: z.array(BundledComponent).min(1),
  /** What ran yum. The hash is over the Dockerfile's folder; null when an image was given by name. */
  collector: z.strictObject({ image: z.string(), contextSha256: Sha256.nullable() }),
  runtime: z.strictObject({ path: BundlePath, origin: z.string(), version: z.string() }),
});
export type Contents = z.infer<typeof ContentsSchema>;

/** Hostile inputs: a larger bundle.json is refused unread. */
export const MAX_CONTENTS_BYTES = 16 * 1024 * 1024;

export function formatContents(contents: Contents): string {
  return `${JSON.stringify(contents, null, 1)}\n`;
}

/** @throws BundleError exit 4: a bundle.json of another form comes from another program or a newer one */
export function parseContents(text: string, where: string): Contents {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw untrustedError({ code: 'BAD_CONTENTS', message: 'bundle.json is not JSON', where, cause });
  }
  const parsed = ContentsSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw untrustedError({
    code: 'BAD_CONTENTS',
    message: 'bundle.json does not have the form that this version reads',
    where,
    // A message quotes the keys that it does not know, and bundle.json may be anybody's.
    details: parsed.error.issues
      .slice(0, 10)
      .map((issue) => plain(`${issue.path.join('.')}: ${issue.message}`).slice(0, 500)),
    hint: 'It was made by another version of airbundle: use the install.sh that came with it.',
  });
}
