/*
 * Packing against its two yardsticks, in one run: npx tsx test/bench/pack.ts [MiB] [rounds]
 *
 * - one pass: read, SHA-256 and write, one after the other, in one process (goal: at most 1.5 times)
 * - tar | tee | sha256sum, what one would type (goal: at least 3 times faster, with SHA extensions)
 *
 * All read a warm page cache and leave dirty pages; fsync is timed beside. Medians, since other work on
 * the machine disturbs single rounds.
 */
import { execFile } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { packTar } from '../../src/create/pack.js';
import type { PackMember } from '../../src/create/pack.js';
import { BundlePath, Sha256 } from '../../src/model/grammar.js';

const MIB = 1024 * 1024;
const sizeMiB = Number(process.argv[2] ?? 1024);
const rounds = Number(process.argv[3] ?? 5);

interface Round {
  readonly ms: number;
  readonly syncMs: number;
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(process.env['AIRBUNDLE_BENCH_DIR'] ?? tmpdir(), 'bench-pack-'));
  try {
    const members = await makeMembers(folder);
    const rssMiB = await rssOfPacking(members, path.join(folder, 'rss.tar'));
    const contenders = { pack, onePass, shell } as const;
    const times: Record<keyof typeof contenders, Round[]> = { pack: [], onePass: [], shell: [] };
    for (let round = 0; round < rounds; round += 1)
      for (const [name, contender] of Object.entries(contenders)) {
        const output = path.join(folder, 'out.tar');
        times[name as keyof typeof contenders].push(await contender(members, output));
        await rm(output);
      }
    report(times, rssMiB);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Many small RPMs and a few large files, as in a bundle. */
async function makeMembers(folder: string): Promise<PackMember[]> {
  const small = Array.from({ length: 80 }, (_, index) => ({
    name: `small-${String(index)}`,
    sizeBytes: 300_000 + index * 1111,
  }));
  const rest = sizeMiB * MIB - small.reduce((sum, file) => sum + file.sizeBytes, 0);
  const large = Array.from({ length: 4 }, (_, index) => ({
    name: `large-${String(index)}`,
    sizeBytes: Math.floor(rest / 4),
  }));
  const members: PackMember[] = [];
  const chunk = Buffer.alloc(MIB);
  for (const { name, sizeBytes } of [...small, ...large]) {
    const file = path.join(folder, name);
    const handle = await open(file, 'w');
    const hash = createHash('sha256');
    for (let at = 0; at < sizeBytes; at += chunk.length) {
      const part = randomFillSync(chunk).subarray(0, Math.min(chunk.length, sizeBytes - at));
      hash.update(part);
      await handle.write(part);
    }
    await handle.sync();
    await handle.close();
    members.push({
      path: BundlePath.parse(`rpms/${name}.rpm`),
      mode: 0o644,
      sizeBytes,
      sha256: Sha256.parse(hash.digest('hex')),
      file,
    });
  }
  return members;
}

async function pack(members: readonly PackMember[], output: string): Promise<Round> {
  const startedMs = performance.now();
  const { syncMs } = await packTar({
    first: { path: 'bundle.json', bytes: Buffer.from('{}\n') },
    members,
    output,
  });
  return { ms: performance.now() - startedMs - syncMs, syncMs };
}

async function onePass(members: readonly PackMember[], output: string): Promise<Round> {
  const startedMs = performance.now();
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(MIB);
  const target = await open(output, 'w');
  for (const member of members) {
    const source = await open(member.file);
    for (;;) {
      const { bytesRead } = await source.read(chunk, 0, chunk.length);
      if (bytesRead === 0) break;
      hash.update(chunk.subarray(0, bytesRead));
      await target.write(chunk, 0, bytesRead);
    }
    await source.close();
  }
  hash.digest();
  const ms = performance.now() - startedMs;
  await target.sync();
  const syncMs = performance.now() - startedMs - ms;
  await target.close();
  return { ms, syncMs };
}

async function shell(members: readonly PackMember[], output: string): Promise<Round> {
  const startedMs = performance.now();
  const names = members.map((member) => path.basename(member.file));
  const script = 'cd "$1" && out="$2" && shift 2 && tar -cf - "$@" | tee "$out" | sha256sum';
  await promisify(execFile)('sh', ['-c', script, 'sh', path.dirname(output), output, ...names]);
  const ms = performance.now() - startedMs;
  const target = await open(output);
  await target.sync();
  await target.close();
  return { ms, syncMs: performance.now() - startedMs - ms };
}

/** Before and at its peak while packing; about 40 MiB of it are the TypeScript loader's (Linux only). */
async function rssOfPacking(
  members: readonly PackMember[],
  output: string,
): Promise<readonly [number, number]> {
  const kib = async (field: string): Promise<number> => {
    const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
    return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? Number.NaN) / 1024;
  };
  // proc(5): 5 resets the peak.
  await writeFile('/proc/self/clear_refs', '5').catch(() => undefined);
  const before = await kib('VmRSS');
  await pack(members, output);
  await rm(output);
  return [before, await kib('VmHWM')];
}

function report(
  times: Record<'pack' | 'onePass' | 'shell', readonly Round[]>,
  [before, peak]: readonly [number, number],
): void {
  const median = (values: readonly number[]): number =>
    [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
  const row = (name: string, list: readonly Round[]): string =>
    `${name.padEnd(24)}${median(list.map((r) => r.ms))
      .toFixed(0)
      .padStart(10)}${Math.min(...list.map((r) => r.ms))
      .toFixed(0)
      .padStart(10)}${median(list.map((r) => r.syncMs))
      .toFixed(0)
      .padStart(10)}`;
  const ratio = (a: readonly Round[], b: readonly Round[]): string =>
    median(a.map((round, index) => round.ms / (b[index]?.ms ?? Number.NaN))).toFixed(2);
  process.stdout.write(
    [
      `${String(sizeMiB)} MiB, ${String(rounds)} rounds, ${String(availableParallelism())} × ${cpus()[0]?.model ?? 'CPU'}`,
      `${''.padEnd(24)}${'median ms'.padStart(10)}${'best ms'.padStart(10)}${'fsync ms'.padStart(10)}`,
      row('pack', times.pack),
      row('one pass', times.onePass),
      row('tar | tee | sha256sum', times.shell),
      `pack ÷ one pass: ${ratio(times.pack, times.onePass)} (goal ≤ 1.5)`,
      `shell ÷ pack: ${ratio(times.shell, times.pack)} (goal ≥ 3)`,
      `RSS: ${before.toFixed(0)} MiB before, ${peak.toFixed(0)} MiB at the peak of packing (goal ≤ 120)`,
      '',
    ].join('\n'),
  );
}

await main();
