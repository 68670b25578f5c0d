import type { ClusterSite, NodeView } from '../model/cluster.js';
import { heldBy, isBare } from '../model/cluster.js';

/**
 * In which order nodes are changed. Where something serves: those that hold no VIP first, from the lowest priority,
 * then the holders; and last the nodes that are new, since the others send them no adverts before they know them.
 * Where nothing serves: from the highest priority, so that the first one takes the VIPs and the others join it as
 * backups. Pure.
 */
export function rolloutOrder(site: ClusterSite, views: readonly NodeView[]): string[] {
  const holds = (name: string): boolean => {
    const view = views.find(({ node }) => node === name);
    return view !== undefined && heldBy(view, site).length > 0;
  };
  const byPriority = [...site.nodes].sort((one, other) => one.priority - other.priority);
  if (site.vips.length === 0) return site.nodes.map(({ name }) => name);
  const names = byPriority.map(({ name }) => name);
  if (!names.some(holds)) return names.reverse();
  const isNew = (name: string): boolean => isNewTo(views, name);
  return [
    ...names.filter((name) => !holds(name) && !isNew(name)),
    ...names.filter(holds),
    ...names.filter((name) => !holds(name) && isNew(name)),
  ];
}

/** It answered and nothing is installed there, while it is on others. */
export function isNewTo(views: readonly NodeView[], name: string): boolean {
  return (
    views.some(({ status }) => status !== null) && views.some((view) => view.node === name && isBare(view))
  );
}
