/*
 * Verifying a folder, from a warm page cache. `bundle verify` is the whole command, started anew each time as the
 * others are; the reading alone is what its goal is about. It takes two cores at once; where other work holds one
 * of them, the processor time tells more.
 */
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lab/paths.js';
import type { Contender, Group, Rival } from './harness.js';
import { plainFigure, race, ROUNDS } from './harness.js';
import { builtProgram, measureCommand, measureProgram } from './measure.js';
import { LARGE_FILE, makeFiles, makeFolder, MIB, SMALL_FILE } from './payloads.js';

export const verify: Group = {
  name: 'verify',
  about: 'signature, whole and members of a folder',
  async *run({ short, scratch, note }) {
    const passes = await builtProgram('passes');
    const sets = short
      ? [['32 MiB in 4 MiB files', 32 * MIB, LARGE_FILE] as const]
      : [
          ['100 MiB in 20 KiB files', 100 * MIB, SMALL_FILE] as const,
          ['1 GiB in 4 MiB files', 1024 * MIB, LARGE_FILE] as const,
        ];
    for (const [name, sizeBytes, fileBytes] of sets) {
      note(`verify ${name}`);
      const files = makeFiles(scratch, name, sizeBytes, fileBytes);
      const { folder, stem, tar, keyFile } = await makeFolder(scratch, files.members);
      rmSync(files.folder, { recursive: true });
      const sha256 = tarDigest(folder, stem);
      const command = (shown: string, argv: readonly string[], cwd?: string): Contender => ({
        name: shown,
        command: argv.map((word) => path.basename(word)).join(' '),
        round: () => measureCommand(argv, cwd === undefined ? {} : { cwd }),
      });
      const openssl = command('openssl dgst -sha256', ['openssl', 'dgst', '-sha256', tar]);
      const sha256sum = command('sha256sum -c', ['sha256sum', '--strict', '-c', `${stem}.sha256`], folder);
      const reading: Contender = {
        name: `verify ${name}`,
        command: 'readPayload() of src/review/payload.ts, as every verification calls it',
        round: () => measureProgram(passes, ['read', tar, sha256]),
      };
      const whole = command(`bundle verify ${name}`, [
        ...[process.execPath, path.join(ROOT, 'build', 'cli.js'), 'verify', folder],
        ...['--key', keyFile],
      ]);
      // The goals are for 1 GiB: a start is a larger part of less.
      const isGoal = sizeBytes === 1024 * MIB;
      const rivals: readonly Rival[] = [
        { ...openssl, goal: isGoal ? 1.3 : undefined },
        { ...sha256sum, goal: isGoal ? 1 / 3 : undefined },
      ];
      const figures = await race({ ours: [reading, whole], rivals, rounds: ROUNDS });
      yield* figures;
      const peak = figures[0]?.more?.oursCost.peakMiB?.max;
      if (peak !== undefined) yield plainFigure(`verify ${name}: peak memory`, peak, 'MiB');
      rmSync(folder, { recursive: true });
    }
  },
};

function tarDigest(folder: string, stem: string): string {
  const text = readFileSync(path.join(folder, `${stem}.sha256`), 'utf8');
  return new RegExp(`^([0-9a-f]{64}) {2}${stem}\\.tar$`, 'm').exec(text)?.[1] ?? '';
}
