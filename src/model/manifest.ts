import { z } from 'zod';
import { configurationProblems } from './configurations.js';
import { ComponentConfiguration } from './declared.js';
import { readDocument } from './document.js';
import {
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
import { BuildWay, packageName } from './packages.js';
import { strict } from './strict.js';

/** RPM package names (EL7's own rule, without file and capability requests). */
export const PackageName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9+._-]*$/, 'must be an RPM package name, such as openssl-devel')
  .max(128, 'must have at most 128 characters');

/** yum would take NAME.ARCH, but a lock and a plan speak of names: no RPM is called so. Names have dots too (python3.6). */
const RequestedName = PackageName.refine(
  (name) => !/\.(?:x86_64|i[3-6]86|noarch|src|aarch64|armv7hl|ppc64|ppc64le|s390x?)$/.test(name),
  'write the plain name: the architecture is always x86_64 or noarch',
);

/** A package that the build, the run, or (a bare name) both need. */
const RequestedPackage = z.union(
  [RequestedName, strict({ name: RequestedName, needed: z.enum(['build', 'run'], 'must be build or run') })],
  'must be a package name, or { name: gcc, needed: build }, or { name: pcre, needed: run }',
);

/** One word of a command: no control characters; "{jobs}" and "{destdir}" are filled in. */
const Word = z
  .string()
  .min(1, 'must not be empty')
  .max(1024, 'must have at most 1024 characters')
  .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters')
  .refine(
    (word) => (word.match(/\{[a-z]+\}/g) ?? []).every((slot) => slot === '{jobs}' || slot === '{destdir}'),
    'only {jobs} and {destdir} are filled in',
  );

/** A command as argv; no shell ever reads it. */
const Argv = z.array(Word).min(1, 'must name a command');

const GitRef = z
  .string()
  .regex(/^(?!-)(?!.*\.\.)(?!.*@\{)[A-Za-z0-9][A-Za-z0-9._/+-]*$/, 'must be a tag, branch or commit name')
  .max(200, 'must have at most 200 characters');

const GitUrl = z
  .string()
  .max(1024, 'must have at most 1024 characters')
  .regex(
    /^(?:(?:https?|ssh|git|file):\/\/[^\s\p{Cc}]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s\p{Cc}]+|\.{0,2}\/[^\p{Cc}]+)$/u,
    'must be an https, http, ssh, git or file URL, or a path beginning with "/", "./" or "../"',
  );

