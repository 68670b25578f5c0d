import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Lab } from '../lab/machines.js';
import { nodePrograms } from '../lab/node-programs.js';

/*
 * ccache in front of the nodes' gcc. A case of the demo's installation is two builds of the same source: with it, each
 * file is compiled once in the campaign, by the nodes' own gcc, and a case pays for the installation.
 */

const HOME = '/opt/faults/ccache';
/** Before /usr/bin in the search path of a build. */
const WRAPPER = '/usr/sbin/gcc';
/** A build has a user of its own, and other users' builds share what they compiled. */
const SETTINGS = `cache_dir = ${HOME}/cache\numask = 000\nmax_size = 500M\n`;

/** ccache for the nodes, out of the archive of their release. @returns a folder for `useCompilerCache` */
export async function compilerCache(work: string): Promise<string> {
  const folder = path.join(work, 'ccache');
  await nodePrograms(['ccache', 'libhiredis0.14'], ['usr/bin/ccache', 'usr/lib/*/*.so.*'], folder);
  return folder;
}

/** @param folder of `compilerCache`, or what `keepCompilerCache` has kept of another node */
export async function useCompilerCache(lab: Lab, node: string, folder: string): Promise<void> {
  await lab.copyIn(node, folder, path.dirname(HOME));
  const wrapper = `#!/bin/sh\nLD_LIBRARY_PATH=${HOME} exec ${HOME}/ccache /usr/bin/gcc "$@"\n`;
  const lines = [
    `mkdir -p ${HOME}/cache && chown -R root:root ${HOME} && chmod -R a+rwX ${HOME}`,
    `printf '%s' '${SETTINGS}' >/etc/ccache.conf`,
    `printf '%s' '${wrapper}' >${WRAPPER} && chmod 755 ${WRAPPER}`,
  ];
  const done = await lab.exec(node, ['sh', '-ec', lines.join('\n')]);
  if (done.exitCode !== 0) throw new Error(`${node}: no compiler cache\n${done.stdout}${done.stderr}`);
}

/** What a node has compiled. @returns a folder for `useCompilerCache` */
export async function keepCompilerCache(lab: Lab, node: string, work: string): Promise<string> {
  const folder = path.join(work, 'compiled');
  await mkdir(folder);
  await lab.copyOut(node, HOME, folder);
  return path.join(folder, path.basename(HOME));
}
