/*
 * What a node does with the medium: copy, hash and unpack, by the bundle's own Node 16; beside what one would
 * type, which reads the payload three times. Neither waits for the disk.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { node16 } from '../lab/backend-image.js';
import type { Contender, Group, Rival } from './harness.js';
import { plainFigure, race, ROUNDS } from './harness.js';
import { builtProgram, measureCommand, measureProgram } from './measure.js';
import { LARGE_FILE, makeFiles, makeFolder, MIB, SMALL_FILE } from './payloads.js';

const SHELL = 'cp -r "$0" "$1" && cd "$1" && sha256sum --strict -c ./*.sha256 && tar -xf ./*.tar';

export const stage: Group = {
  name: 'stage',
  about: 'stage and verify on the node: copy, hash, unpack',
  async *run({ short, scratch, note }) {
    const passes = await builtProgram('passes', 'node16');
    const runtime = await node16();
    const sets = short
      ? [['32 MiB in 4 MiB files', 32 * MIB, LARGE_FILE] as const]
      : [
          ['100 MiB in 20 KiB files', 100 * MIB, SMALL_FILE] as const,
          ['1 GiB in 4 MiB files', 1024 * MIB, LARGE_FILE] as const,
        ];
    for (const [name, sizeBytes, fileBytes] of sets) {
      note(`stage ${name}`);
      const files = makeFiles(scratch, name, sizeBytes, fileBytes);
      const { folder, stem, tar } = await makeFolder(scratch, files.members);
      const sums = readFileSync(path.join(folder, `${stem}.sha256`), 'utf8');
      const sha256 = /^([0-9a-f]{64}) {2}.*\.tar$/m.exec(sums)?.[1] ?? '';
      // ext4 looks at each inode that was removed in the last seconds before it gives out another (recently_deleted):
      // where there are thousands, nothing is removed between the rounds.
      const stages: string[] = [];
      const nextStage = (): string => {
        const into = path.join(scratch, `stage-${stages.length}`);
        stages.push(into);
        return into;
      };
      const removeAll = (): void => {
        for (const into of stages.splice(0)) rmSync(into, { recursive: true, force: true });
      };
      const after = async (): Promise<void> => {
        if (fileBytes > SMALL_FILE) removeAll();
      };
      const ours: Contender = {
        name: `stage ${name}`,
        command: 'unpack() of src/install/unpack.ts on Node 16.20.2, as "airbundle install" calls it',
        round: () => {
          const into = nextStage();
          mkdirSync(into);
          return measureProgram(passes, ['unpack', tar, sha256, into], runtime);
        },
        after,
      };
      const byHand: Rival = {
        name: 'cp, sha256sum -c, tar -xf',
        command: `sh -c '${SHELL}' FOLDER STAGE`,
        round: () => measureCommand(['sh', '-c', SHELL, folder, nextStage()]),
        after,
      };
      const figures = await race({
        ...{ ours: [ours], rivals: [byHand], rounds: ROUNDS },
        // By hand the payload is copied and unpacked.
        writesBytes: 2 * sizeBytes,
      });
      yield* figures;
      const peak = figures[0]?.more?.oursCost.peakMiB?.max;
      if (peak !== undefined) yield plainFigure(`stage ${name}: peak memory`, peak, 'MiB');
      removeAll();
      for (const made of [files.folder, folder]) rmSync(made, { recursive: true });
    }
  },
};
