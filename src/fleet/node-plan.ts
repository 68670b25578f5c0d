import { z } from 'zod';
import type { Argv } from '../host/process.js';
import type { RunResult } from '../host/process.js';
import type { NodeAgent } from './agent.js';
import type { Clock } from './clock.js';
import { until } from './clock.js';
import { fromJson } from './look.js';
import { firstWords, lastWords } from './words.js';

/** What a rollout reads of the plan that a node makes (docs/reference/plan.md). */
const NodePlanSchema = z.object({
  bundle: z.object({ name: z.string(), version: z.string(), sequence: z.int(), digest: z.string() }),
  siteDigest: z.string().nullable(),
  system: z.object({ name: z.string(), release: z.string(), arch: z.string() }),
  steps: z.array(z.object({ id: z.string(), title: z.string() })),
  services: z.array(z.object({ unit: z.string(), action: z.string() })),
  cost: z.object({ freeBytes: z.number(), seconds: z.number() }),
  notes: z.array(z.string()),
  refusals: z.array(z.string()),
});
export type NodePlan = z.infer<typeof NodePlanSchema>;

/** Steps of an installation that no running service notices by itself. */
const UNNOTICED = new Set(['trust', 'command', 'configuration', 'services']);

/** The services go on serving through it: nothing is installed or built, and each is reloaded at most. Pure. */
export function onlyReloads({ steps, services }: NodePlan): boolean {
  return (
    steps.every(({ id }) => UNNOTICED.has(id)) &&
    services.every(({ action }) => action === 'none' || action === 'reload')
  );
}

export type AskedPlan =
  | { readonly plan: NodePlan; readonly problems: readonly string[] }
  | { readonly plan: undefined; readonly problems: readonly string[] };

const PLAN_MS = 15 * 60_000;
const REFUSED = 5;
/** An installation that an earlier deploy began goes on by itself: its end is waited for. */
const BUSY_MS = 60 * 60_000;
const BUSY_EVERY_MS = 5000;

/** What the node's own installer would do, once nothing else is at work there; a node that refuses says why. */
export async function askPlan(
  agent: NodeAgent,
  argv: Argv,
  clock: Clock,
  onWait: (words: string) => void,
): Promise<AskedPlan> {
  const { answer: done } = await until(
    clock,
    { timeoutMs: BUSY_MS, everyMs: BUSY_EVERY_MS },
    () => agent.run(argv, { asRoot: true, timeoutMs: PLAN_MS }),
    (result) => {
      if (isBusy(result)) onWait(`waits: ${firstWords(result.stderr)}`);
      return !isBusy(result);
    },
  );
  const parsed = NodePlanSchema.safeParse(fromJson(done.stdout));
  if ((done.exitCode === 0 || done.exitCode === REFUSED) && parsed.success)
    return { plan: parsed.data, problems: parsed.data.refusals };
  if (done.timedOut) return { plan: undefined, problems: ['planning took longer than 15 minutes'] };
  return { plan: undefined, problems: [lastWords(done.stderr).join('\n')] };
}

/** By another airbundle; who else holds the lock may hold it for ever. */
const isBusy = ({ exitCode, stderr }: RunResult): boolean =>
  exitCode === REFUSED && stderr.includes('error[BUSY]') && stderr.includes('installer.cjs');
