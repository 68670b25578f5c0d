import { invalidError, refusedError } from '../errors.js';
import type { Host, ReadHost } from '../host/host.js';
import { readJsonFile } from './json-file.js';
import { planDocument } from './plan-document.js';
import { driftOf } from './plan-drift.js';
import { goesOnWith } from './plan-resume.js';
import type { PlanDocument } from './plan-schema.js';
import { PlanSchema } from './plan-schema.js';
import type { Plan } from './plan.js';

/** Hostile inputs: a plan with every package of a distribution is a tenth of this. */
const MAX_PLAN_BYTES = 8 * 1024 * 1024;

const MAKE_IT_AGAIN = 'Make it again: airbundle plan FOLDER … -o plan.json';

/** @throws BundleError exit 3 */
export async function readPlan(host: ReadHost, path: string): Promise<PlanDocument> {
  const read = await readJsonFile(host, path, PlanSchema, MAX_PLAN_BYTES);
  if (read.problem === undefined) return read.value;
  throw invalidError({
    code: 'BAD_PLAN',
    message: `the plan cannot be read: ${read.problem}`,
    where: path,
    details: read.details,
    hint: MAKE_IT_AGAIN,
  });
}

/**
 * The plan that was given, if any, is the plan of now; or a killed run was carrying it out.
 * @throws BundleError exit 3 or 5
 */
export async function requireApproved(
  host: Host,
  approved: PlanDocument | undefined,
  plan: Plan,
): Promise<void> {
  if (approved === undefined) return;
  const now = planDocument(plan);
  requireSameBundle(approved, now);
  if (!(await goesOnWith(host, approved))) requireSamePlan(approved, now);
}

const MAX_DRIFT_LINES = 40;

function requireSameBundle(approved: PlanDocument, now: PlanDocument): void {
  if (approved.bundle.digest !== now.bundle.digest)
    throw invalidError({
      code: 'PLAN_OTHER_BUNDLE',
      message: `the plan is for another bundle: SHA-256 of its checksum file ${approved.bundle.digest}; this one's is ${now.bundle.digest}`,
      where: '--plan',
      hint: 'Give the folder that was planned for, or the plan of this folder.',
    });
}

/**
 * A plan file is compared, never obeyed.
 * @throws BundleError exit 3 for the plan of another bundle; exit 5 for one that is not the same as now
 */
export function requireSamePlan(approved: PlanDocument, now: PlanDocument): void {
  requireSameBundle(approved, now);
  const drift = driftOf(approved, now);
  if (drift.length === 0) return;
  throw refusedError({
    code: 'PLAN_DRIFTED',
    message: `what would be done now is not what was planned; nothing was changed (${String(drift.length)} differences)`,
    where: `plan for ${now.node ?? 'this node'}`,
    details: [
      ...drift.slice(0, MAX_DRIFT_LINES),
      ...(drift.length > MAX_DRIFT_LINES ? [`… and ${String(drift.length - MAX_DRIFT_LINES)} more`] : []),
    ],
    hint: `Find out why. ${MAKE_IT_AGAIN}; have it approved, and install with that one.`,
  });
}
