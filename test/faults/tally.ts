import { createHash } from 'node:crypto';
import type { Options } from './options.js';

export interface Failure {
  readonly id: string;
  readonly what: string;
}

/** A case that has ended. */
export interface Ended {
  readonly group: string;
  readonly id: string;
  readonly problem: string | undefined;
  /** How many of its group have ended. */
  readonly done: number;
}

/** What one group of the campaign has shown. */
export interface GroupResult {
  /** As `--only` calls it. */
  readonly name?: string;
  readonly group: string;
  /** What "converged" means in this group. */
  readonly claim: string;
  readonly seed: number;
  /** How many cases this form asks for; fewer were run when the time was over. */
  readonly planned: number;
  readonly cases: number;
  /** Cases in which the fault really happened. */
  readonly fired: number;
  /** Cases in which it did not: they prove nothing. */
  readonly void: number;
  readonly converged: number;
  readonly failures: readonly Failure[];
  /** Digests of the states that were reached; one, where everything must end the same. */
  readonly digests: readonly string[];
  readonly seconds: number;
  readonly note?: string;
}

/** Counts the cases of one group. */
export class Tally {
  private readonly startMs = performance.now();
  private readonly seen = new Set<string>();
  private readonly failures: Failure[] = [];
  private readonly counts = { cases: 0, fired: 0, void: 0, converged: 0 };
  planned = 0;
  note: string | undefined;

  constructor(
    private readonly group: string,
    private readonly claim: string,
    private readonly options: Pick<Options, 'seed' | 'onCase'>,
  ) {}

  /** @param problem why the case did not end as it must; undefined: it did */
  add(id: string, outcome: { fired: boolean; problem: string | undefined; digest?: string }): void {
    this.counts.cases += 1;
    if (outcome.digest !== undefined && outcome.digest !== '') this.seen.add(outcome.digest);
    if (!outcome.fired) this.counts.void += 1;
    else this.counts.fired += 1;
    // A case that fails without its fault has failed all the same.
    if (outcome.problem !== undefined) this.failures.push({ id, what: outcome.problem });
    else if (outcome.fired) this.counts.converged += 1;
    this.options.onCase?.({ group: this.group, id, problem: outcome.problem, done: this.counts.cases });
  }

  /** Many alike at once. */
  addMany(count: number): void {
    for (const name of ['cases', 'fired', 'converged'] as const) this.counts[name] += count;
  }

  /** How often what an error said had to be typed. */
  countAdvised(count: number): void {
    if (count === 0) return;
    const said = `in ${String(count)} the rpm that was killed had left its database locked or damaged, which was mended as RPMDB_UNREADABLE or RPMDB_DAMAGED says`;
    this.note = this.note === undefined ? said : `${this.note}; ${said}`;
  }

  result(): GroupResult {
    return {
      group: this.group,
      claim: this.claim,
      seed: this.options.seed,
      planned: Math.max(this.planned, this.counts.cases),
      ...this.counts,
      failures: this.failures,
      digests: [...this.seen].sort(),
      seconds: Math.round((performance.now() - this.startMs) / 100) / 10,
      ...(this.note === undefined ? {} : { note: this.note }),
    };
  }
}

const TURN_MS = 20;
let turnMs = 0;

/** Where nothing is waited for, the groups on nodes would stand still until all cases were done. */
export async function othersFirst(): Promise<void> {
  if (performance.now() - turnMs < TURN_MS) return;
  await new Promise((resolve) => setImmediate(resolve));
  turnMs = performance.now();
}

/** Numbers that look random and are the same for the same seed. */
export function randomFrom(seed: number): (below: number) => number {
  let round = 0;
  return (below) => {
    round += 1;
    return (
      createHash('sha256')
        .update(`${String(seed)}:${String(round)}`)
        .digest()
        .readUInt32BE(0) % below
    );
  };
}

export function renderTable(results: readonly GroupResult[]): string {
  const lines = results.map(
    (one) =>
      `| ${one.group} | ${one.claim} | ${String(one.planned)} | ${String(one.cases)} | ${String(one.fired)} | ${String(one.void)} | ${String(one.converged)} | ${String(one.failures.length)} | ${one.seconds.toFixed(0)} |`,
  );
  return [
    '| group | claim | planned | cases | fired | void | converged | failed | seconds |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...lines,
  ].join('\n');
}

export function lastLine(results: readonly GroupResult[]): string {
  const sum = (of: (one: GroupResult) => number): string =>
    String(results.reduce((total, one) => total + of(one), 0));
  return `faults: ${sum((one) => one.cases)} cases, ${sum((one) => one.fired)} fired, ${sum((one) => one.converged)} converged, ${sum((one) => one.void)} void, ${sum((one) => one.failures.length)} failed`;
}
