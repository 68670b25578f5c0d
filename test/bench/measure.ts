import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { ROOT } from '../lab/paths.js';
import type { Cost } from './harness.js';

const GNU_TIME = '/usr/bin/time';
/** getconf CLK_TCK is 100 wherever Linux runs these. */
const TICK_MS = 10;

export interface Started {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a command to its end. Its output goes nowhere, what it says on stderr into the error.
 * @throws Error when it fails
 */
export async function measureCommand(argv: readonly string[], started: Started = {}): Promise<Cost> {
  const peakFile = existsSync(GNU_TIME)
    ? path.join(tmpdir(), `bench-peak-${String(process.pid)}`)
    : undefined;
  const [file = '', ...args] =
    peakFile === undefined ? argv : [GNU_TIME, '-f', '%M', '-o', peakFile, ...argv];
  const cpuBeforeMs = childrenCpuMs();
  const startedMs = performance.now();
  await ended(file, args, started);
  const ms = performance.now() - startedMs;
  const cpuMs = childrenCpuMs() - cpuBeforeMs;
  if (peakFile === undefined) return { ms, cpuMs };
  const peakMiB = Number(readFileSync(peakFile, 'utf8').trim().split('\n').at(-1)) / 1024;
  rmSync(peakFile);
  return { ms, cpuMs, peakMiB };
}

/** Runs a program of this folder that measures a part of itself. @throws Error when it fails */
export async function measureProgram(
  program: string,
  words: readonly string[],
  node = process.execPath,
): Promise<Cost> {
  return JSON.parse(await ended(node, [program, ...words], {}, true)) as Cost;
}

function ended(file: string, args: readonly string[], started: Started, keeps = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      ...started,
      env: { ...process.env, ...started.env },
      stdio: ['ignore', keeps ? 'pipe' : 'ignore', 'pipe'],
    });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name]?.on('data', (piece: Buffer) => {
        said[name] += piece.toString('utf8');
      });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(said.stdout);
      else
        reject(
          new Error(`${file} ${args.join(' ')} ended with ${String(code)}:\n${said.stderr.slice(-2000)}`),
        );
    });
  });
}

/** Of all children that have ended, theirs included (proc(5): cutime, cstime). */
function childrenCpuMs(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * TICK_MS;
}

/** A program of this folder as one file without a loader, as the product is built. @returns its path */
export async function builtProgram(name: string, target: 'node16' | 'node20' = 'node20'): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-program-'));
  const outfile = path.join(folder, `${name}.cjs`);
  await build({
    absWorkingDir: ROOT,
    entryPoints: [path.join('test/bench/programs', `${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target,
    logLevel: 'error',
  });
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return outfile;
}

/** How long the disk takes to confirm a file. */
export async function syncMs(file: string): Promise<number> {
  const handle = await open(file);
  const startedMs = performance.now();
  await handle.sync();
  const ms = performance.now() - startedMs;
  await handle.close();
  return ms;
}

/** What one work in this process takes. Its CPU time is not told: other processes may do the work. */
export async function measureWork(work: () => Promise<unknown>): Promise<Cost> {
  const startedMs = performance.now();
  await work();
  return { ms: performance.now() - startedMs };
}
