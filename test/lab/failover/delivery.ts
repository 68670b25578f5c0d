import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.js';
import type { Lab } from '../machines.js';
import { deployOf, JUMP, typeOnJump } from '../walk/jump-host.js';
import { DESK, MEDIUM } from '../walk/operator.js';
import type { PackedBundle } from '../walk/packager.js';

/*
 * How bundles and site files get onto the pair: from the jump host, over SSH.
 */

/** Whoever watches: what was typed on the jump host, and all that it printed. */
export type Show = (typed: string, printed: string) => void;

/** Another bundle on the jump host's medium. */
export const carryBundle = (lab: Lab, packed: PackedBundle): Promise<void> =>
  lab.copyIn(JUMP, packed.folder, MEDIUM);

/** A bundle with a site: all nodes, one after the other. */
export async function deploy(lab: Lab, packed: PackedBundle, site: string, show?: Show): Promise<void> {
  await carrySite(lab, site);
  await typed(lab, deployOf(packed), show);
}

/** What all nodes had before. */
export const rollBack = (lab: Lab, show?: Show): Promise<void> =>
  typed(lab, 'airbundle deploy --rollback --site site.yaml -y', show);

/** @throws LabError with what it said */
async function typed(lab: Lab, text: string, show?: Show): Promise<void> {
  const done = await typeOnJump(lab, `${text} 2>&1`);
  show?.(text, done.stdout);
  if (done.exitCode === 0) return;
  throw new LabError(`exit ${String(done.exitCode)} on ${JUMP}: ${text}`, done.stdout.slice(-4000));
}

/** Puts another site file on the operator's desk; nothing is deployed yet. */
async function carrySite(lab: Lab, site: string): Promise<void> {
  for (const file of await readdir(site)) await lab.copyIn(JUMP, join(site, file), `${DESK}/${file}`);
}
