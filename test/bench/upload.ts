/*
 * An upload to nodes of the lab beside scp and rsync, with the same cipher, to the same disks, read from a warm
 * page cache. All wait for the far disk; the upload hashes the far file too, which is measured apart. Needs root
 * and Docker.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { SshLab } from '../fleet/lab-ssh.js';
import { settingFor, sshLab } from '../fleet/lab-ssh.js';
import { node16 } from '../lab/backend-image.js';
import { attempt, run } from '../lab/docker.js';
import { nodePrograms } from '../lab/node-programs.js';
import type { Contender, Figure, Group, Rival, Skipped } from './harness.js';
import { plainFigure, race, ROUNDS, spread } from './harness.js';
import { measureWork } from './measure.js';
import { MIB } from './payloads.js';
import type { Measured, Once } from './upload-once.js';

const STEM = 'bench-1.0.0-el7.x86_64';
const RSYNC = '/opt/rsync';
const CIPHER = 'aes128-gcm@openssh.com';

export const upload: Group = {
  name: 'upload',
  about: 'one file to one node and to eight, beside scp and rsync',
  async *run({ short }) {
    yield* toNodes(1, short ? 64 : 512, short ? 1 : ROUNDS);
    if (!short) yield* toNodes(8, 128, 3);
  },
};

async function* toNodes(count: number, sizeMiB: number, rounds: number): AsyncGenerator<Figure | Skipped> {
  const names = Array.from({ length: count }, (_, index) => `lb${index + 1}`);
  const ssh = await sshLab(names);
  try {
    const { file, sha256 } = makePayload(ssh, sizeMiB);
    const known: string[] = [];
    for (const name of names) {
      // The lab's login shell greets everybody, which scp does not survive.
      await ssh.sh(name, 'rm /root/.bashrc');
      known.push(`${ssh.address(name)} ${await ssh.hostKey(name)}\n`);
    }
    const config = settingFor(ssh, { known: known.join('') }).flags.configFile ?? '';
    const program = await makeProgram(ssh);
    const sending = (to: readonly string[]): readonly string[] => {
      const given: Once = {
        ...{ addresses: to.map((name) => ssh.address(name)), home: ssh.home, configFile: config, stem: STEM },
        file: { name: `${STEM}.tar`, path: file, sizeBytes: sizeMiB * MIB, sha256 },
      };
      const words = path.join(ssh.home, `given-${to.length}.json`);
      writeFileSync(words, JSON.stringify(given));
      return [...program, words];
    };
    const everywhere = (work: (name: string, index: number) => Promise<unknown>): Promise<unknown> =>
      Promise.all(names.map(work));
    const after = async (): Promise<void> => {
      await everywhere((name) => ssh.sh(name, 'rm -rf /var/lib/copy /var/lib/airbundle/incoming'));
    };
    const proofsMs: number[] = [];
    const words = `${sizeMiB} MiB to ${count === 1 ? 'a node' : `${count} nodes`}`;
    const ours: Contender = {
      name: `upload ${words}`,
      command:
        'upload() of src/fleet/upload.ts, as "airbundle deploy" calls it, on Node 16, without its proof',
      round: async () => {
        const { transferMs, proofMs } = JSON.parse(await run(sending(names))) as Measured;
        proofsMs.push(proofMs);
        return { ms: transferMs };
      },
      after,
    };
    // These do not wait for the disk; the upload does.
    const flush = 'dd if=/dev/null of=/var/lib/copy conv=notrunc,fsync status=none';
    const copying = (name: string, argv: (place: string) => readonly string[]): Rival => ({
      name,
      command: `${argv('NODE:/var/lib/copy')
        .map((word) => word.replace(ssh.home, '…'))
        .join(' ')}; then there: ${flush}`,
      round: () =>
        measureWork(() =>
          everywhere(async (one) => {
            await run(argv(`root@${ssh.address(one)}:/var/lib/copy`));
            await ssh.sh(one, flush);
          }),
        ),
      after,
    });
    const scp = copying('scp', (place) => ['scp', '-q', '-F', config, '-c', CIPHER, file, place]);
    const rsync = copying('rsync', (place) => [
      ...['rsync', '-W', '-e', `ssh -F ${config} -c ${CIPHER}`],
      ...['--rsync-path', `LD_LIBRARY_PATH=${RSYNC} ${RSYNC}/rsync`, file, place],
    ]);
    const hasRsync = (await attempt(['sh', '-c', 'command -v rsync'])).exitCode === 0;
    if (hasRsync) await putRsync(ssh, names);
    yield* await race({
      ours: [ours],
      rivals: [{ ...scp, goal: 1 / 0.9 }, ...(hasRsync ? [rsync] : [])],
      rounds,
    });
    const whole = (to: readonly string[], words: string, start: readonly string[] = []): Contender => ({
      name: `transfer and proof to ${words}`,
      command: [...start, 'the same, with its proof'].join(' '),
      round: async () => ({ ms: (JSON.parse(await run([...start, ...sending(to)])) as Measured).wholeMs }),
      after,
    });
    const cores = availableParallelism();
    if (count > 1)
      yield* await race({
        ours: [whole(names, `${count} nodes`)],
        rivals: [{ ...whole(names.slice(0, 1), 'one node'), goal: manyNodesGoal(count, cores) }],
        rounds,
      });
    // Both ends share the cores of this machine: here each has its own, as two machines do.
    if (count > 1 && cores > 1) {
      const own = Math.floor(cores / 2);
      const nodeCores = `${own}-${cores - 1}`;
      for (const name of names)
        await run(['docker', 'update', '--cpuset-cpus', nodeCores, ssh.lab.nodes[name]?.container ?? '']);
      const start = ['taskset', '-c', `0-${own - 1}`];
      const where = `, ${own === 1 ? 'one core' : `${own} cores`} for each end`;
      yield* await race({
        ours: [whole(names, `${count} nodes${where}`, start)],
        rivals: [{ ...whole(names.slice(0, 1), `one node${where}`, start), goal: manyNodesGoal(count, own) }],
        rounds,
      });
    }
    if (!hasRsync)
      yield { name: `${ours.name} ÷ rsync`, skipped: 'no rsync on this machine: apt-get install rsync' };
    yield plainFigure(`${ours.name}: its proof afterwards`, spread(proofsMs).median / 1000, 's');
  } finally {
    await ssh.down();
  }
}

/** The nodes have none; their release's own. */
async function putRsync(ssh: SshLab, names: readonly string[]): Promise<void> {
  const folder = path.join(ssh.home, path.basename(RSYNC));
  const packages = ['rsync', 'libpopt0', 'liblz4-1', 'libxxhash0', 'libzstd1'];
  await nodePrograms(packages, ['usr/bin/rsync', 'usr/lib/*/*.so.*'], folder);
  for (const name of names) await ssh.lab.copyIn(name, folder, path.dirname(RSYNC));
}

