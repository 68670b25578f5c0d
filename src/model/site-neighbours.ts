import { networkOf, overlap } from './networks.js';
import type { Site } from './site.js';

/** A site, and the file that it was read from. */
export interface FiledSite {
  readonly site: Site;
  readonly file: string;
}

/**
 * Why two sites cannot stand side by side: one virtual router id on one network, where the nodes of both would
 * take each other's adverts for their own. Sites of one name are two states of the same. Pure.
 */
export function neighbourProblem(site: Site, { site: other, file }: FiledSite): string | undefined {
  const id = site.vrrp?.virtualRouterId;
  if (id === undefined || id !== other.vrrp?.virtualRouterId || site.name === other.name) return undefined;
  const shared = networksOf(site).find((network) =>
    networksOf(other).some((theirs) => overlap(network, theirs)),
  );
  return shared === undefined
    ? undefined
    : `vrrp.virtualRouterId ${String(id)} is that of site "${other.name}" (${file}), which is on the same network, ${shared}`;
}

/** The networks in which the adverts of a site can be heard, as far as it tells. */
function networksOf({ nodes, vips }: Site): string[] {
  const near = vips.filter((vip) => vip.interface === undefined).map(({ prefixLength }) => prefixLength);
  return nodes.flatMap(({ address, prefixLength }) =>
    (prefixLength === undefined ? near : [prefixLength]).map((prefix) =>
      networkOf(`${address}/${String(prefix)}`),
    ),
  );
}
