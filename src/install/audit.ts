import { join } from 'node:path';
import { BundleError, exitCodeOf } from '../errors.js';
import type { Host } from '../host/host.js';
import { Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';
import { formatNevra } from '../model/nevra.js';
import type { RunReceipt, Who } from '../model/run-receipt.js';
import { parseReceiptName, receiptName, RunReceiptSchema } from '../model/run-receipt.js';
import { programVersion } from '../program-version.js';
import { digestOf, receiptNames } from '../review/receipt-chain.js';
import { readUnits } from './probe.js';
import { pathState, recordingHost } from './recording.js';
import { installedPackages } from './rpm.js';
import { secretCover } from './secret-cover.js';
import { unrecordedRuns } from './unrecorded.js';
import { whoIsIt } from './who.js';

/** What only the flow itself knows of a run. */
type Noted = Pick<RunReceipt, 'bundle' | 'keys' | 'site' | 'planDigest' | 'verified' | 'changes'>;

/** How a run ended, as far as a record wants to know. */
export interface Ended {
  readonly outcome: string;
  readonly warnings?: readonly string[];
}

/** Keeps the record of one run. A run that never began to change anything leaves none. */
export interface Audit {
  /** It will be covered wherever a program quotes it. */
  secret(text: string): void;
  note(facts: Partial<Noted>): void;
  /** Before the first change; writes the records of runs that were killed before theirs. @param units services that it may touch */
  begin(units?: readonly string[]): Promise<void>;
  /** Writes the record at the end of `work`, whatever its end is; call with the lock held. */
  around<T extends Ended>(work: () => Promise<T>): Promise<T>;
}

export interface AuditRequest {
  readonly run: string;
  /** As it is typed: "install", "trust add". */
  readonly command: string;
  readonly flags: readonly string[];
  readonly uid: number;
  /** A run that takes the receipts away leaves none of its own. */
  readonly purge: boolean;
  /** The program's own file. */
  readonly program: string | undefined;
  readonly date: () => Date;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly interrupted: () => boolean;
  readonly info: (text: string) => void;
  readonly warn: (text: string) => void;
}

type Packages = RunReceipt['packages']['before'];
type Units = ReadonlyMap<string, { readonly active: string; readonly enabled: string }>;

interface Begun {
  readonly packages: Packages;
  readonly units: Units;
}

/** @returns the host to work with: what goes through it is what the record holds */
export function auditOf(plain: Host, request: AuditRequest): { readonly host: Host; readonly audit: Audit } {
  const covered = secretCover();
  const recording = recordingHost(plain, request.now, covered);
  const startedAt = request.date().toISOString();
  const startedMs = request.now();
  let noted: Noted = {
    ...{ bundle: null, keys: null, site: null, planDigest: null, verified: null, changes: [] },
  };
  let begun: Begun | undefined;

  const write = async (ended: Ended | undefined, error: unknown): Promise<void> => {
    if (begun === undefined || (request.purge && error === undefined)) return;
    const { list, more } = recording.commands();
    const { before, more: moreFiles } = recording.written();
    const units = await readUnits(plain, [...begun.units.keys()]).catch((): Units => new Map());
    const record = await append(plain, {
      ...noted,
      airbundleRunReceipt: 1,
      run: request.run,
      command: request.command,
      outcome: outcomeOf(error, request),
      source: 'run',
      host: await hostName(plain),
      who: await whoIsIt(plain, request.uid).catch((): Who | null => null),
      startedAt,
      endedAt: request.date().toISOString(),
      durationMs: Math.round(request.now() - startedMs),
      program: { version: programVersion(), sha256: await programDigest(plain, request.program) },
      flags: [...request.flags],
      commands: { list: [...list], more },
      packages: { before: begun.packages, after: await packagesOf(plain) },
      files: await filesOf(plain, before),
      moreFiles,
      services: servicesOf(begun.units, units),
      warnings: (ended?.warnings ?? []).map(covered.cover),
      error: errorOf(error, covered.cover),
    });
    request.info(`receipt ${String(record.number)}: ${record.digest}`);
  };

  return {
    host: recording.host,
    audit: {
      secret: covered.learn,
      note(facts) {
        noted = { ...noted, ...facts };
      },
      async begin(units = []) {
        for (const open of await unrecorded(plain, request.run))
          await append(plain, { ...UNKNOWN, ...open, host: await hostName(plain) });
        begun = { packages: await packagesOf(plain), units: await readUnits(plain, units) };
      },
      async around(work) {
        const attempt = (ended: Ended | undefined, error: unknown): Promise<void> =>
          write(ended, error).catch((problem: unknown) => {
            request.warn(
              `the receipt of this run could not be written (${problem instanceof Error ? problem.message : String(problem)}); the next run writes what the journal knows of it`,
            );
          });
        const ended = await work().catch(async (error: unknown) => {
          await attempt(undefined, error);
          throw error;
        });
        await attempt(ended, undefined);
        return ended;
      },
    },
  };
}

const UNKNOWN = {
  ...{ airbundleRunReceipt: 1, source: 'journal', who: null, durationMs: null, program: null, keys: null },
  ...{ planDigest: null, verified: null, commands: null, packages: { before: null, after: null } },
  ...{ moreFiles: 0, services: {}, warnings: [], error: null },
} satisfies Partial<RunReceipt>;

async function unrecorded(host: Host, own: string): ReturnType<typeof readUnrecorded> {
  const names = await receiptNames(host);
  return readUnrecorded(host, new Set([own, ...names.flatMap((name) => parseReceiptName(name)?.run ?? [])]));
}

async function readUnrecorded(
  host: Host,
  recorded: ReadonlySet<string>,
): Promise<ReturnType<typeof unrecordedRuns>> {
  return unrecordedRuns((await host.read(target.journal))?.toString('utf8') ?? '', recorded);
}

/** Adds a record to the chain: the whole file or none of it, also when the power goes. */
async function append(
  host: Host,
  record: Omit<RunReceipt, 'number' | 'previous'>,
): Promise<{ readonly number: number; readonly digest: Sha256 }> {
  await host.makeDirectory(target.receipts, { mode: 0o700 });
  const last = (await receiptNames(host)).pop();
  const before = last === undefined ? undefined : await host.read(join(target.receipts, last));
  const number = (last === undefined ? 0 : (parseReceiptName(last)?.number ?? 0)) + 1;
  const previous = before === undefined ? null : digestOf(before);
  const whole = RunReceiptSchema.parse({ ...record, number, previous });
  const bytes = Buffer.from(`${JSON.stringify(whole, null, 1)}\n`);
  const path = join(target.receipts, receiptName(number, record.run));
  if ((await host.lstat(path)) !== undefined) throw new Error(`${path} is there already`);
  await host.writeDurable(path, bytes, { mode: 0o600 });
  return { number, digest: digestOf(bytes) };
}

function outcomeOf(error: unknown, { interrupted }: AuditRequest): RunReceipt['outcome'] {
  if (error === undefined) return 'done';
  return interrupted() || (error instanceof BundleError && error.code === 'INTERRUPTED')
    ? 'interrupted'
    : 'failed';
}

function errorOf(error: unknown, cover: (text: string) => string): RunReceipt['error'] {
  if (error === undefined) return null;
  const known = error instanceof BundleError ? error : undefined;
  return {
    code: known?.code ?? 'INTERNAL',
    exit: exitCodeOf(error),
    message: cover(error instanceof Error ? error.message : 'no error'),
    where: known?.where === undefined ? null : cover(known.where),
  };
}

/** null: rpm does not answer, which is not this record's business. */
async function packagesOf(host: Host): Promise<Packages> {
  const installed = await installedPackages(host).catch(() => undefined);
  if (installed === undefined) return null;
  const lines = installed.map(formatNevra).sort();
  return { count: lines.length, digest: digestOf(Buffer.from(lines.map((line) => `${line}\n`).join(''))) };
}

async function filesOf(
  host: Host,
  before: ReadonlyMap<string, RunReceipt['files'][string]['before']>,
): Promise<RunReceipt['files']> {
  const files: RunReceipt['files'] = {};
  for (const path of [...before.keys()].sort()) {
    const change = { before: before.get(path) ?? null, after: await pathState(host, path) };
    if (change.before !== null || change.after !== null) files[path] = change;
  }
  return files;
}

function servicesOf(before: Units, after: Units): RunReceipt['services'] {
  const stateOf = (units: Units, unit: string): RunReceipt['services'][string]['before'] => {
    const state = units.get(unit);
    return state === undefined ? null : { active: state.active, enabled: state.enabled };
  };
  return Object.fromEntries(
    [...before.keys()].map((unit) => [unit, { before: stateOf(before, unit), after: stateOf(after, unit) }]),
  );
}

async function hostName(host: Host): Promise<string> {
  return (await host.read('/proc/sys/kernel/hostname').catch(() => undefined))?.toString('utf8').trim() ?? '';
}

async function programDigest(host: Host, path: string | undefined): Promise<Sha256 | null> {
  const digest = path === undefined ? undefined : await host.sha256(path).catch(() => undefined);
  return digest === undefined ? null : Sha256.parse(digest);
}
