import { join } from 'node:path';
import type { Lab } from '../machines.js';
import type { PackedBundle } from '../walk/packager.js';
import { labSite } from '../walk/site.js';
import { carryBundle } from './delivery.js';
import type { Given } from './scenarios.js';

/** The machines of the scenarios: a jump host, two load balancers, three backends and a client. */
export const MACHINES = {
  nodes: ['lb1', 'lb2'],
  jumpHosts: ['jump'],
  backends: ['tts1', 'tts2', 'tts3'],
  clients: ['client'],
} as const;

/** The site that the pair begins with: one backend stands by, not yet known. */
export const firstSite = (lab: Lab, packed: PackedBundle): Promise<string> =>
  labSite(lab, packed.work, { backends: MACHINES.backends.slice(0, 2) });

/** What the scenarios need beside a pair that is up; the next release is carried to it. */
export async function given(lab: Lab, packed: PackedBundle, next: PackedBundle): Promise<Given> {
  await carryBundle(lab, next);
  return {
    lab,
    packed,
    next,
    largerSite: await labSite(lab, join(packed.work, 'larger')),
    // More connections are more descriptors: haproxy has to be started again.
    nextSite: await labSite(lab, join(packed.work, 'next'), { maxConnections: 12_000 }),
  };
}
