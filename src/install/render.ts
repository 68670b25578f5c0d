import type { Plan } from './plan.js';
import type { Facts } from './probe.js';

/** The plan as a person reads it before saying yes. */
export function renderPlan(plan: Plan, facts: Facts, verbose: boolean): string {
  const { bundle } = plan;
  const shown = (changes: readonly string[]): readonly string[] =>
    verbose || changes.length <= 12
      ? changes
      : [...changes.slice(0, 10), `… and ${String(changes.length - 10)} more (--verbose shows all)`];
  return [
    `Plan for ${plan.node ?? 'this node'}: ${bundle.name} ${bundle.version} (sequence ${String(bundle.sequence)}, ${bundle.digest.slice(0, 16)})`,
    `  on ${facts.os.name}, release ${facts.os.release}, ${facts.arch}, ${String(facts.installed.length)} RPMs installed`,
    ...plan.steps.flatMap((step, index) => [
      `${String(index + 1).padStart(2)}. ${step.id}: ${step.title}`,
      ...shown(step.changes).map((change) => `      ${change}`),
      `      undo: ${step.undo}`,
    ]),
    ...plan.notes.map((note) => ` note: ${note}`),
    ...plan.refusals.map((refusal) => ` refused: ${refusal}`),
    '',
  ].join('\n');
}

/** The plan for programs; RPMs and files by name, no contents. */
export function planToJson(plan: Plan): Record<string, unknown> {
  return {
    bundle: plan.bundle,
    node: plan.node,
    siteDigest: plan.siteDigest,
    build: plan.build,
    steps: plan.steps.map(({ id, title, changes, undo }) => ({ id, title, changes, undo })),
    notes: plan.notes,
    refusals: plan.refusals,
  };
}
