import { diagnose, findingInWords, made } from './diagnosis.js';
import type { Finding } from './diagnosis.js';
import type { NodeStatus } from './node-status.js';

/** Whether another machine answers for an address; not looked at: there is no arping of iputils here. */
export type ArpAnswer = 'answered' | 'silent' | 'not looked at';

export interface SeenVip {
  readonly name: string;
  readonly address: string;
  readonly here: boolean;
  readonly arp: ArpAnswer;
}

export interface OwnView {
  readonly vips: readonly SeenVip[];
  readonly findings: readonly Finding[];
}

/** What is wrong between the nodes as far as one of them can see. Pure. */
export function ownFindings(status: NodeStatus, vips: readonly SeenVip[]): Finding[] {
  const node = status.node ?? 'this node';
  const view = {
    ...({ node, reach: 'answered', words: '', clockSkewMs: null, status } as const),
    addresses: vips.filter(({ here }) => here).map(({ address }) => address),
  };
  const peers = [...new Set((status.vrrp?.instances ?? []).flatMap(({ peers: named }) => named))];
  const others = peers.map((peer) => ({
    ...({ node: peer, reach: 'not asked', words: '', clockSkewMs: null, status: null } as const),
    addresses: [],
  }));
  const site = { name: '', vips, nodes: [] };
  return [
    ...vips.flatMap((vip) => arpFindings(node, vip)),
    ...diagnose({ site, views: [view, ...others] }).filter(({ code }) => code !== 'NO_HOLDER'),
  ];
}

function arpFindings(node: string, { name, address, here, arp }: SeenVip): Finding[] {
  const vip = `VIP ${name} (${address})`;
  const where = { vip: name, nodes: [node] };
  if (here && arp === 'answered')
    return [
      made('bad', 'TWO_HOLDERS', `this node holds ${vip}, and another machine answers for it as well`, {
        ...where,
        cause: 'the other node takes no notice of this one, or a foreign machine has the address',
        next: 'from a machine that reaches all nodes: airbundle status --site site.yaml, which compares them',
      }),
    ];
  if (!here && arp === 'silent')
    return [
      made('bad', 'NO_HOLDER', `this node does not hold ${vip}, and no other machine answers for it`, {
        ...where,
        next: 'ask again in 5 seconds; then on each node: systemctl status keepalived; journalctl -u keepalived',
      }),
    ];
  return [];
}

export function renderOwnView({ vips, findings }: OwnView): string {
  const ARP: Record<ArpAnswer, string> = {
    answered: 'another machine answers for it',
    silent: 'no other machine answers for it',
    'not looked at': 'whether another machine answers was not looked at (arping of iputils is not here)',
  };
  return [
    'as far as this node can see',
    ...vips.map(
      ({ name, address, here, arp }) =>
        `  VIP ${name} (${address}): ${here ? 'held here' : 'not here'}; ${ARP[arp]}`,
    ),
    ...(findings.length === 0 ? ['  nothing is wrong between the nodes'] : findings.flatMap(findingInWords)),
    '',
  ].join('\n');
}
