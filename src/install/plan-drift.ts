import { plain } from '../model/plain.js';
import type { PlanDocument } from './plan-schema.js';

/**
 * What makes a plan, without what changes by itself: free space and estimates. Steps are told by their ids: what
 * they do is in the lists. Whether rpm was asked on a desk does not matter: on the node it is, and an objection
 * is a refusal.
 */
function comparable(plan: PlanDocument): Record<string, unknown> {
  const { steps } = plan;
  const fixed = Object.entries(plan).filter(([name]) => !['cost', 'rpmTest', 'steps'].includes(name));
  return { ...Object.fromEntries(fixed), steps: steps.map(({ id }) => id) };
}

/** Each difference of two plans, "what: old → new"; empty when they are the same. Pure. */
export function driftOf(approved: PlanDocument, now: PlanDocument): string[] {
  const before = flatten(comparable(approved));
  const after = flatten(comparable(now));
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => before.get(key) !== after.get(key))
    .map((key) => plain(`${key}: ${shortened(before.get(key))} → ${shortened(after.get(key))}`));
}

/** The property by which an entry of a list is the same entry in another plan. */
const IDENTITIES = ['path', 'package', 'unit', 'key', 'name', 'component', 'rule'];

function flatten(value: unknown, at = '', into = new Map<string, string>()): Map<string, string> {
  if (Array.isArray(value) && value.some((entry) => typeof entry === 'object' && entry !== null))
    for (const [index, entry] of value.entries())
      flatten(entry, `${at} ${identityOf(entry) ?? String(index)}`, into);
  else if (typeof value === 'object' && value !== null && !Array.isArray(value))
    for (const [name, entry] of Object.entries(value))
      flatten(entry, at === '' ? name : `${at} ${name}`, into);
  else if (at !== '') into.set(at, JSON.stringify(value));
  return into;
}

function identityOf(entry: unknown): string | undefined {
  const fields = Object.entries(entry ?? {});
  for (const identity of IDENTITIES) {
    const found: unknown = fields.find(([name]) => name === identity)?.[1];
    if (typeof found === 'string') return found;
  }
  return undefined;
}

const MAX_SHOWN = 300;

function shortened(text = 'nothing'): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}
