import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Outcome } from '../docker.js';
import { LabError } from '../errors.js';
import type { Lab } from '../machines.js';
import { SERVICE_PORT } from './site.js';
import { labSite } from './site.js';
import type { PackedBundle } from './packager.js';

/** Where the medium is mounted on a node, and where the operator keeps key and site. */
export const MEDIUM = '/media/usb';
export const DESK = '/root/airbundle';

/**
 * Carries the folder in, and the public key and the site by their own way.
 * @param site a folder with site.yaml and its secrets; the site of the lab's VIP and backends when absent
 */
export async function carry(lab: Lab, node: string, packed: PackedBundle, site?: string): Promise<void> {
  await lab.exec(node, ['mkdir', '-p', '-m', '700', MEDIUM, DESK]);
  await lab.copyIn(node, packed.folder, MEDIUM);
  await lab.copyIn(node, packed.publicKey, `${DESK}/packager.pub.pem`);
  const folder = site ?? (await labSite(lab, packed.work));
  for (const file of await readdir(folder)) await lab.copyIn(node, join(folder, file), `${DESK}/${file}`);
}

/** The proof with stock commands, as it is typed in the bundle's folder, and what is only run when it holds. */
export const proved = ({ stem, keyId }: PackedBundle, then: string): string =>
  [
    `openssl dgst -sha256 -verify ${DESK}/packager.pub.pem -signature ${stem}.sha256.${keyId}.sig ${stem}.sha256 \\`,
    `  && sha256sum --strict -c ${stem}.sha256 \\`,
    `  && ${then}`,
  ].join('\n');

/** The three chained commands of a first installation on a node. */
export const chain = (packed: PackedBundle, node: string, extra = '-y'): string =>
  proved(
    packed,
    `sh install.sh --key ${DESK}/packager.pub.pem --fingerprint ${packed.fingerprint} --site ${DESK}/site.yaml --node ${node} ${extra}`,
  );

/** Types text into root's shell in the medium's folder. */
export function type(lab: Lab, node: string, packed: PackedBundle, text: string): Promise<Outcome> {
  return lab.exec(node, ['sh', '-c', `cd ${MEDIUM}/${packed.stem} && ${text}`], { timeoutMs: 30 * 60_000 });
}

/** What a node has and has not, as a person would ask. */
export interface NodeFacts {
  readonly rpms: number;
  /** Of gcc, make, git, node, npm, yum: those that are there. */
  readonly tools: readonly string[];
  /** A default route means a way out. */
  readonly routes: string;
}

export async function nodeFacts(lab: Lab, node: string): Promise<NodeFacts> {
  const ask = async (text: string): Promise<string> =>
    (await lab.exec(node, ['sh', '-c', text])).stdout.trim();
  return {
    rpms: Number(await ask('rpm -qa | wc -l')),
    tools: (await ask('for tool in gcc make git node npm yum; do command -v "$tool"; done'))
      .split('\n')
      .filter(Boolean),
    routes: await ask('ip route show default'),
  };
}

const Status = z.object({
  versions: z.array(z.object({ component: z.string(), text: z.string() })),
  services: z.array(z.object({ unit: z.string(), active: z.string(), enabled: z.string() })),
  vips: z.array(z.object({ name: z.string(), address: z.string(), here: z.boolean() })),
  backends: z.array(z.object({ proxy: z.string(), server: z.string(), status: z.string() })),
  drift: z.array(z.string()),
  left: z.array(z.string()),
  problems: z.array(z.string()),
});
export type NodeStatus = z.infer<typeof Status>;

export async function statusOf(lab: Lab, node: string): Promise<NodeStatus> {
  const done = await lab.exec(node, ['bundle', 'status', '-o', 'json']);
  if (done.exitCode !== 0)
    throw new LabError(`bundle status on ${node} ended with exit code ${String(done.exitCode)}`, done.stderr);
  return Status.parse(JSON.parse(done.stdout));
}

const SETTLE_MS = 30_000;

/** Waits until the node holds its VIPs and sees its backends; the last status when it does not. */
export async function settled(lab: Lab, node: string): Promise<NodeStatus> {
  const endMs = performance.now() + SETTLE_MS;
  for (;;) {
    const status = await statusOf(lab, node);
    const well = status.problems.length === 0 && status.vips.every((vip) => vip.here);
    if (well) return status;
    if (performance.now() > endMs)
      throw new LabError(
        `${node} did not settle within ${String(SETTLE_MS / 1000)} s`,
        JSON.stringify(status, null, 2),
      );
    await sleep(500);
  }
}

/** gRPC calls over one connection to the VIP. */
export const callVip = (lab: Lab, calls: number): ReturnType<Lab['call']> =>
  lab.call(`${lab.vip}:${String(SERVICE_PORT)}`, calls);
