import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import type { Patience } from '../../src/fleet/patience.js';
import { connectNode } from '../../src/fleet/remote-node.js';
import type { Cutter, SshLab } from './lab-ssh.js';
import { cutter, settingFor, sshLab } from './lab-ssh.js';

const STEM = 'small-1.0.0-el7.x86_64';
const STATE = '/var/lib/airbundle';
const SIZE = 200_000;
/** More than what one whole deploy to this node sends, and what comes back. */
const SENT_BYTES = SIZE + 60_000;
const BACK_BYTES = 12_000;
const PATIENT: Patience = { totalMs: 60_000, firstPauseMs: 20, longestPauseMs: 200 };
/** AIRBUNDLE_CUTS=500 for a sweep. */
const RUNS = Number(process.env['AIRBUNDLE_CUTS'] ?? 8);

/**
 * What a deploy does with one node, over lines that break anywhere: in what goes there, in what comes back, and
 * again. Real sshd; what runs there is a script, so that a line takes a second and not a minute.
 */
describe('an upload and a run over a line that breaks anywhere', () => {
  let ssh: SshLab;
  let way: Cutter;
  let known: string;

  beforeAll(async () => {
    ssh = await sshLab(['lb1']);
    way = await cutter(ssh.address('lb1'));
    known = `[127.0.0.1]:${String(way.port)} ${await ssh.hostKey('lb1')}\n`;
  });
  afterAll(async () => {
    await way.close();
    await ssh.down();
  });

  const breakNext = (cut: Cut | undefined): void => {
    if (cut?.way === 'there') way.cutAfter(cut.bytes);
    if (cut?.way === 'back') way.cutAfterBack(cut.bytes);
  };

  const deploy = async (number: number, cuts: readonly Cut[], code: number): Promise<number> => {
    let lost = 0;
    const payload = randomBytes(SIZE);
    const digest = createHash('sha256').update(payload).digest('hex');
    const file = `${STEM}.tar`;
    const node = await connectNode({
      node: { name: 'lb1', address: ssh.address('lb1') },
      setting: settingFor(ssh, {
        known,
        config: `Host lb1\n  HostName 127.0.0.1\n  Port ${String(way.port)}\n`,
      }),
      // Only what an upload looks at: the rest is a bundle's, which test/e2e/deploy.test.ts sends.
      consignment: {
        stem: STEM,
        files: [{ name: file, path: ssh.file('payload', payload), sizeBytes: SIZE, sha256: digest }],
        siteName: 'site.yaml',
        key: { name: 'key.pem', fingerprint: '' },
        desk: [{ name: 'site.yaml', bytes: Buffer.from('a site\n') }],
      } as unknown as Consignment,
      log: undefined,
      onLost: () => {
        breakNext(cuts[(lost += 1)]);
      },
      patience: PATIENT,
    });
    try {
      way.cutNow();
      breakNext(cuts[0]);
      const uploaded = await node.upload(() => undefined);
      expect(uploaded.sentBytes + uploaded.keptBytes).toBe(SIZE);
      const script = [
        `mkdir ${STATE}/alone || { echo two at once; exit 99; }`,
        `sha256sum <${uploaded.folder}/${file}; i=0`,
        'while [ $i -lt 12 ]; do i=$((i + 1)); echo line $i; sleep 0.1; done',
        `rmdir ${STATE}/alone; exit ${String(code)}`,
      ].join('\n');
      const run = await node.follow(`run-${String(number)}`, ['/bin/sh', '-c', script], () => undefined);
      const lines = Array.from({ length: 12 }, (_, index) => `line ${String(index + 1)}\n`).join('');
      expect(run).toMatchObject({ exitCode: code, log: `${digest}  -\n${lines}` });
    } finally {
      await node.close();
    }
    return lost;
  };

  interface Cut {
    readonly way: 'there' | 'back';
    readonly bytes: number;
  }
  const cut: fc.Arbitrary<Cut> = fc.oneof(
    fc.record({ way: fc.constant('there' as const), bytes: fc.integer({ min: 1, max: SENT_BYTES }) }),
    fc.record({ way: fc.constant('back' as const), bytes: fc.integer({ min: 1, max: BACK_BYTES }) }),
  );

  it(
    'ends with what arrived whole, a log without a gap and the true exit code; never two runs at once',
    async () => {
      let number = 0;
      let lost = 0;
      await ssh.sh('lb1', `rm -rf ${STATE}`);
      await fc.assert(
        fc.asyncProperty(
          fc.array(cut, { minLength: 1, maxLength: 3 }),
          fc.constantFrom(0, 3),
          async (cuts, code) => {
            await ssh.sh('lb1', `rm -rf ${STATE}/incoming ${STATE}/alone`);
            lost += await deploy((number += 1), cuts, code);
          },
        ),
        { numRuns: RUNS, endOnFailure: true },
      );
      process.stderr.write(`${String(RUNS)} deploys, the line broke ${String(lost)} times\n`);
      expect(lost).toBeGreaterThanOrEqual(RUNS / 2);
    },
    60_000 * Math.max(5, RUNS),
  );
});
