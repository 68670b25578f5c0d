import type { Plan } from './plan.js';
import type { PlanDocument } from './plan-schema.js';

/** The plan for programs, and for an approval: no contents, no secret. Pure. */
export function planDocument(plan: Plan): PlanDocument {
  return {
    'airbundle-plan': 1,
    bundle: plan.bundle,
    signature: plan.basis.signature,
    node: plan.node,
    siteDigest: plan.siteDigest,
    system: plan.basis.system,
    allow: plan.basis.allow,
    newKey: plan.basis.newKey,
    build: plan.build,
    steps: plan.steps.map(({ id, title, changes, undo }) => ({ id, title, changes: [...changes], undo })),
    ...plan.details,
    rpmTest: plan.rpmTest,
    notes: [...plan.notes],
    refusals: [...plan.refusals],
  };
}

/** As it is written to a file: the same plan gives the same bytes. */
export function formatPlan(document: PlanDocument): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}
