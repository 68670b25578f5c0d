import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { Lab } from '../machines.js';
import { carry, chain, DESK, MEDIUM, type } from '../walk/operator.js';
import type { PackedBundle } from '../walk/packager.js';
import { handOver, healthyNode, roles, sh } from './pair.js';

/*
 * How bundles and site files get onto the pair: for now by an operator who types on each node in turn.
 */

/** Carries bundle, key and site to both nodes and installs there: for each, what an operator types. */
export async function bringUp(lab: Lab, packed: PackedBundle, site: string): Promise<void> {
  await Promise.all(
    Object.keys(lab.nodes).map(async (node) => {
      await carry(lab, node, packed, site);
      const done = await type(lab, node, packed, chain(packed, node));
      if (done.exitCode !== 0)
        throw new LabError(
          `${node}: the installation ended with exit code ${String(done.exitCode)}`,
          done.stderr,
        );
    }),
  );
}

/** `airbundle install` of the bundle on the node's medium with the node's own site file. @returns what it printed */
const installOn = (lab: Lab, node: string, packed: PackedBundle): Promise<string> =>
  sh(lab, node, `airbundle install ${MEDIUM}/${packed.stem} --site ${DESK}/site.yaml --node ${node} -y`);

/** Carries another bundle to the nodes that have a first one. */
export async function carryBundle(lab: Lab, packed: PackedBundle): Promise<void> {
  for (const node of Object.keys(lab.nodes)) await lab.copyIn(node, packed.folder, MEDIUM);
}

/** Another site for the same bundle, on both nodes, the standby first. */
export async function changeSite(lab: Lab, packed: PackedBundle, site: string): Promise<void> {
  await carrySite(lab, site);
  const { active, standby } = await roles(lab);
  await installOn(lab, standby, packed);
  await installOn(lab, active, packed);
}

/** The next release with its site, one node after the other. */
export async function rollingUpgrade(lab: Lab, next: PackedBundle, site: string): Promise<void> {
  await carrySite(lab, site);
  await oneByOne(lab, (node) => installOn(lab, node, next));
}

/** The release before, in the same way. */
export const rollingRollback = (lab: Lab): Promise<void> =>
  oneByOne(lab, (node) => sh(lab, node, 'airbundle rollback -y'));

/**
 * A step on each node, one after another: the standby first, then the VIP goes over to it, then the other one.
 * The node that was active waits as the standby afterwards.
 */
async function oneByOne(lab: Lab, step: (node: string) => Promise<unknown>): Promise<void> {
  const { active, standby } = await roles(lab);
  await step(standby);
  await healthyNode(lab, standby);
  await handOver(lab, active, standby);
  await step(active);
  await healthyNode(lab, active);
}

/** Puts another site file on each node's desk; nothing is installed yet. */
async function carrySite(lab: Lab, site: string): Promise<void> {
  for (const node of Object.keys(lab.nodes))
    for (const file of await readdir(site)) await lab.copyIn(node, join(site, file), `${DESK}/${file}`);
}