/** DESIGN §10: what the cores of the machine that sends allow, and a fifth. */
function manyNodesGoal(count: number, cores: number): number {
  return (1.2 * count) / Math.min(cores, count);
}

function makePayload(ssh: SshLab, sizeMiB: number): { readonly file: string; readonly sha256: string } {
  const file = path.join(ssh.home, 'payload');
  const hash = createHash('sha256');
  const handle = openSync(file, 'w');
  const piece = randomFillSync(Buffer.alloc(MIB));
  for (let at = 0; at < sizeMiB; at += 1) {
    piece.writeUInt32LE(at, 0);
    hash.update(piece);
    writeSync(handle, piece);
  }
  closeSync(handle);
  return { file, sha256: hash.digest('hex') };
}

/** What a jump host has: one file of JavaScript, Node 16, no native part of ssh2. @returns the command, less its file */
async function makeProgram(ssh: SshLab): Promise<readonly string[]> {
  const program = path.join(ssh.home, 'upload-once.cjs');
  await build({
    entryPoints: [path.join(import.meta.dirname, 'upload-once.ts')],
    outfile: program,
    ...{ bundle: true, platform: 'node', format: 'cjs', target: 'node16', logLevel: 'error' },
    external: ['cpu-features', '*.node'],
  });
  return [await node16(), program];
}
