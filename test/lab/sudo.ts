import { mkdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { docker, run } from './docker.js';
import { baseImage } from './images.js';
import { withLock } from './lock.js';
import type { Lab } from './machines.js';
import { LAB } from './paths.js';

const FETCH = [
  'set -e; cd /tmp',
  'apt-get -q download sudo >&2',
  'mkdir root; dpkg-deb -x sudo_*.deb root',
  'rm -rf root/usr/share',
  'tar -C root -cf /out/sudo.tar.new usr etc',
].join('; ');

/** Debian's sudo, which the nodes of the lab do not have by themselves, as files to put over a root. */
const sudoTar = async (): Promise<string> => {
  const folder = path.join(LAB, 'sudo');
  const file = path.join(folder, 'sudo.tar');
  return withLock('sudo', async () => {
    const there = await run(['find', folder, '-name', 'sudo.tar']).catch(() => '');
    if (there.trim() !== '') return file;
    const image = await baseImage();
    await mkdir(folder, { recursive: true });
    await docker(['run', '--rm', '--network', 'host', '-v', `${folder}:/out`, image, 'sh', '-c', FETCH]);
    await rename(`${file}.new`, file);
    return file;
  });
};

/** Puts sudo on a machine of the lab. */
export async function addSudo(lab: Lab, machine: string): Promise<void> {
  await lab.copyIn(machine, await sudoTar(), '/root/sudo.tar');
  const done = await lab.exec(machine, [
    'sh',
    '-c',
    'tar -C / -xf /root/sudo.tar --keep-directory-symlink && chown root:root /usr/bin/sudo && chmod 4755 /usr/bin/sudo && sudo -n true',
  ]);
  if (done.exitCode !== 0) throw new Error(`sudo does not work on ${machine}: ${done.stderr}`);
}
