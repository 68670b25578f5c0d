import type { Site, SiteNode } from '../model/site.js';
import type { Argv, Opening } from './types.js';

/** What clients need. */
export function serviceOpenings(site: Site): Opening[] {
  return site.services
    .filter((service) => service.bind !== '127.0.0.1')
    .map((service) => ({
      kind: 'tcp',
      address: service.bind,
      port: service.port,
      why: `clients of service ${service.name}`,
    }));
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
