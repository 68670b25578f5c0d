import { z } from 'zod';
import { EXIT, refusedError } from '../errors.js';
import { target } from '../model/layout.js';
import type { NodeStatus } from '../model/node-status.js';
import type { FollowedRun, NodeAgent, OnLine } from './agent.js';
import type { Cluster } from './cluster.js';
import type { RolloutGiven } from './deploy-release.js';
import { changeInWords, handOverInWords, watching } from './deploy-release.js';
import type { GoingBack } from './going-back.js';
import { chooseGoingBack, rollbackWords, same } from './going-back.js';
import { fromJson, lookAt } from './look.js';
import { rolloutOrder } from './order.js';
import { asPlanned, lookAgain, lookSteadily, notesOf, preflightFailed } from './preflight.js';
import type { RolloutReport } from './report-rollout.js';
import { releaseOf, reportOf, table, unchangedReport } from './report-rollout.js';
import { rollOut } from './rollout.js';
import { lastWords, reasonOf } from './words.js';

export interface RollBackGiven extends RolloutGiven {
  /** A digest or its first 8 digits; undefined: what all had before. */
  readonly to: string | undefined;
}

const DRY_MS = 5 * 60_000;

/**
 * Every node goes back by its own rollback, in a rollout's order and with its checks.
 * @throws BundleError exit 2 or 5 before the first change: the nodes do not agree, or one cannot
 */
export async function rollBackAll(given: RollBackGiven): Promise<RolloutReport> {
  const { cluster } = given;
  const shown = await lookSteadily(cluster);
  const back = chooseGoingBack(shown, given.to);
  const notes = notesOf(cluster, shown);
  const title = `back to ${back.title}`;
  const going = cluster.agents.filter(({ name }) => cluster.chosen.has(name) && !back.done.has(name));
  const reloaded = await tryAll(going, cluster, back);
  const nothingDone = { site: cluster.site, title, views: shown, notes };
  const order = rolloutOrder(cluster.site, shown).filter((name) => cluster.chosen.has(name));
  const lines = order.map((name, index) => {
    const view = shown.find(({ node }) => node === name);
    return [
      `${String(index + 1)}.`,
      name,
      changeInWords(back.done.has(name) ? releaseOf(view) : back.title, view),
      handOverInWords(cluster, view, shown, { done: back.done, reloaded }),
    ];
  });
  const outline = [
    `Rollback of ${cluster.site.name} to ${back.title}, one node after the other`,
    ...table(lines).map((line) => `  ${line}`),
    ...notes.map((note) => `  note: ${note}`),
    '',
  ].join('\n');
  if (given.isCheck) {
    await given.confirm(outline);
    return unchangedReport({ ...nothingDone, outcome: 'checked' });
  }
  if (going.length > 0 && !(await given.confirm(outline)))
    return unchangedReport({ ...nothingDone, outcome: 'declined' });
  const before = going.length === 0 ? shown : await lookAgain(cluster, shown);
  const { done } = sameWayBack(back, chooseGoingBack(before, given.to));
  const { result: rolled, watched } = await watching(going.length === 0 ? undefined : given.watch, () =>
    rollOut(
      cluster,
      {
        ...{ verb: 'rollback', title: back.title, goal: back.goal, done },
        reloaded: asPlanned(reloaded, shown, before),
        run: (agent, onLine) => backOn(agent, cluster, back, onLine),
      },
      before,
    ),
  );
  return reportOf({ site: cluster.site, title, before, rolled, watched, notes });
}

/** @throws BundleError exit 5 when the nodes would not go by now where somebody agreed that they go */
function sameWayBack(agreed: GoingBack, now: GoingBack): GoingBack {
  if (same(agreed.goal, now.goal)) return now;
  throw preflightFailed([`it would be a rollback to ${now.title} by now, not to ${agreed.title}`]);
}

/** What is read of a node's own plan to go back. */
const BackPlanSchema = z.object({
  plan: z.object({
    services: z.object({
      stop: z.array(z.string()),
      disable: z.array(z.string()),
      act: z.array(z.object({ unit: z.string(), action: z.string() })),
    }),
    packages: z.object({ erase: z.array(z.string()), putBack: z.array(z.unknown()) }),
  }),
});

/** A plan that is not understood counts as one that interrupts. */
function goesBackByReload(text: string): boolean {
  const parsed = BackPlanSchema.safeParse(fromJson(text));
  if (!parsed.success) return false;
  const { services, packages } = parsed.data.plan;
  const interrupting = [...services.stop, ...services.disable, ...packages.erase, ...packages.putBack];
  return interrupting.length === 0 && services.act.every(({ action }) => action === 'reload');
}

/**
 * Each node's own plan to go back, before any of them does.
 * @returns the nodes that serve on while they go back
 * @throws BundleError exit 5
 */
async function tryAll(
  agents: readonly NodeAgent[],
  cluster: Cluster,
  back: GoingBack,
): Promise<ReadonlySet<string>> {
  const reloaded = new Set<string>();
  const tried = await Promise.all(
    agents.map(async (agent) => {
      try {
        const { status } = await lookAt(agent, cluster.clock);
        const done = await agent.run(argvOf(back, status, ['--dry-run', '-o', 'json']), {
          asRoot: true,
          timeoutMs: DRY_MS,
        });
        if (goesBackByReload(done.stdout)) reloaded.add(agent.name);
        return done.exitCode === EXIT.done
          ? []
          : lastWords(done.stderr).map((line) => `${agent.name}: ${line}`);
      } catch (error) {
        return [`${agent.name}: ${reasonOf(error)}`];
      }
    }),
  );
  const problems = tried.flat();
  if (problems.length === 0) return reloaded;
  throw refusedError({
    code: 'PREFLIGHT_FAILED',
    message: 'not every node can go back; nothing was changed',
    details: problems,
    hint: 'Mend these, then run the same command again.',
  });
}

/** One run of the node's own rollback: where a run was not finished, that one goes, and what lies below is the goal. */
async function backOn(
  agent: NodeAgent,
  { clock }: Cluster,
  back: GoingBack,
  onLine: OnLine,
): Promise<FollowedRun> {
  const { status } = await lookAt(agent, clock);
  return agent.follow('rollback', argvOf(back, status, ['-y']), onLine);
}

function argvOf(
  back: GoingBack,
  status: NodeStatus | null,
  words: readonly string[],
): readonly [string, ...string[]] {
  return [target.command, 'rollback', ...rollbackWords(back, status), ...words];
}
