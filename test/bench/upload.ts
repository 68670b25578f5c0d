/*
 * An upload against scp, to a node of the lab, in turn in one run: npx tsx test/bench/upload.ts [MiB] [rounds]
 *
 * Both copy the same file to the same disk with the same cipher, from a warm page cache to what fsync has seen. The
 * upload runs as on a jump host: one file of JavaScript, Node 16, no native part of ssh2. It proves the file on the
 * node too, which is measured apart. Medians, since other work on the machine disturbs rounds; and the CPU time of
 * both ends, which it disturbs less. Here both ends share the cores.
 * The goal: at least 0.9 of scp's speed for the transfer.
 */
import { createHash, randomFillSync } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { settingFor, sshLab } from '../fleet/lab-ssh.js';
import { node16 } from '../lab/backend-image.js';
import type { Measured, Once } from './upload-once.js';

const MIB = 1024 * 1024;
const sizeMiB = Number(process.argv[2] ?? 256);
const rounds = Number(process.argv[3] ?? 5);
const STEM = 'bench-1.0.0-el7.x86_64';

interface Round {
  readonly wallMs: number;
  readonly nearCpuMs: number;
  readonly farCpuMs: number;
  readonly proofMs: number;
}

const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;

/** A program that has to end with 0. */
function output(argv: readonly [string, ...string[]]): { stdout: string; stderr: string } {
  const [program, ...words] = argv;
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${String(status)}: ${stderr}`);
  return { stdout, stderr };
}

/** CPU time of a program and its children, as bash tells it in its last line: `0m0.123s 0m0.045s`. */
function cpuMsOf(argv: readonly string[]): number {
  const { stderr } = output(['bash', '-c', '"$@" && times >&2', 'bash', ...argv]);
  const children = stderr.trim().split('\n').pop() ?? '';
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes = '0', seconds = '0']) => sum + Number(minutes) * 60_000 + Number(seconds) * 1000,
    0,
  );
}

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
  const configFile = settingFor(ssh, { known }).flags.configFile ?? '';
  const program = path.join(ssh.home, 'upload-once.cjs');
  await build({
    entryPoints: [path.join(import.meta.dirname, 'upload-once.ts')],
    outfile: program,
    ...{ bundle: true, platform: 'node', format: 'cjs', target: 'node16', logLevel: 'error' },
    external: ['cpu-features', '*.node'],
  });
  const runtime = await node16();
  const given: Once = {
    ...{ address: ssh.address('lb1'), home: ssh.home, configFile, stem: STEM },
    file: { name: `${STEM}.tar`, path: file, sizeBytes: sizeMiB * MIB, sha256: hash.digest('hex') },
  };
  const givenFile = path.join(ssh.home, 'given.json');
  writeFileSync(givenFile, JSON.stringify(given));

  /** CPU time of the node so far: cgroup v1 tells nanoseconds, v2 microseconds. */
  const farMs = async (): Promise<number> => {
    const text = await ssh.sh(
      'lb1',
      'cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || sed -n "s/^usage_usec //p" /sys/fs/cgroup/cpu.stat',
    );
    const told = Number(text.stdout.trim());
    return (await ssh.sh('lb1', 'test -e /sys/fs/cgroup/cpuacct/cpuacct.usage')).exitCode === 0
      ? told / 1e6
      : told / 1e3;
  };
  const scp = ['scp', '-q', '-F', configFile, '-c', 'aes128-gcm@openssh.com'];
  const contenders: Record<string, () => Promise<Omit<Round, 'farCpuMs'>>> = {
    scp: async () => {
      const from = performance.now();
      const nearCpuMs = cpuMsOf([...scp, file, `root@${ssh.address('lb1')}:/var/lib/copy`]);
      // scp does not wait for the disk; the upload does.
      await ssh.sh('lb1', 'dd if=/dev/null of=/var/lib/copy conv=notrunc,fsync status=none');
      return { wallMs: performance.now() - from, nearCpuMs, proofMs: 0 };
    },
    upload: () => {
      const { stdout } = output([runtime, program, givenFile]);
      const { transferMs, transferCpuMs, proofMs } = JSON.parse(stdout) as Measured;
      return Promise.resolve({ wallMs: transferMs, nearCpuMs: transferCpuMs, proofMs });
    },
  };
  const measured = new Map<string, Round[]>(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1)
    for (const [name, contender] of Object.entries(contenders)) {
      await ssh.sh('lb1', 'rm -rf /var/lib/copy /var/lib/airbundle/incoming');
      const before = await farMs();
      const result = await contender();
      measured.get(name)?.push({ ...result, farCpuMs: (await farMs()) - before });
    }
  const of = (name: string, what: keyof Round): number =>
    median((measured.get(name) ?? []).map((round) => round[what]));
  for (const name of measured.keys())
    console.log(
      `${name.padEnd(8)} ${((sizeMiB / of(name, 'wallMs')) * 1000).toFixed(0)} MiB/s; CPU here ${of(name, 'nearCpuMs').toFixed(0)} ms, on the node ${of(name, 'farCpuMs').toFixed(0)} ms`,
    );
  const ratio = of('scp', 'wallMs') / of('upload', 'wallMs');
  console.log(
    `upload / scp: ${ratio.toFixed(2)} (goal: 0.9); then ${of('upload', 'proofMs').toFixed(0)} ms for the proof, whose CPU time is in the node's`,
  );
} finally {
  await ssh.down();
}
