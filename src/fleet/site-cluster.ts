import type { ClusterSite } from '../model/cluster.js';
import type { Site } from '../model/site.js';
import type { ServiceTarget } from './cluster.js';

/** What of a site file concerns the nodes as a whole. */
export function clusterSiteOf({ name, nodes, vips, vrrp }: Site): ClusterSite {
  return {
    name,
    nodes: nodes.map((node) => ({ name: node.name, address: node.address, priority: node.priority })),
    vips: vips.map((vip) => ({ name: vip.name, address: vip.address })),
    vrrp:
      vrrp === undefined
        ? undefined
        : {
            virtualRouterId: vrrp.virtualRouterId,
            advertIntervalSeconds: vrrp.advertIntervalSeconds,
            transport: vrrp.transport,
          },
  };
}

const EVERY_ADDRESS = '*';

/** The services that are called at a VIP. */
export function serviceTargets({ vips, services }: Site): ServiceTarget[] {
  return services.flatMap(({ name, bind, port, protocol, tls }) =>
    vips
      .filter((vip) => bind === EVERY_ADDRESS || bind === vip.address)
      .map((vip) => ({
        ...{ service: name, vip: vip.name, address: vip.address, port, protocol },
        tls: tls !== undefined,
      })),
  );
}
