/*
 * Verifying against its two yardsticks, in one run: npx tsx test/bench/verify.ts [MiB] [rounds]
 *
 * - openssl dgst -sha256 of the same payload (goal: at most 1.3 times)
 * - sha256sum of it (goal: at least 3 times faster, with SHA extensions)
 *
 * The whole command is measured too, started anew each time as the others are: `bundle verify`, from build/
 * when it is there. All read a warm page cache. Medians, since other work on the machine disturbs rounds.
 * Verifying takes two cores at once; where other work holds one of them, the CPU time tells more.
 */
import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync, randomFillSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { writeFolder } from '../../src/create/pack-folder.js';
import type { PackMember } from '../../src/create/pack.js';
import { localHost } from '../../src/host/local.js';
import type { Contents } from '../../src/model/contents.js';
import { formatContents } from '../../src/model/contents.js';
import { BundlePath, GitObject, Sha256 } from '../../src/model/grammar.js';
import { createReporter } from '../../src/report.js';
import { readKey } from '../../src/review/keys.js';
import { verify } from '../../src/review/verify.js';

const MIB = 1024 * 1024;
const sizeMiB = Number(process.argv[2] ?? 1024);
const rounds = Number(process.argv[3] ?? 7);
const command = fileURLToPath(new URL('../../build/cli.js', import.meta.url));
const run = promisify(execFile);

interface Made {
  readonly folder: string;
  readonly tar: string;
  readonly keyFile: string;
  readonly pem: string;
}

