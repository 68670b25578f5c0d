import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../paths.js';
import { packager, type PackedBundle, type PackagerOptions } from '../walk/packager.js';

/**
 * tts-ha 1.1.0, the release after `first`: signed by the same key, of the same RPMs and sources.
 * @param clones as `first` was made
 */
export async function nextRelease(
  first: PackedBundle,
  options: Pick<PackagerOptions, 'clones' | 'quiet'>,
): Promise<PackedBundle> {
  const work = join(first.work, 'next');
  const manifests = join(work, 'manifests');
  await mkdir(work, { recursive: true });
  await cp(join(ROOT, 'manifests'), manifests, { recursive: true });
  await cp(join(first.work, 'keys'), join(work, 'keys'), { recursive: true });
  const file = join(manifests, 'tts-ha.yaml');
  const text = await readFile(file, 'utf8');
  await writeFile(
    file,
    text.replace("version: '1.0.0'", "version: '1.1.0'").replace('sequence: 1\n', 'sequence: 2\n'),
  );
  return packager({ ...options, manifests, work });
}
