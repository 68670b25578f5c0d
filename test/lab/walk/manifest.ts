import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { attempt } from '../docker.js';
import { LabError } from '../errors.js';
import { ROOT } from '../paths.js';
import type { LabRepository } from '../repository.js';
import type { LabSources } from '../sources.js';

const GENHASH = '/usr/local/bin/genhash';

/**
 * The shipped manifest with only its origins turned to the lab: repository, key, sources and their
 * versions. Packages, build commands, files and configuration stay as they are shipped.
 * @param repositoryUrl where `repository` is served
 * @param folder where the manifest is written
 * @returns the manifest's path
 */
export async function labManifest(
  repository: LabRepository,
  repositoryUrl: string,
  sources: LabSources,
  folder: string,
): Promise<string> {
  const document = parseDocument(await readFile(join(ROOT, 'manifests', 'tts-ha.yaml'), 'utf8'));
  document.commentBefore = ' manifests/tts-ha.yaml with the origins of the lab.';
  document.setIn(['repositories', 0, 'url'], repositoryUrl);
  document.setIn(
    ['keys', 0],
    document.createNode({ fingerprint: await fingerprintOf(repository.keyFile), file: repository.keyFile }),
  );
  for (const [index, name] of (['haproxy', 'keepalived'] as const).entries()) {
    if (document.getIn(['components', index, 'name']) !== name)
      throw new LabError(
        `the shipped manifest's component ${String(index)} is not ${name}`,
        'mend test/lab/walk/manifest.ts',
      );
    const { url, ref, version, commit } = sources[name];
    document.setIn(['components', index, 'version'], version);
    document.setIn(['components', index, 'source'], document.createNode({ git: url, ref, commit }));
  }
  if (!sources.keepalived.version.startsWith('2.1.')) {
    // From 2.2 on genhash is a link to keepalived.
    const files = document.toJS() as { components: { files: string[] }[] };
    const without = files.components[1]?.files.filter((glob) => glob !== GENHASH);
    document.setIn(['components', 1, 'files'], document.createNode(without));
    document.setIn(
      ['components', 1, 'links'],
      document.createNode([{ path: GENHASH, to: '/usr/local/sbin/keepalived' }]),
    );
  }
  const path = join(folder, 'tts-ha.yaml');
  await writeFile(path, document.toString());
  return path;
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
