import type { Blow, Broken } from './broken.js';
import { caseOf } from './broken.js';
import type { Options } from './options.js';
import { partOf } from './options.js';
import type { CaseResult } from './protocol.js';
import type { Commands, Stage } from './stage.js';
import type { GroupResult } from './tally.js';
import { randomFrom, Tally } from './tally.js';

/*
 * kill -9 at the calls of the installer that change something. The same command is typed once more, and
 * the node must look as after an unbroken run.
 */

const SHORT = { kills: 24, pairs: 40, moments: 4 };
const LONG = { pairs: 500, moments: 60 };

/** Half of the cases leave rpm, builds and the lock to themselves, half end them too, as a power cut would. */
const isPowerCut = (n: number): boolean => n % 2 === 0;

/** Every call, before it is made; programs and renames also once they are done; writes also half done. */
function pointsOf(from: keyof Commands, calls: readonly string[]): Broken[] {
  return calls.flatMap((what, index) => {
    const name = what.split(' ')[0] ?? '';
    const kinds = [
      'kill' as const,
      ...(['exec', 'rename'].includes(name) ? ['after' as const] : []),
      ...(name === 'write' ? ['torn' as const] : []),
    ];
    const call = index + 1;
    return kinds.map((kind) => ({ from, blows: [{ kind, call, power: isPowerCut(call) }], what }));
  });
}

/** Drawn from the whole length, so that no part of the run is left out. */
function sample<T>(all: readonly T[], count: number, below: (limit: number) => number): T[] {
  if (count >= all.length) return [...all];
  const width = all.length / count;
  return Array.from(
    { length: count },
    (_, index) => all[Math.floor(index * width + below(Math.max(1, Math.floor(width))))],
  ).filter((one): one is T => one !== undefined);
}

export function problemOf(result: CaseResult): string | undefined {
  if (result.error !== undefined) return result.error;
  if (result.last.exit !== 0)
    return `the same command again: exit ${String(result.last.exit)}\n${result.last.said.slice(-800)}`;
  return result.differs.length === 0 ? undefined : `differs: ${result.differs.slice(0, 8).join('; ')}`;
}

async function broken(
  stage: Stage,
  all: readonly Broken[],
  tally: Tally,
  options: Options,
): Promise<GroupResult> {
  const whole = all.map((one) => caseOf(one, stage.commands));
  // In no order: where the time is over before the end, what was done is a fair sample.
  const below = randomFrom(options.seed + 3);
  const mixed = whole.map((one) => ({ one, at: below(2 ** 31) })).sort((a, b) => a.at - b.at);
  const cases = partOf(mixed, options.part).map(({ one }) => one);
  tally.planned = cases.length;
  await stage.run(cases, options.deadline, (result) => {
    tally.add(result.id, {
      fired: result.attempts.length > 0 && result.attempts.every((attempt) => attempt.fired !== undefined),
      problem: problemOf(result),
      digest: result.digest,
    });
  });
  return tally.result();
}

const END = 'the same command again ends as the unbroken run';

export async function killGroup(stage: Stage, from: keyof Commands, options: Options): Promise<GroupResult> {
  const tally = new Tally(
    `kill at each call, ${from === 'fresh' ? 'first installation' : 'next release'}`,
    END,
    options,
  );
  const calls = await stage.calls(from);
  tally.note = `${String(calls.length)} calls in an unbroken run`;
  const all = pointsOf(from, calls);
  const chosen = options.long ? all : sample(all, SHORT.kills, randomFrom(options.seed));
  return broken(stage, chosen, tally, options);
}

/** Killed, and killed again while recovering. The second run may be shorter: a kill after its end is void. */
export async function pairGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const tally = new Tally('kill, and kill again while recovering', END, options);
  const calls = { fresh: await stage.calls('fresh'), old: await stage.calls('old') };
  const below = randomFrom(options.seed + 1);
  const cases = Array.from({ length: options.long ? LONG.pairs : SHORT.pairs }, (): Broken => {
    const from = below(4) === 0 ? 'old' : 'fresh';
    const many = calls[from].length;
    const at = [1 + below(many), 1 + below(many)];
    const blows = at.map((call): Blow => ({ kind: 'kill', call, power: isPowerCut(below(2)) }));
    return { from, blows };
  });
  return broken(stage, cases, tally, options);
}

/** At random moments, everything at once: install.sh, the program, rpm and its scriptlets, the build. */
export async function momentGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const tally = new Tally('kill everything at random moments', END, options);
  const below = randomFrom(options.seed + 2);
  const cases = Array.from({ length: options.long ? LONG.moments : SHORT.moments }, (): Broken => ({
    from: 'fresh',
    blows: [{ kind: 'moment', afterMs: 50 + below(3500) }],
  }));
  return broken(stage, cases, tally, options);
}

/** Cases that were typed: those of a run that failed, again. */
export function givenGroup(stage: Stage, given: readonly Broken[], options: Options): Promise<GroupResult> {
  return broken(stage, given, new Tally('the cases that were given', END, options), options);
}
