/*
 * The installation against the same done by hand (test/lab/hand.ts types the seed's commands), each on a
 * fresh node, one after the other in one run. Ours includes verifying, planning, configuring, starting and
 * checking, which the hand's does not. Needs root and Docker.
 */
import { byHand } from '../lab/hand.js';
import { startLab } from '../lab/machines.js';
import { carry, chain, DESK, type } from '../lab/walk/operator.js';
import { packager } from '../lab/walk/packager.js';

const NODE = 'lb1';

async function clock(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function main(): Promise<void> {
  const hand = await byHand();
  const handS = hand.times.rpmsS + hand.times.haproxyS + hand.times.keepalivedS;
  const packed = await packager({ quiet: true });
  const lab = await startLab({ nodes: [NODE], backends: ['tts1', 'tts2'] });
  try {
    await carry(lab, NODE, packed);
    const must = async (text: string): Promise<void> => {
      const done = await type(lab, NODE, packed, text);
      if (done.exitCode !== 0) throw new Error(`exit code ${String(done.exitCode)}\n${done.stderr}`);
    };
    const installS = await clock(() => must(chain(packed, NODE)));
    const againS = await clock(() => must(`bundle install . --site ${DESK}/site.yaml --node ${NODE}`));
    process.stdout.write(
      [
        `by hand: rpm ${hand.times.rpmsS.toFixed(1)} s, haproxy ${hand.times.haproxyS.toFixed(1)} s, keepalived ${hand.times.keepalivedS.toFixed(1)} s`,
        `install: ${installS.toFixed(1)} s, from the three stock commands to checked services`,
        `install ÷ by hand: ${(installS / handS).toFixed(2)} (goal ≤ 0.9)`,
        `second install: ${againS.toFixed(1)} s (goal ≤ 2)`,
        '',
      ].join('\n'),
    );
  } finally {
    await lab.down();
  }
}

await main();
