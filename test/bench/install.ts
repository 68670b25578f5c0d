/*
 * The installation beside the same done by hand (test/lab/hand.ts types the seed's commands), each on a fresh
 * node, in turn. Ours includes verifying, planning, configuring, starting and checking, which the hand's does
 * not: two services must stay up for six seconds by design. Needs root and Docker.
 */
import { byHand } from '../lab/hand.js';
import { startLab } from '../lab/machines.js';
import type { Lab } from '../lab/machines.js';
import { carry, chain, DESK, type } from '../lab/walk/operator.js';
import type { PackedBundle } from '../lab/walk/packager.js';
import { packager } from '../lab/walk/packager.js';
import { childrenCpuMs } from '../lab/cpu-times.js';
import type { Contender, Cost, Group, Rival } from './harness.js';
import { plainFigure, race, ROUNDS, spread } from './harness.js';

const NODE = 'lb1';

/** A round takes two minutes on a quiet machine of two cores. */
const HOST_ROUNDS = 3;

export const install: Group = {
  name: 'install',
  about: 'airbundle install beside rpm, make and make install by hand',
  async *run({ short, note }) {
    const packed = await packager({ quiet: true });
    const againMs: number[] = [];
    const installing = (way: 'host' | 'isolated', again = 0): Contender => ({
      name: `install, ${way}`,
      command: `openssl dgst -verify … && sha256sum -c … && sh install.sh … --build ${way}`,
      round: async () => {
        note(`install, ${way}`);
        const lab = await startLab({ nodes: [NODE], backends: ['tts1', 'tts2'] });
        try {
          await carry(lab, NODE, packed);
          const cost = await typed(lab, packed, chain(packed, NODE, `-y --build ${way}`));
          const second = `bundle install . --site ${DESK}/site.yaml --node ${NODE}`;
          for (let turn = 0; turn < again; turn += 1) againMs.push((await typed(lab, packed, second)).ms);
          return cost;
        } finally {
          await lab.down();
        }
      },
    });
    const hand: Rival = {
      name: 'by hand',
      command:
        'rpm -ivh --force --nodeps *.rpm; then in each source: ./configure, make -j2 (keepalived: make), make install',
      goal: 0.9,
      round: async () => {
        note('by hand');
        const { times, cpuMs } = await byHand();
        return { ms: (times.rpmsS + times.haproxyS + times.keepalivedS) * 1000, cpuMs };
      },
    };
    yield* await race({
      ours: [installing('host', ROUNDS)],
      rivals: [hand],
      rounds: short ? 1 : HOST_ROUNDS,
    });
    yield plainFigure('a second install', spread(againMs).median / 1000, 's', 2);
    if (!short)
      yield* await race({
        ours: [installing('isolated')],
        rivals: [{ ...hand, goal: undefined }],
        rounds: 1,
      });
  },
};

/** Types it into the node's shell, which says what its children took. */
async function typed(lab: Lab, packed: PackedBundle, text: string): Promise<Cost> {
  const startedMs = performance.now();
  const done = await type(lab, NODE, packed, `{ ${text}\n}; code=$?; times; exit $code`);
  const ms = performance.now() - startedMs;
  if (done.exitCode !== 0) throw new Error(`exit code ${done.exitCode}\n${done.stderr.slice(-2000)}`);
  return { ms, cpuMs: childrenCpuMs(done.stdout) };
}
