import type { VrrpInstance, VrrpView } from '../model/node-status.js';
import { path } from './paths.js';
import type { PacketVerdict } from './read-iptables.js';
import { judgeAdvert } from './read-iptables.js';
import type { WrittenInstance } from './read-keepalived.js';
import { readKeepalived } from './read-keepalived.js';
import type { Argv } from './types.js';

/** What has to be asked on a node to know how addresses move between it and others. */
export const FAILOVER_SOURCES = {
  unit: 'keepalived.service',
  firewallUnit: 'firewalld.service',
  config: path.keepalivedConfig,
  rules: ['iptables', '-S'] as Argv,
} as const;

/** Of a node that shares no address with others. */
export const NO_FAILOVER = { vrrp: null } as const;

export interface FailoverFacts {
  /** What systemd says of `unit`. */
  readonly active: string;
  /** Of `firewallUnit`; "" when there is none. */
  readonly firewall: string;
  /** Text of `config`; "" when there is none. */
  readonly config: string;
  /** What `rules` said, or why it said nothing. */
  readonly rules: { readonly stdout: string } | { readonly silent: string };
  readonly compare: (secret: string) => VrrpInstance['secret'];
}

/** Pure: what status tells of it. The secret is compared and not told. */
export function failoverView(facts: FailoverFacts): { readonly vrrp: VrrpView } {
  const written = readKeepalived(facts.config);
  return {
    vrrp: {
      keepalived: facts.active,
      instances: written.map((instance) => shown(instance, facts.compare)),
      protocol112: { ...judgeFilter(written, facts.rules), firewalld: facts.firewall },
    },
  };
}

function shown(instance: WrittenInstance, compare: FailoverFacts['compare']): VrrpInstance {
  const { secret, peers, vips, ...rest } = instance;
  return {
    ...rest,
    mode: peers.length > 0 ? 'unicast' : 'multicast',
    peers: [...peers],
    vips: [...vips],
    secret: secret === null ? 'none' : compare(secret),
  };
}

function judgeFilter(written: readonly WrittenInstance[], rules: FailoverFacts['rules']): PacketVerdict {
  if ('silent' in rules) return { state: 'unknown', because: rules.silent };
  const verdicts = written.flatMap((instance) =>
    instance.peers.map((from) => judgeAdvert(rules.stdout, { from, interface: instance.interface })),
  );
  return (
    verdicts.find(({ state }) => state === 'closed') ??
    verdicts.find(({ state }) => state === 'unknown') ??
    verdicts[0] ?? { state: 'unknown', because: 'no peer is named' }
  );
}
