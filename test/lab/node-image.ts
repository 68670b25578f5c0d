import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { nodeImage } from './images.js';
import { LAB } from './paths.js';
import type { LabRepository } from './repository.js';

/** The node image whose rpmdb lists the base system of `repository`. */
export const nodeImageFor = async (repository: LabRepository): Promise<string> => {
  await mkdir(LAB, { recursive: true });
  const folder = await mkdtemp(path.join(LAB, 'registered-'));
  try {
    await writeFile(path.join(folder, 'debs.list'), `${repository.baseDebs.join('\n')}\n`);
    for (const file of repository.baseRpms)
      await copyFile(path.join(repository.dir, 'Packages', file), path.join(folder, file));
    return await nodeImage({
      debs: repository.baseDebs,
      registered: folder,
      identity: repository.identity,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
