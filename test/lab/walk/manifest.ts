import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { attempt } from '../docker.js';
import { LabError } from '../errors.js';
import type { LabRepository } from '../repository.js';
import type { LabSource } from '../sources.js';

const GENHASH = '/usr/local/bin/genhash';

/**
 * A shipped manifest with only its origins turned to the lab: repository, key, sources and their
 * versions. Packages, build commands, files and configuration stay as they are shipped.
 * @param name such as `tts-ha`: NAME.yaml, and its templates in NAME/
 * @param manifests the folder of these; the shipped one is manifests/
 * @param repositoryUrl where `repository` is served
 * @param sources by the name of the component
 * @param folder where the manifest is written
 * @returns the manifest's path
 */
export async function labManifest(
  name: string,
  manifests: string,
  repository: LabRepository,
  repositoryUrl: string,
  sources: Readonly<Record<string, LabSource>>,
  folder: string,
): Promise<string> {
  const document = parseDocument(await readFile(join(manifests, `${name}.yaml`), 'utf8'));
  document.commentBefore = ` ${name}.yaml with the origins of the lab.`;
  document.setIn(['repositories', 0, 'url'], repositoryUrl);
  document.setIn(
    ['keys', 0],
    document.createNode({ fingerprint: await fingerprintOf(repository.keyFile), file: repository.keyFile }),
  );
  const shipped = (document.toJS() as { components: ShippedComponent[] }).components;
  for (const [index, component] of shipped.entries()) {
    const source = sources[component.name];
    if (source === undefined)
      throw new LabError(
        `the lab has no source of ${component.name}, which ${name}.yaml wants`,
        'mend test/lab/sources.ts',
      );
    const { url, ref, version, commit } = source;
    document.setIn(['components', index, 'version'], version);
    document.setIn(['components', index, 'source'], document.createNode({ git: url, ref, commit }));
    for (const [field, value] of Object.entries(installedBy(component, version)))
      document.setIn(['components', index, field], document.createNode(value));
  }
  const path = join(folder, `${name}.yaml`);
  await writeFile(path, document.toString());
  await cp(join(manifests, name), join(folder, name), { recursive: true }).catch((error: unknown) => {
    // A manifest without templates has no folder.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  });
  return path;
}

interface ShippedComponent {
  readonly name: string;
  readonly files: readonly string[];
  readonly links?: readonly { readonly path: string; readonly to: string }[];
}

/** What another version than the shipped one installs as a link instead of a file, or the reverse. */
function installedBy(
  { name, files, links = [] }: ShippedComponent,
  version: string,
): Partial<ShippedComponent> {
  // From 2.2 on genhash is a link to keepalived.
  if (name === 'keepalived' && !version.startsWith('2.1.'))
    return {
      files: files.filter((glob) => glob !== GENHASH),
      links: [{ path: GENHASH, to: '/usr/local/sbin/keepalived' }],
    };
  // Before 6.2 the check programs are copies of redis-server, not links to it.
  if (name === 'redis' && version.startsWith('6.0.')) {
    const checks = links.filter((link) => link.path.includes('redis-check-'));
    return {
      files: [...files, ...checks.map((link) => link.path)],
      links: links.filter((link) => !checks.includes(link)),
    };
  }
  return {};
}

/** As gpg reads it: the product computes it by itself. */
async function fingerprintOf(keyFile: string): Promise<string> {
  const shown = await attempt([
    'gpg',
    '--batch',
    '--with-colons',
    '--import-options',
    'show-only',
    '--import',
    keyFile,
  ]);
  const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(shown.stdout)?.[1];
  if (fingerprint === undefined) throw new LabError(`gpg finds no key in ${keyFile}`, shown.stderr);
  return fingerprint;
}
