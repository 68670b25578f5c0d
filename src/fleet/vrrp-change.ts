import type { ClusterSite, NodeView } from '../model/cluster.js';
import { holdersOf } from '../model/cluster.js';
import type { VrrpInstance } from '../model/node-status.js';

/**
 * What of VRRP the site would change on nodes that serve. Nodes with the old and the new setting do not hear each
 * other, so between the first and the last one each VIP would have two holders: no order of a rollout helps. Pure.
 * @returns one sentence for each setting; empty when nothing serves
 */
export function vrrpChanges(site: ClusterSite, views: readonly NodeView[]): string[] {
  const isServing = site.vips.some((vip) => holdersOf(vip, views).length > 0);
  const isAlone = views.filter(({ status }) => status !== null).length < 2;
  if (!isServing || isAlone) return [];
  const instances = views.flatMap(({ node, status }) =>
    (status?.vrrp?.keepalived === 'active' ? status.vrrp.instances : []).map((instance) => ({
      node,
      instance,
    })),
  );
  return instances.flatMap(({ node, instance }) =>
    differences(site, instance).map(
      (difference) => `${node}: ${difference}; nodes with the old and the new one do not hear each other`,
    ),
  );
}

function differences({ vrrp }: ClusterSite, instance: VrrpInstance): string[] {
  if (vrrp === undefined) return [];
  const { virtualRouterId, advertIntervalSeconds, transport } = vrrp;
  const differ = (key: string, now: number | string | null, then: number | string): string[] =>
    now === null || now === then
      ? []
      : [`${key} is ${String(now)} there and ${String(then)} in the site file`];
  return [
    ...differ('virtual_router_id', instance.virtualRouterId, virtualRouterId),
    ...differ('advert_int', instance.advertIntervalSeconds, advertIntervalSeconds),
    ...differ('the transport', instance.mode, transport),
    ...(instance.secret === 'different' ? ["auth_pass there is not the one in the site's secretFile"] : []),
  ];
}
