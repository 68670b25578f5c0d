import { createHash } from 'node:crypto';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { formatPlan } from './plan-document.js';
import type { PlanDocument } from './plan-schema.js';

/** Names an approved plan in the journal. */
export function planDigest(plan: PlanDocument): string {
  return createHash('sha256').update(formatPlan(plan)).digest('hex');
}

/**
 * Whether the last run was killed while it carried out this very plan: what is left of it cannot be the same
 * plan any more, and has to be done. A run that failed was undone; the next one is compared like the first.
 */
export async function goesOnWith(host: Host, plan: PlanDocument): Promise<boolean> {
  const text = (await host.read(target.journal))?.toString('utf8') ?? '';
  return planOfKilledRun(text) === planDigest(plan);
}

/** Pure: the journal's text → the plan that its last run was begun with, if that run never ended. */
export function planOfKilledRun(text: string): string | undefined {
  let plan: string | undefined;
  for (const raw of text.split('\n')) {
    const line = parse(raw);
    if (line?.event === 'begin') plan = typeof line.plan === 'string' ? line.plan : undefined;
    if (line?.event === 'commit' || line?.event === 'end') plan = undefined;
  }
  return plan;
}

/** A line that a crash cut off tells nothing. */
function parse(raw: string): { readonly event?: unknown; readonly plan?: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(raw);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
