import { LabError } from './errors.js';
import type { Lab } from './machines.js';

/**
 * A copy of the node's package database in its place. `rpm --rebuilddb`, which errors tell an operator to type, puts
 * another folder there, and overlayfs does not rename one of the image.
 * @throws LabError with the command's words
 */
export async function renewRpmdb(lab: Pick<Lab, 'exec'>, node: string): Promise<void> {
  const copy = 'cd /var/lib && cp -a rpm rpm.copy && rm -r rpm && mv rpm.copy rpm';
  const done = await lab.exec(node, ['sh', '-c', copy]);
  if (done.exitCode !== 0) throw new LabError(`${node}: no copy of the package database`, done.stderr);
}
