/*
 * An upload to nodes of the lab beside scp and rsync, with the same cipher, to the same disks, read from a warm
 * page cache. All wait for the far disk; the upload hashes the far file too, which is measured apart. Needs root
 * and Docker.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import type { RemoteNode } from '../../src/fleet/remote-node.js';
import { connectNode } from '../../src/fleet/remote-node.js';
import type { SshLab } from '../fleet/lab-ssh.js';
import { settingFor, sshLab } from '../fleet/lab-ssh.js';
import { run } from '../lab/docker.js';
import type { Contender, Figure, Group, Rival, Skipped } from './harness.js';
import { plainFigure, race, ROUNDS, spread } from './harness.js';
import { measureWork } from './measure.js';
import { MIB } from './payloads.js';

const STEM = 'bench-1.0.0-el7.x86_64';
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
  const nodes: RemoteNode[] = [];
  try {
    const { file, sha256 } = makePayload(ssh, sizeMiB);
    const known: string[] = [];
    for (const name of names) {
      // The lab's login shell greets everybody, which scp does not survive.
      await ssh.sh(name, 'rm /root/.bashrc');
      known.push(`${ssh.address(name)} ${await ssh.hostKey(name)}\n`);
    }
    const setting = settingFor(ssh, { known: known.join('') });
    for (const name of names)
      nodes.push(
        await connectNode({
          node: { name, address: ssh.address(name) },
          setting,
          // Only what an upload looks at.
          consignment: {
            stem: STEM,
            files: [{ name: `${STEM}.tar`, path: file, sizeBytes: sizeMiB * MIB, sha256 }],
            siteName: 'site.yaml',
            key: { name: 'key.pem', fingerprint: '' },
            desk: [],
          } as unknown as Consignment,
          log: undefined,
          onLost: (_name, error) => {
            throw error;
          },
        }),
      );
    const everywhere = (work: (name: string, index: number) => Promise<unknown>): Promise<unknown> =>
      Promise.all(names.map(work));
    const after = async (): Promise<void> => {
      await everywhere((name) => ssh.sh(name, 'rm -rf /var/lib/copy /var/lib/airbundle/incoming'));
    };
    const proofMs: number[] = [];
    const words = `${sizeMiB} MiB to ${count === 1 ? 'a node' : `${count} nodes`}`;
    const ours: Contender = {
      name: `upload ${words}`,
      command: 'upload() of src/fleet/upload.ts, as "airbundle deploy" calls it, without its proof',
      round: async () => {
        const fromMs = performance.now();
        // Each node says that all is there once more when it is proved.
        const sentMs = await Promise.all(
          nodes.map(async (node) => {
            let ownMs = 0;
            await node.upload(({ doneBytes, totalBytes }) => {
              if (doneBytes === totalBytes && ownMs === 0) ownMs = performance.now() - fromMs;
            });
            return ownMs;
          }),
        );
        const ms = Math.max(...sentMs);
        proofMs.push(performance.now() - fromMs - ms);
        return { ms };
      },
      after,
    };
    const config = setting.flags.configFile ?? '';
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
      'rsync',
      '-W',
      '-e',
      `ssh -F ${config} -c ${CIPHER}`,
      file,
      place,
    ]);
    const hasRsync = (await ssh.sh('lb1', 'command -v rsync')).exitCode === 0;
    yield* await race({
      ours: [ours],
      rivals: [{ ...scp, goal: 1 / 0.9 }, ...(hasRsync ? [rsync] : [])],
      rounds,
    });
    if (!hasRsync) yield { name: `${ours.name} ÷ rsync`, skipped: "the lab's node has no rsync" };
    yield plainFigure(`${ours.name}: its proof afterwards`, spread(proofMs).median / 1000, 's');
  } finally {
    await Promise.allSettled(nodes.map((node) => node.close()));
    await ssh.down();
  }
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
