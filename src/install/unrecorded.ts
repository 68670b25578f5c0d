import { Sha256 } from '../model/grammar.js';
import { octal } from '../model/octal.js';
import type { RunReceipt } from '../model/run-receipt.js';

type FileChange = RunReceipt['files'][string];

/** A run that the journal knows; it wrote no receipt. */
export type UnrecordedRun = Pick<
  RunReceipt,
  'run' | 'command' | 'outcome' | 'startedAt' | 'endedAt' | 'bundle' | 'site' | 'flags' | 'files' | 'changes'
>;

const ENDS: Readonly<Record<string, RunReceipt['outcome']>> = {
  committed: 'done',
  failed: 'failed',
  interrupted: 'interrupted',
};

type Line = Readonly<Record<string, unknown>>;

/**
 * Pure: the runs that the journal saw begin and that have no receipt, in their order: they were killed, or
 * could not write it.
 * @param recorded the runs that have one
 */
export function unrecordedRuns(journal: string, recorded: ReadonlySet<string>): UnrecordedRun[] {
  const runs = new Map<string, Line[]>();
  for (const line of journal.split('\n').flatMap(linesOf)) {
    const run = text(line['run']);
    if (run === '' || recorded.has(run)) continue;
    if (line['event'] === 'begin' || line['event'] === 'change') runs.set(run, runs.get(run) ?? []);
    runs.get(run)?.push(line);
  }
  return [...runs].map(([run, lines]) => runOf(run, lines));
}

function runOf(run: string, lines: readonly Line[]): UnrecordedRun {
  const [first = {}] = lines;
  const end = lines.find((line) => line['event'] === 'end');
  const node = text(first['node']);
  const siteDigest = text(first['siteDigest']);
  return {
    run,
    command: text(first['kind']),
    outcome: ENDS[text(end?.['result'])] ?? 'killed',
    startedAt: text(first['time']),
    endedAt: end === undefined ? null : text(end['time']),
    bundle: bundleOf(first),
    site: siteDigest === '' ? null : { node: node === '' ? null : node, digest: siteDigest },
    flags: texts(first['flags']),
    files: filesOf(lines),
    changes: texts(first['changes']),
  };
}

function bundleOf(line: Line): UnrecordedRun['bundle'] {
  const [name, version] = text(line['bundle']).split(' ');
  if (name === undefined || version === undefined) return null;
  return { name, version, sequence: null, digest: text(line['digest']) };
}

/** What was there before is known; what the killed run got to put there is not. */
function filesOf(lines: readonly Line[]): UnrecordedRun['files'] {
  const entries = lines.flatMap((line): [string, FileChange][] => {
    const path = text(line['path']);
    if (line['event'] !== 'displaced' || path === '') return [];
    return [[path, { before: beforeOf(line), after: null, afterUnknown: true }]];
  });
  return Object.fromEntries(entries);
}

function beforeOf(line: Line): FileChange['before'] {
  const { link, sha256, mode, uid, gid } = line;
  if (typeof link === 'string') return { link };
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) return null;
  return { sha256: Sha256.parse(sha256), mode: octal(whole(mode)), uid: whole(uid), gid: whole(gid) };
}

const whole = (value: unknown): number =>
  typeof value === 'number' && Number.isSafeInteger(value) ? value : 0;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];

/** A line that a crash cut off is none. */
function linesOf(raw: string): Line[] {
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'object' && value !== null ? [value as Line] : [];
  } catch {
    return [];
  }
}
