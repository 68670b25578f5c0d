import type { Blow, Broken } from './broken.js';
import { caseOf } from './broken.js';
import type { Options } from './options.js';
import { partOf, undone } from './options.js';
import type { CaseResult } from './protocol.js';
import type { SceneName } from './scenes.js';
import type { Stage } from './stage.js';
import type { GroupResult } from './tally.js';
import { randomFrom, Tally } from './tally.js';

/*
 * kill -9 at the calls of the installer that change something. The same command is typed once more, and
 * the node must look as after an unbroken run; or what was begun is taken back, and it must look as before.
 */

const SHORT = { pairs: 40, moments: 4 };
/** Of the pairs about a fifth is void: the second kill comes after the end of the rerun. */
const LONG = { pairs: 650, moments: 60 };

const END = 'the same command again ends as the unbroken run';

/** Half of the cases leave rpm, builds and the lock to themselves, half end them too, as a power cut would. */
const isPowerCut = (n: number): boolean => n % 2 === 0;

/** Every call, before it is made; programs and renames also once they are done; writes also half done. */
function pointsOf(from: SceneName, calls: readonly string[]): Broken[] {
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

const isBack = (id: string): boolean => /^(?:fresh|old)-back,/.test(id);

/**
 * Of an installation that was taken back: its own folders, the copies that useradd makes, what scriptlets wrote, and
 * the sequence floor, which a rollback does not lower.
 */
const LEFT =
  /^[+~-] (?:\/etc\/(?:passwd|group|g?shadow|sub[ug]id)-(?::|$)|\/var\/lib\/mini(?:\/|:|$)|\/var\/lib\/airbundle(?:\/(?:floor\.json|(?:backup|build|stage)(?:\/.*)?))?(?::|$))/;

function problemBack(result: CaseResult): string | undefined {
  const { last } = result;
  const nothing = last.exit === 5 && last.said.includes('error[NOTHING_TO_UNDO]');
  return problemOf({
    ...result,
    last: { ...last, exit: nothing ? 0 : last.exit },
    differs: result.differs.filter((line) => !LEFT.test(line)),
  });
}

async function broken(
  stage: Stage,
  all: readonly Broken[],
  tally: Tally,
  options: Options,
): Promise<GroupResult> {
  const whole = all.map((one) => caseOf(one, stage.scenes));
  // In no order: where the time is over before the end, what was done is a fair sample.
  const below = randomFrom(options.seed + 3);
  const mixed = whole.map((one) => ({ one, at: below(2 ** 31) })).sort((a, b) => a.at - b.at);
  const cases = undone(partOf(mixed, options.part), options.done).map(({ one }) => one);
  tally.planned = cases.length;
  let advised = 0;
  await stage.run(cases, options.deadline, (result) => {
    if (result.advised === true) advised += 1;
    tally.add(result.id, {
      fired: result.attempts.length > 0 && result.attempts.every((attempt) => attempt.fired !== undefined),
      problem: isBack(result.id) ? problemBack(result) : problemOf(result),
      digest: result.digest,
    });
  });
  tally.countAdvised(advised);
  return tally.result();
}

interface Kills {
  readonly group: string;
  readonly claim: string;
  readonly scenes: readonly SceneName[];
  /** Of the short form. */
  readonly short: number;
}

const BACK = 'what the node was before that command, but for backups and what scriptlets wrote';

const KILLS: Readonly<Record<'kills' | 'kills-next' | 'kills-back' | 'undo-kills', Kills>> = {
  kills: { group: 'kill at each call, first installation', claim: END, scenes: ['fresh'], short: 24 },
  'kills-next': { group: 'kill at each call, next release', claim: END, scenes: ['old'], short: 24 },
  'kills-back': {
    group: 'kill at each call of both, then rollback',
    claim: BACK,
    scenes: ['fresh-back', 'old-back'],
    short: 12,
  },
  'undo-kills': {
    group: 'kill at each call of rollback and uninstall',
    claim: 'the same command again ends as the unbroken one',
    scenes: ['rollback', 'uninstall'],
    short: 8,
  },
};

export async function killGroup(
  stage: Stage,
  name: keyof typeof KILLS,
  options: Options,
): Promise<GroupResult> {
  const { group, claim, scenes, short } = KILLS[name];
  const tally = new Tally(group, claim, options);
  const notes: string[] = [];
  const all: Broken[] = [];
  for (const scene of scenes) {
    const calls = await stage.calls(scene);
    notes.push(`${String(calls.length)} calls in an unbroken run of ${stage.scenes[scene].state}`);
    all.push(...pointsOf(scene, calls));
  }
  tally.note = notes.join(', ');
  const chosen = options.long ? all : sample(all, short, randomFrom(options.seed));
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
