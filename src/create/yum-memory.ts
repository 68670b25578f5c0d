import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { Sha256 } from '../model/grammar.js';
import type { Manifest } from '../model/manifest.js';
import { byCodePoint } from '../model/nevra.js';
import { ownedName } from './owner.js';
import type { Store } from './store.js';

/*
 * What yum has seen of some repositories, so that the next run downloads only what is new. It saves time
 * and proves nothing: yum compares all of it with the repositories, and every RPM is examined each time.
 */

export interface Seed {
  /** Base name in the repository. */
  readonly name: string;
  readonly sha256: Sha256;
}

export interface YumMemory {
  /** RPMs of the store that these repositories once gave. */
  readonly seeds: readonly Seed[];
  /** yum's own cache, as a tar. */
  readonly metadataFile: string | undefined;
  keepSeeds(seeds: readonly Seed[]): Promise<void>;
  keepMetadata(bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** After a failed run: a damaged cache would make the next one fail too. */
  forgetMetadata(): Promise<void>;
}

const Seeds = z.array(z.strictObject({ name: z.string().regex(/^[^/\s]+\.rpm$/), sha256: Sha256 }));

/** @param imageId yum and dnf, of any version, keep their caches each in its own form */
export async function openYumMemory(
  cacheDir: string,
  store: Store,
  imageId: string,
  repositories: Manifest['repositories'],
): Promise<YumMemory> {
  const key = createHash('sha256')
    .update([imageId, ...repositories.map(({ id, url }) => `${id} ${url}`)].join('\n'))
    .digest('hex');
  const folder = path.join(cacheDir, 'yum', key.slice(0, 24));
  const seedsFile = path.join(folder, 'rpms.json');
  const metadataFile = path.join(folder, 'metadata.tar');
  const whole = async (file: string, write: (temporary: string) => Promise<void>): Promise<void> => {
    const temporary = path.join(cacheDir, 'tmp', ownedName('yum'));
    try {
      await mkdir(folder, { recursive: true });
      await mkdir(path.dirname(temporary), { recursive: true });
      await write(temporary);
      await rename(temporary, file);
    } catch {
      // A cache that cannot be written is no failure: the next run downloads more.
    } finally {
      await rm(temporary, { force: true });
    }
  };
  const known = await readSeeds(seedsFile);
  const seeds: Seed[] = [];
  for (const seed of known) if (await store.intact(seed.sha256)) seeds.push(seed);
  const hasMetadata = await access(metadataFile).then(
    () => true,
    () => false,
  );
  return {
    seeds,
    metadataFile: hasMetadata ? metadataFile : undefined,
    keepSeeds: (found) =>
      whole(seedsFile, async (temporary) => {
        const all = new Map([...(await readSeeds(seedsFile)), ...found].map((seed) => [seed.name, seed]));
        const sorted = [...all.values()].sort((a, b) => byCodePoint(a.name, b.name));
        await writeFile(temporary, JSON.stringify(sorted.map(({ name, sha256 }) => ({ name, sha256 }))));
      }),
    keepMetadata: (bytes) =>
      whole(metadataFile, (temporary) => pipeline(bytes, createWriteStream(temporary))),
    forgetMetadata: () => rm(metadataFile, { force: true }),
  };
}

async function readSeeds(file: string): Promise<Seed[]> {
  try {
    return Seeds.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return [];
  }
}