async function main(): Promise<void> {
  const scratch = await mkdtemp(path.join(process.env['AIRBUNDLE_BENCH_DIR'] ?? tmpdir(), 'bench-verify-'));
  try {
    const made = await makeFolder(scratch);
    const cpu = process.cpuUsage();
    const [before, peak] = await rssOf(() => inProcess(made));
    const { user, system } = process.cpuUsage(cpu);
    const contenders: Record<string, () => Promise<unknown>> = {
      verify: () => inProcess(made),
      openssl: () => run('openssl', ['dgst', '-sha256', made.tar]),
      sha256sum: () => run('sha256sum', [made.tar]),
      ...(existsSync(command)
        ? {
            'bundle verify': () =>
              run(process.execPath, [command, 'verify', made.folder, '--key', made.keyFile]),
          }
        : {}),
    };
    const times = new Map<string, number[]>(Object.keys(contenders).map((name) => [name, []]));
    for (let round = 0; round < rounds; round += 1)
      for (const [name, contender] of Object.entries(contenders)) {
        const startedMs = performance.now();
        await contender();
        times.get(name)?.push(performance.now() - startedMs);
      }
    report(times, before, peak);
    console.log(`CPU of verify, both threads: ${((user + system) / 1000).toFixed(0)} ms`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function inProcess({ folder, pem }: Made): Promise<void> {
  const reporter = createReporter({
    format: 'text',
    quiet: true,
    color: false,
    stream: { write: () => undefined },
    now: () => performance.now(),
  });
  await verify(localHost(), {
    place: { kind: 'folder', path: folder },
    keys: [readKey(pem, 'made here')],
    signers: 'every',
    unsigned: false,
    reporter,
  });
}

/** Many small RPMs and a few large files, as in a bundle. */
async function makeFolder(scratch: string): Promise<Made> {
  const small = Array.from({ length: 80 }, (_, index) => 300_000 + index * 1111);
  const rest = sizeMiB * MIB - small.reduce((total, sizeBytes) => total + sizeBytes, 0);
  const sizes = [...small, ...Array.from({ length: 4 }, () => Math.floor(rest / 4))];
  const members: PackMember[] = [];
  for (const [index, sizeBytes] of sizes.entries()) members.push(await makeMember(scratch, index, sizeBytes));
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const keyFile = path.join(scratch, 'packager.pub.pem');
  await writeFile(keyFile, pem);
  const { folder, stem } = await writeFolder({
    out: path.join(scratch, 'dist'),
    release: { name: 'bench', version: '1.0', sequence: 1, target: 'el7.x86_64' },
    payload: {
      first: { path: 'bundle.json', bytes: Buffer.from(formatContents(contentsOf(members))) },
      members,
    },
    installSh: Buffer.from('#!/bin/sh\n'),
    key: privateKey,
    force: false,
  });
  for (const member of members) await rm(member.file);
  return { folder, tar: path.join(folder, `${stem}.tar`), keyFile, pem };
}

async function makeMember(scratch: string, index: number, sizeBytes: number): Promise<PackMember> {
  const file = path.join(scratch, `member-${String(index)}`);
  const handle = await open(file, 'w');
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(MIB);
  for (let at = 0; at < sizeBytes; at += chunk.length) {
    const part = randomFillSync(chunk).subarray(0, Math.min(chunk.length, sizeBytes - at));
    hash.update(part);
    await handle.write(part);
  }
  await handle.close();
  return {
    path: BundlePath.parse(`rpms/member-${String(index)}.rpm`),
    mode: 0o644,
    sizeBytes,
    sha256: Sha256.parse(hash.digest('hex')),
    file,
  };
}

function contentsOf(members: readonly PackMember[]): Contents {
  const [first] = members;
  if (first === undefined) throw new Error('a bundle without members');
  const object = GitObject.parse('a'.repeat(40));
  return {
    airbundle: 1,
    name: 'bench',
    version: '1.0',
    sequence: 1,
    description: '',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: members.map(({ path: name, mode, sizeBytes, sha256 }) => ({
      path: name,
      mode,
      sizeBytes,
      sha256,
    })),
    rpms: [],
    components: [
      {
        name: 'bench',
        version: '1.0',
        licence: 'MIT',
        packages: [],
        source: {
          path: first.path,
          url: 'https://example.org/x.git',
          ref: 'v1',
          commit: object,
          tree: object,
        },
        build: [['make']],
        install: ['make', 'install'],
        files: ['/usr/local/bin/bench'],
        discard: [],
        links: [],
      },
    ],
    collector: { image: 'none', contextSha256: null },
    runtime: { path: first.path, origin: 'none', version: '16.20.2' },
  };
}

/** Before and at its peak while verifying; about 40 MiB of it are the TypeScript loader's (Linux only). */
async function rssOf(work: () => Promise<void>): Promise<readonly [number, number]> {
  const mib = async (field: string): Promise<number> => {
    const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
    return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1] ?? Number.NaN) / 1024;
  };
  // proc(5): 5 resets the peak.
  await writeFile('/proc/self/clear_refs', '5').catch(() => undefined);
  const before = await mib('VmRSS');
  await work();
  return [before, await mib('VmHWM')];
}

function report(times: ReadonlyMap<string, readonly number[]>, before: number, peak: number): void {
  const median = (values: readonly number[]): number =>
    [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
  const of = (name: string): readonly number[] => times.get(name) ?? [];
  const ratio = (a: string, b: string): string =>
    `${median(of(a).map((ms, round) => ms / (of(b)[round] ?? Number.NaN))).toFixed(2)}, best ÷ best ${(Math.min(...of(a)) / Math.min(...of(b))).toFixed(2)}`;
  console.log(
    [
      `${String(sizeMiB)} MiB, ${String(rounds)} rounds, ${String(availableParallelism())} × ${cpus()[0]?.model ?? 'CPU'}`,
      `${''.padEnd(24)}${'median ms'.padStart(10)}${'best ms'.padStart(10)}`,
      ...[...times].map(
        ([name, list]) =>
          `${name.padEnd(24)}${median(list).toFixed(0).padStart(10)}${Math.min(...list)
            .toFixed(0)
            .padStart(10)}`,
      ),
      `verify ÷ openssl: ${ratio('verify', 'openssl')} (goal ≤ 1.3)`,
      `sha256sum ÷ verify: ${ratio('sha256sum', 'verify')} (goal ≥ 3)`,
      ...(times.has('bundle verify')
        ? [`the whole command ÷ openssl: ${ratio('bundle verify', 'openssl')}`]
        : []),
      `RSS: ${before.toFixed(0)} MiB before, ${peak.toFixed(0)} MiB at the peak of verifying`,
    ].join('\n'),
  );
}

await main();
