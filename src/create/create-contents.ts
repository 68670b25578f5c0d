import { invalidError } from '../errors.js';
import type { Configurations } from './create-templates.js';
import type { Contents, Member } from '../model/contents.js';
import { BundlePath } from '../model/grammar.js';
import type { Sha256 } from '../model/grammar.js';
import { member } from '../model/layout.js';
import type { Lock } from '../model/lock.js';
import type { Manifest } from '../model/manifest.js';
import { byCodePoint, formatNevra, rpmFileName } from '../model/nevra.js';

/** A program for Node 16, as it was built. */
export interface ProgramFile {
  readonly sha256: Sha256;
  readonly sizeBytes: number;
}

/** The node's program and the jump host's. */
export interface Programs {
  readonly installer: ProgramFile;
  readonly deploy: ProgramFile;
}

/**
 * Every member after bundle.json, in the tar's order: the programs and what runs them first, so that a
 * reader has them early; then RPMs and sources, each by path.
 */
export function membersOf(lock: Lock, programs: Programs): Member[] {
  const entry = (path: string, mode: Member['mode'], { sha256, sizeBytes }: ProgramFile): Member => ({
    path: bundlePath(path),
    mode,
    sizeBytes,
    sha256,
  });
  const sorted = (members: Member[]): Member[] => members.sort((a, b) => byCodePoint(a.path, b.path));
  const members = [
    entry(member.installer, 0o644, programs.installer),
    entry(member.deploy, 0o644, programs.deploy),
    entry(member.runtime, 0o755, lock.runtime),
    ...sorted(lock.rpms.map((rpm) => entry(member.rpm(rpmFileName(rpm.nevra)), 0o644, rpm))),
    ...sorted(
      lock.sources.map((source) => entry(member.source(source.component, source.commit), 0o644, source)),
    ),
  ];
  for (const [index, { path }] of members.entries())
    if (members[index + 1]?.path === path)
      throw invalidError({
        code: 'SAME_FILE_NAME',
        message: `two packages have the file name ${path}`,
        details: lock.rpms
          .filter((rpm) => path === member.rpm(rpmFileName(rpm.nevra)))
          .map((rpm) => formatNevra(rpm.nevra)),
        hint: 'They differ only in the epoch: keep one of them in the manifest.',
      });
  return members;
}

/** bundle.json: what is in the bundle, where it came from and what is done with it. */
export function contentsOf(
  manifest: Manifest,
  lock: Lock,
  collector: Contents['collector'],
  members: readonly Member[],
  configurations: Configurations,
): Contents {
  const { name, version, sequence, description } = manifest;
  return {
    airbundle: 1,
    name,
    version,
    sequence,
    description,
    target: { os: manifest.target.os, arch: manifest.target.arch, releases: manifest.target.releases },
    members: members.map(({ path, mode, sizeBytes, sha256 }) => ({ path, mode, sizeBytes, sha256 })),
    rpms: lock.rpms
      .map(({ nevra, signer, licence, summary, sourceRpm, repository, path }) => ({
        path: bundlePath(member.rpm(rpmFileName(nevra))),
        nevra: {
          name: nevra.name,
          epoch: nevra.epoch,
          version: nevra.version,
          release: nevra.release,
          arch: nevra.arch,
        },
        signer,
        licence,
        summary,
        sourceRpm,
        origin: { repository, path },
      }))
      .sort((a, b) => byCodePoint(a.path, b.path)),
    buildIn: manifest.buildIn,
    components: manifest.components.map((component) => {
      const source = lock.sources.find((locked) => locked.component === component.name);
      if (source === undefined) throw new Error(`the lock has no source of ${component.name}`);
      const configuration = configurations.get(component.name);
      return {
        name: component.name,
        version: component.version,
        licence: component.licence,
        packages: component.packages.map((entry) =>
          typeof entry === 'string' ? entry : { name: entry.name, needed: entry.needed },
        ),
        source: {
          path: bundlePath(member.source(source.component, source.commit)),
          url: source.url,
          ref: source.ref,
          commit: source.commit,
          tree: source.tree,
        },
        build: component.build,
        install: component.install,
        files: component.files,
        discard: component.discard,
        links: component.links.map(({ path, to }) => ({ path, to })),
        ...(component.smoke === undefined ? {} : { smoke: component.smoke }),
        ...(configuration === undefined ? {} : { configuration }),
      };
    }),
    collector: { image: collector.image, contextSha256: collector.contextSha256 },
    runtime: { path: bundlePath(member.runtime), origin: lock.runtime.origin, version: lock.runtime.version },
  };
}

/** @throws BundleError exit 3 for a name that a bundle cannot carry */
function bundlePath(path: string): BundlePath {
  const parsed = BundlePath.safeParse(path);
  if (parsed.success) return parsed.data;
  throw invalidError({
    code: 'BAD_MEMBER_PATH',
    message: `a bundle cannot carry a file named "${path}"`,
    details: parsed.error.issues.map((issue) => issue.message),
    hint: 'A member has at most 100 plain characters: shorten the name of the component.',
  });
}
