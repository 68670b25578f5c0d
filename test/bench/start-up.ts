/*
 * What a command costs before it does anything: a process that starts, reads its modules and ends. Several starts
 * are one round, since one is as short as the clock's own steps for processor time.
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../lab/paths.js';
import type { Contender, Group } from './harness.js';
import { plainFigure, race, ROUNDS } from './harness.js';
import { measureCommand } from './measure.js';

export const startUp: Group = {
  name: 'start-up',
  about: 'commands that do nothing, beside node -e 0',
  async *run({ short }) {
    const turns = short ? 3 : 10;
    const node = process.execPath;
    const built = (name: string): string => path.join(ROOT, 'build', name);
    const starts = (name: string, words: readonly string[]): Contender => ({
      name,
      command: `${name}, ${turns} times`,
      round: () =>
        measureCommand(['sh', '-c', 'for turn in $(seq "$0"); do "$@"; done', String(turns), node, ...words]),
    });
    yield* await race({
      ours: [
        starts('bundle --version', [built('cli.js'), '--version']),
        starts('bundle --help', [built('cli.js'), '--help']),
        starts('bundle verify --help', [built('cli.js'), 'verify', '--help']),
        starts('airbundle --help', [built('installer.cjs'), '--help']),
      ],
      rivals: [starts('node -e 0', ['-e', '0'])],
      rounds: ROUNDS,
    });
    yield plainFigure('installer.cjs, as it is carried', statSync(built('installer.cjs')).size / 1024, 'KiB');
  },
};
