import type { NodeStatus } from './node-status.js';

/*
 * The nodes of a site side by side: what is seen of each, and who holds which VIP. Pure.
 */

export interface NodeView {
  readonly node: string;
  /** not asked: seen from one node only, which cannot ask the others. */
  readonly reach: 'answered' | 'unreachable' | 'not asked';
  /** Why it could not be asked, or did not say what is installed there, in one sentence; "" otherwise. */
  readonly words: string;
  /** Its IPv4 addresses now, VIPs among them. */
  readonly addresses: readonly string[];
  /** null: nothing is installed there, or it did not say. */
  readonly status: NodeStatus | null;
  /** Its clock minus ours. */
  readonly clockSkewMs: number | null;
}

export interface ClusterVip {
  readonly name: string;
  readonly address: string;
}

/** What of a site file is looked at. */
export interface ClusterSite {
  readonly name: string;
  /** In the order of the site file. */
  readonly nodes: readonly { readonly name: string; readonly address: string; readonly priority: number }[];
  readonly vips: readonly ClusterVip[];
  /** What the nodes have to agree on to hear each other; undefined: nothing moves between them. */
  readonly vrrp?:
    | {
        readonly virtualRouterId: number;
        readonly advertIntervalSeconds: number;
        readonly transport: 'unicast' | 'multicast';
      }
    | undefined;
}

/** Names of the nodes that have a VIP's address. */
export function holdersOf(vip: ClusterVip, views: readonly NodeView[]): string[] {
  return views.filter(({ addresses }) => addresses.includes(vip.address)).map(({ node }) => node);
}

/** The VIPs that a node has. */
export function heldBy(view: NodeView, site: ClusterSite): ClusterVip[] {
  return site.vips.filter(({ address }) => view.addresses.includes(address));
}

/** It answered, and nothing is installed there. */
export function isBare({ reach, status, words }: NodeView): boolean {
  return reach === 'answered' && status === null && words === '';
}

/** It answered, but did not say what is installed there. */
export function isUnreadable({ reach, status, words }: NodeView): boolean {
  return reach === 'answered' && status === null && words !== '';
}
