/*
 * `bundle create` on the lab's repository and sources, beside the seed's steps by hand in the same containers:
 * yum run by run for each component's packages, git clones one after another, tar czf. Needs root and Docker.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { docker, run } from '../lab/docker.js';
import { collectorImage } from '../lab/images.js';
import { HERE } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import { serveRepository } from '../lab/serve.js';
import type { LabSources } from '../lab/sources.js';
import { labSources } from '../lab/sources.js';
import { packed } from '../lab/walk/packager.js';
import type { Contender, Group } from './harness.js';
import { race } from './harness.js';
import { measureWork } from './measure.js';

const ROUNDS = 5;

export const create: Group = {
  name: 'create',
  about: 'bundle create beside yum, git clone and tar czf by hand',
  async *run({ short, scratch }) {
    const sources = await labSources();
    const folder = (): string => mkdtempSync(path.join(scratch, 'create-'));
    const warm = { work: folder(), cache: folder() };
    const creating = (name: string, where: () => { work: string; cache: string }): Contender => ({
      name: `bundle create, ${name}`,
      command: 'bundle create tts-ha.yaml --key packager.key.pem',
      round: async () => ({ ms: (await packed('tts-ha', sources, { ...where(), quiet: true })).createMs }),
    });
    await packed('tts-ha', sources, { ...warm, quiet: true });
    const hand: Contender = {
      name: 'by hand',
      command: 'test/lab/hand/collect-by-groups.sh; git clone, twice; tar -czf; sha256sum',
      round: async () => {
        const into = folder();
        const cost = await measureWork(() => byHand(into, sources));
        rmSync(into, { recursive: true });
        return cost;
      },
    };
    yield* await race({
      ours: [
        creating('cold', () => ({ work: folder(), cache: folder() })),
        creating('warm cache', () => ({ work: folder(), cache: warm.cache })),
        creating('nothing changed', () => warm),
      ],
      rivals: [hand],
      rounds: short ? 1 : ROUNDS,
    });
  },
};

async function byHand(folder: string, sources: LabSources): Promise<void> {
  const image = await collectorImage();
  const served = await serveRepository(await labRepository());
  const carried = path.join(folder, 'carried');
  mkdirSync(carried);
  try {
    await docker([
      ...['run', '--rm', '--ulimit', 'nofile=1024:1024', '-v', `${carried}:/x`],
      ...[
        '-v',
        `${path.join(HERE, 'hand')}:/scripts:ro`,
        image,
        'sh',
        '/scripts/collect-by-groups.sh',
        served.url,
      ],
    ]);
  } finally {
    await served.close();
  }
  for (const [name, { url, ref }] of Object.entries(sources))
    await run(['git', '-c', 'safe.directory=*', 'clone', '-q', '-b', ref, url, path.join(carried, name)]);
  await run([
    'sh',
    '-c',
    'tar -C "$0" -czf "$1" . && sha256sum "$1"',
    carried,
    path.join(folder, 'out.tar.gz'),
  ]);
}
