/*
 * An upload against scp, to a node of the lab, in one run: npx tsx test/bench/upload.ts [MiB] [rounds]
 *
 * Both copy the same file to the same disk with the same cipher, read from a warm page cache; the upload hashes
 * it on the far side too, which is measured apart. Medians, since other work on the machine disturbs rounds.
 * The goal: at least 0.9 of scp's speed for the transfer.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import { connectNode } from '../../src/fleet/remote-node.js';
import { settingFor, sshLab } from '../fleet/lab-ssh.js';

const MIB = 1024 * 1024;
const sizeMiB = Number(process.argv[2] ?? 512);
const rounds = Number(process.argv[3] ?? 5);
const STEM = 'bench-1.0.0-el7.x86_64';

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

const ssh = await sshLab(['lb1']);
try {
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
  // The lab's login shell greets everybody, which scp does not survive.
  await ssh.sh('lb1', 'rm /root/.bashrc');
  const known = `${ssh.address('lb1')} ${await ssh.hostKey('lb1')}\n`;
  const setting = settingFor(ssh, { known });
  const node = await connectNode({
    node: { name: 'lb1', address: ssh.address('lb1') },
    setting,
    // Only what an upload looks at.
    consignment: {
      stem: STEM,
      files: [{ name: `${STEM}.tar`, path: file, sizeBytes: sizeMiB * MIB, sha256: hash.digest('hex') }],
      siteName: 'site.yaml',
      key: { name: 'key.pem', fingerprint: '' },
      desk: [],
    } as unknown as Consignment,
    log: undefined,
    onLost: (_name, error) => {
      throw error;
    },
  });
  const scp = ['-q', '-F', setting.flags.configFile ?? '', '-c', 'aes128-gcm@openssh.com'];
  const contenders: Record<string, () => Promise<number>> = {
    scp: async () => {
      const from = performance.now();
      execFileSync('scp', [...scp, file, `root@${ssh.address('lb1')}:/var/lib/copy`]);
      // scp does not wait for the disk; the upload does.
      await ssh.sh('lb1', 'dd if=/dev/null of=/var/lib/copy conv=notrunc,fsync status=none');
      return performance.now() - from;
    },
    upload: async () => {
      const from = performance.now();
      let sentMs = 0;
      await node.upload(({ doneBytes, totalBytes }) => {
        if (doneBytes === totalBytes && sentMs === 0) sentMs = performance.now() - from;
      });
      const wholeMs = performance.now() - from;
      hashing.push(wholeMs - sentMs);
      return sentMs;
    },
  };
  const hashing: number[] = [];
  const times = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1)
    for (const [name, contender] of Object.entries(contenders)) {
      await ssh.sh('lb1', 'rm -rf /var/lib/copy /var/lib/airbundle/incoming');
      times.get(name)?.push(await contender());
    }
  for (const [name, measured] of times)
    console.log(`${name.padEnd(8)} ${((sizeMiB / median(measured)) * 1000).toFixed(0)} MiB/s`);
  const ratio = median(times.get('scp') ?? []) / median(times.get('upload') ?? []);
  console.log(
    `upload / scp: ${ratio.toFixed(2)} (goal: 0.9); then ${median(hashing).toFixed(0)} ms for the proof`,
  );
  await node.close();
} finally {
  await ssh.down();
}
