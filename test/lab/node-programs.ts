import { mkdir } from 'node:fs/promises';
import { run } from './docker.js';
import { baseImage } from './images.js';

/**
 * Programs and libraries for the lab's nodes that their image does not have, out of the archive of its release.
 * @param packages Debian's names
 * @param files of these packages, as `usr/bin/NAME`, shell patterns too
 * @param folder to be made on this host; all files lie directly in it
 * @throws LabError when there is no such package or file
 */
export async function nodePrograms(
  packages: readonly string[],
  files: readonly string[],
  folder: string,
): Promise<void> {
  await mkdir(folder);
  const fetch = [
    'cd /tmp',
    `apt-get -q download ${packages.join(' ')}`,
    'for one in *.deb; do dpkg-deb -x "$one" all; done',
    'cd all',
    `cp ${files.join(' ')} /out/`,
  ];
  await run([
    ...['docker', 'run', '--rm', '--network', 'host', '-v', `${folder}:/out`],
    ...[await baseImage(), 'sh', '-ec', fetch.join('\n')],
  ]);
}
