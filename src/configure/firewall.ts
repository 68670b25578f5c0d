import { bindOn } from '../model/site.js';
import type { Site, SiteNode } from '../model/site.js';
import type { Argv, Opening } from './types.js';

/** What clients need. */
export function serviceOpenings(site: Site, node: SiteNode): Opening[] {
  const { stats } = site.haproxy;
  const listeners = [
    ...site.services.map(({ name, bind, port }) => ({ bind, port, why: `clients of service ${name}` })),
    ...(stats === undefined ? [] : [{ bind: stats.bind, port: stats.port, why: 'the stats page' }]),
  ];
  return listeners
    .filter(({ bind }) => bind !== '127.0.0.1')
    .map(({ bind, port, why }) => ({ kind: 'tcp', address: bindOn(bind, node), port, why }));
}

/** What the nodes need from each other: IP protocol 112. Blocked, both nodes hold the VIPs. */
export function vrrpOpenings(site: Site, node: SiteNode): Opening[] {
  const peers = site.nodes.filter((other) => other.name !== node.name);
  return peers.length === 0
    ? []
    : [
        {
          kind: 'protocol',
          number: 112,
          name: 'vrrp',
          from: peers.map((peer) => peer.address),
          why: 'VRRP adverts of the other nodes',
        },
      ];
}

/** One sentence for a plan. */
export function describeOpening(opening: Opening): string {
  return opening.kind === 'tcp'
    ? `a firewall must let in TCP ${opening.address}:${String(opening.port)} (${opening.why})`
    : `a firewall must let in IP protocol ${String(opening.number)} (${opening.name.toUpperCase()}) from ${opening.from.join(', ')} (${opening.why})`;
}

/** The same as firewalld commands, to be shown; a reload makes permanent rules live. */
export function firewalldCommands(openings: readonly Opening[]): Argv[] {
  const permanent = (argument: string): Argv => ['firewall-cmd', '--permanent', argument];
  return [
    ...openings.flatMap((opening) =>
      opening.kind === 'tcp'
        ? [permanent(`--add-port=${String(opening.port)}/tcp`)]
        : opening.from.map((peer) =>
            permanent(
              `--add-rich-rule=rule family="ipv4" source address="${peer}/32" protocol value="${opening.name}" accept`,
            ),
          ),
    ),
    ...(openings.length === 0 ? [] : [['firewall-cmd', '--reload'] as const]),
  ];
}

/**
 * The same for EL7's iptables service, to be shown. Put before the other rules, because its rules end with
 * one that refuses everything; the last command keeps them over a restart.
 */
export function iptablesCommands(openings: readonly Opening[]): Argv[] {
  const accept = (...match: string[]): Argv => ['iptables', '-I', 'INPUT', ...match, '-j', 'ACCEPT'];
  return [
    ...openings.flatMap((opening) =>
      opening.kind === 'tcp'
        ? [accept('-p', 'tcp', ...destination(opening.address), '--dport', String(opening.port))]
        : opening.from.map((peer) => accept('-p', String(opening.number), '-s', peer)),
    ),
    ...(openings.length === 0 ? [] : [['service', 'iptables', 'save'] as const]),
  ];
}

function destination(address: string): string[] {
  return address === '*' || address === '0.0.0.0' ? [] : ['-d', address];
}
