import type { ClusterSite, NodeView } from '../../src/model/cluster.js';
import type { NodeStatus, VrrpInstance } from '../../src/model/node-status.js';

export const VIP = '10.0.0.100';

export const addressOf = (index: number): string => `10.0.0.${String(11 + index)}`;

/** lb1 has the highest priority. */
export function someSite(count = 2): ClusterSite {
  return {
    name: 'bank',
    nodes: Array.from({ length: count }, (_, index) => ({
      name: `lb${String(index + 1)}`,
      address: addressOf(index),
      priority: 150 - 10 * index,
    })),
    vips: [{ name: 'tts', address: VIP }],
    vrrp: { virtualRouterId: 51, advertIntervalSeconds: 1, transport: 'unicast' },
  };
}

export function someInstance(node: string, given: Partial<VrrpInstance> = {}): VrrpInstance {
  const { nodes } = someSite();
  const own = nodes.find(({ name }) => name === node);
  return {
    name: 'bank',
    interface: 'eth0',
    virtualRouterId: 51,
    priority: own?.priority ?? 100,
    advertIntervalSeconds: 1,
    mode: 'unicast',
    source: own?.address ?? null,
    peers: nodes.filter(({ name }) => name !== node).map(({ address }) => address),
    preempt: false,
    vips: [VIP],
    secret: 'same',
    ...given,
  };
}

export interface StatusGiven extends Partial<NodeStatus> {
  readonly instance?: Partial<VrrpInstance>;
  readonly keepalived?: string;
  readonly haproxy?: string;
  readonly protocol112?: NonNullable<NodeStatus['vrrp']>['protocol112'];
}

export function someStatus(node: string, given: StatusGiven = {}): NodeStatus {
  const { instance, keepalived = 'active', haproxy = 'active', protocol112, ...rest } = given;
  return {
    bundle: {
      ...{ name: 'tts-ha', version: '1.0.0', sequence: 1, digest: '1'.repeat(64) },
      ...{ keyId: 'a'.repeat(16), committedAt: '2026-11-22T10:00:00.000Z' },
    },
    node,
    siteDigest: 'e'.repeat(64),
    previous: null,
    canGoBack: true,
    unfinished: null,
    versions: [],
    services: [
      { unit: 'haproxy.service', active: haproxy, enabled: 'enabled' },
      { unit: 'keepalived.service', active: keepalived, enabled: 'enabled' },
    ],
    vips: [{ name: 'tts', address: VIP, interface: 'eth0', here: false }],
    vrrp: {
      keepalived,
      instances: [someInstance(node, instance)],
      protocol112: protocol112 ?? { state: 'open', because: '-P INPUT ACCEPT', firewalld: '' },
    },
    backends: [{ proxy: 'tts', server: 'tts1', status: 'UP', check: 'L7OK' }],
    drift: [],
    left: [],
    problems: [],
    ...rest,
  };
}

/** @param holds has the VIP */
export function someView(
  node: string,
  holds: boolean,
  given: StatusGiven = {},
  more: Partial<NodeView> = {},
): NodeView {
  return {
    node,
    reach: 'answered',
    words: '',
    addresses: ['10.0.0.11', ...(holds ? [VIP] : [])],
    status: someStatus(node, given),
    clockSkewMs: 0,
    ...more,
  };
}

export const away = (node: string): NodeView => ({
  ...{
    node,
    reach: 'unreachable',
    words: 'connection refused',
    addresses: [],
    status: null,
    clockSkewMs: null,
  },
});

export const bare = (node: string): NodeView => someView(node, false, {}, { status: null });