const HttpUrl = z
  .string()
  .max(1024, 'must have at most 1024 characters')
  .regex(
    /^https?:\/\/[A-Za-z0-9.:[\]_-]+(?:\/[^\s\p{Cc}"'\\]*)?$/u,
    'must be an http or https URL (yum downloads nothing from a file:// repository)',
  );

const LocalPath = z
  .string()
  .min(1, 'must not be empty')
  .max(1024, 'must have at most 1024 characters')
  .regex(/^[^\p{Cc}]+$/u, 'must not hold control characters');

const Component = strict({
  name: Name,
  version: Version,
  /** SPDX expression of the source. */
  licence: z
    .string()
    .regex(/^[A-Za-z0-9.+() -]+$/, 'must be an SPDX licence expression')
    .max(200),
  /** The packages that the build and the run need, or one of the two; yum adds their closure. */
  packages: z.array(RequestedPackage),
  source: strict({ git: GitUrl, ref: GitRef, commit: GitObject.optional() }),
  build: z.array(Argv).min(1, 'must hold at least one command'),
  install: Argv,
  /** What `install` puts under DESTDIR and the node gets: every glob must match, nothing else may be there. */
  files: z.array(PlacedGlob).min(1, 'must declare at least one file'),
  /** What `install` puts under DESTDIR and the node does not get (a sample configuration, for example). */
  discard: z.array(TargetGlob).default([]),
  /** The symbolic links that `install` makes and the node gets; any other link is refused. */
  links: z.array(strict({ path: PlacedPath, to: LinkTarget })).default([]),
  /** Run from DESTDIR after the build; must exit 0. */
  smoke: Argv.optional(),
  /** What makes this component's configuration from the site: a renderer (src/configure), or declared here. */
  configuration: ComponentConfiguration.optional(),
});

const Runtime = z.union([
  strict({
    /** An npm package name and exact version, fetched with the packager's own npm settings. */
    npm: z
      .string()
      .regex(
        /^(?:@[a-z0-9-]+\/)?[a-z0-9][a-z0-9._-]*@[0-9]+\.[0-9]+\.[0-9]+$/,
        'must be NAME@VERSION with an exact version',
      ),
    integrity: z
      .string()
      .regex(/^sha512-[A-Za-z0-9+/]{86}==$/, 'must be the sha512 integrity of the npm package'),
    /** The binary's path in the package. */
    path: z.string().default('bin/node'),
  }),
  strict({
    /** A gzip tarball, or the binary itself when `path` is absent. */
    url: HttpUrl,
    sha256: Sha256,
    version: Version,
    path: z.string().optional(),
  }),
]);

export const ManifestSchema = strict({
  airbundle: z.literal(1, 'must be 1, the version of this format'),
  name: Name,
  version: Version,
  /** Grows with every release; a node refuses a lower one. */
  sequence: z
    .int('must be a whole number')
    .min(1, 'must be at least 1')
    .max(2 ** 31),
  description: z.string().max(500).default(''),
  target: strict({
    os: z.literal('el7', 'must be el7'),
    arch: z.literal('x86_64', 'must be x86_64'),
    /** Values of VERSION_ID or /etc/redhat-release's number that the node may have, e.g. "7.5". */
    releases: z
      .array(z.string().regex(/^7(?:\.[0-9]+){0,2}$/, 'must be a release such as "7.5"'))
      .min(1)
      .default(['7']),
  }),
  /** The image in which yum runs: a folder with a Dockerfile, relative to the manifest, or a name. */
  collector: z.union([
    strict({ dockerfile: LocalPath }),
    strict({ image: z.string().regex(/^[a-z0-9][A-Za-z0-9._/:@-]*$/, 'must be an image reference') }),
  ]),
  repositories: z
    .array(
      strict({
        id: z
          .string()
          .regex(/^[a-z0-9][a-z0-9._-]*$/, 'must be a repository id')
          .refine(
            (id) => id !== 'main' && id !== 'installed',
            "is a word of yum's own: it would skip this repository without saying so",
          ),
        url: HttpUrl,
      }),
    )
    .min(1, 'must name at least one repository'),
  /** The keys that may have signed an RPM. Exactly these; a key inside a repository counts for nothing. */
  keys: z
    .array(
      z.union([
        strict({ fingerprint: Fingerprint, file: LocalPath }),
        strict({ fingerprint: Fingerprint, image: LocalPath }),
      ]),
    )
    .min(1, 'must name at least one key'),
  runtime: Runtime,
  /** Where a node builds, unless its operator says otherwise: with its own packages, or in a root of the bundle's. */
  buildIn: BuildWay.default('host'),
  components: z.array(Component).min(1, 'must hold at least one component'),
}).superRefine((manifest, context) => {
  const repeated = (kind: 'components' | 'repositories', names: readonly string[], field: string): void => {
    for (const [index, name] of names.entries())
      if (names.indexOf(name) !== index)
        context.addIssue({ code: 'custom', path: [kind, index, field], message: `"${name}" is there twice` });
  };
  repeated(
    'components',
    manifest.components.map((component) => component.name),
    'name',
  );
  repeated(
    'repositories',
    manifest.repositories.map((repository) => repository.id),
    'id',
  );
  for (const { path, message } of configurationProblems(manifest.components))
    context.addIssue({ code: 'custom', path: ['components', ...path], message });
  for (const [index, { packages }] of manifest.components.entries())
    for (const [at, entry] of packages.entries())
      if (packages.findIndex((other) => packageName(other) === packageName(entry)) !== at)
        context.addIssue({
          code: 'custom',
          path: ['components', index, 'packages', at],
          message: `"${packageName(entry)}" is there twice`,
        });
});

export type Manifest = z.infer<typeof ManifestSchema>;
export type ManifestComponent = Manifest['components'][number];
export type ManifestRuntime = Manifest['runtime'];

/** Over a connection that proves nothing about what arrives: neither who sends it nor that nobody changed it. */
export function isPlain(source: ManifestComponent['source']): boolean {
  return /^(?:http|git):\/\//.test(source.git);
}

/**
 * Reads what a person wrote.
 * @param file shown in errors, as the person gave it
 * @param accepted whether a plain source without a commit is accepted: the lock has its commit, or the packager says so
 * @throws BundleError exit 3, with every problem as file:line:col
 */
export function parseManifest(
  bytes: Uint8Array,
  file: string,
  accepted: (component: ManifestComponent) => boolean = () => false,
): Manifest {
  const schema = ManifestSchema.superRefine(({ components }, context) => {
    for (const [index, component] of components.entries())
      if (isPlain(component.source) && component.source.commit === undefined && !accepted(component))
        context.addIssue({
          code: 'custom',
          path: ['components', index, 'source', 'git'],
          message: `plain ${component.source.git.slice(0, component.source.git.indexOf(':'))} proves nothing about what arrives: add "commit:", use https, or accept what comes the first time: --trust-http ${component.name}`,
        });
  });
  return readDocument(bytes, file, schema, 'BAD_MANIFEST');
}
