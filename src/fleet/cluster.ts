import type { ClusterSite, NodeView } from '../model/cluster.js';
import { holdersOf } from '../model/cluster.js';
import type { SecretQuestion } from '../model/node-status.js';
import type { Reporter } from '../report.js';
import type { NodeAgent } from './agent.js';
import type { Clock } from './clock.js';
import { lookAt } from './look.js';

/** A service of the site as clients call it. */
export interface ServiceTarget {
  readonly service: string;
  readonly vip: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'grpc' | 'http' | 'tcp';
  readonly tls: boolean;
}

/** The nodes of one site, and how they are looked at. */
export interface Cluster {
  readonly site: ClusterSite;
  readonly targets: readonly ServiceTarget[];
  /** One for each node of the site. */
  readonly agents: readonly NodeAgent[];
  /** Names of the nodes that are changed; the others are only looked at. */
  readonly chosen: ReadonlySet<string>;
  /** What the nodes compare their VRRP secret with; undefined: it is not compared. */
  readonly question: SecretQuestion | undefined;
  /** Whether a service answers from where this runs. */
  readonly reach: (target: ServiceTarget) => Promise<boolean>;
  readonly clock: Clock;
  readonly reporter: Reporter;
  /** Somebody asked to stop: nothing new is begun. */
  readonly interrupted: () => boolean;
}

export function lookAtAll({ agents, clock, question }: Cluster): Promise<NodeView[]> {
  return Promise.all(agents.map((agent) => lookAt(agent, clock, question)));
}

/** VIP address → whether all its services answer from here. */
export async function tryFromOutside({ targets, reach }: Cluster): Promise<Map<string, boolean>> {
  const answers = await Promise.all(
    targets.map(async (target) => ({ address: target.address, isThere: await reach(target) })),
  );
  const outside = new Map<string, boolean>();
  for (const { address, isThere } of answers) outside.set(address, isThere && outside.get(address) !== false);
  return outside;
}

/** Exactly one node has each VIP. */
export function isHeldOnce({ vips }: ClusterSite, views: readonly NodeView[]): boolean {
  return vips.every((vip) => holdersOf(vip, views).length === 1);
}

export function agentOf({ agents }: Cluster, name: string): NodeAgent {
  const found = agents.find((agent) => agent.name === name);
  if (found === undefined) throw new Error(`no agent for node ${name}`);
  return found;
}
