import { invalidError } from '../errors.js';
import { vipInterface } from '../model/site.js';
import type { Site, SiteNode } from '../model/site.js';
import type { VrrpSecret } from '../model/vrrp-secret.js';
import { CHECK_HAPROXY } from './check-haproxy.js';
import { header, path } from './paths.js';

/** The user that runs the check script: no rights of its own. */
export const SCRIPT_USER = 'keepalived_script';

/**
 * keepalived.conf for one node, for keepalived 2.1.5: unicast, every node BACKUP with nopreempt, so
 * that a node which comes back does not take the VIPs (and every running stream) away again.
 *
 * @param checkHaproxy false when this installation has no haproxy of ours to ask
 * @throws BundleError exit 3 when the site has no vrrp section
 */
export function renderKeepalived(
  site: Site,
  node: SiteNode,
  secret: VrrpSecret,
  checkHaproxy: boolean,
): string {
  const vrrp = site.vrrp;
  if (vrrp === undefined) throw noVrrp(site);
  const peers = site.nodes.filter((other) => other.name !== node.name);
  return [
    header(site) +
      block('global_defs', [
        `router_id ${node.name}`,
        `script_user ${SCRIPT_USER}`,
        'enable_script_security',
        ...(peers.length > 0 ? ['vrrp_check_unicast_src'] : []),
      ]),
    ...(checkHaproxy
      ? [
          block('vrrp_script haproxy', [
            `script "${path.checkScript} ${String(site.haproxy.checkPort)} ${node.name}"`,
            'interval 1',
            'timeout 2',
            'fall 2',
            'rise 2',
          ]),
        ]
      : []),
    block(`vrrp_instance ${site.name}`, [
      'state BACKUP',
      'nopreempt',
      `interface ${node.interface}`,
      `virtual_router_id ${String(vrrp.virtualRouterId)}`,
      `priority ${String(node.priority)}`,
      `advert_int ${String(vrrp.advertIntervalSeconds)}`,
      // A switch or client that missed the announcement learns within a minute.
      'garp_master_refresh 60',
      ...(peers.length > 0
        ? [
            `unicast_src_ip ${node.address}`,
            ...nested(
              'unicast_peer',
              peers.map((peer) => peer.address),
            ),
          ]
        : []),
      ...nested('authentication', ['auth_type PASS', `auth_pass ${secret}`]),
      ...nested(
        'virtual_ipaddress',
        site.vips.map((vip) => `${vip.address}/${String(vip.prefixLength)} dev ${vipInterface(vip, node)}`),
      ),
      ...(checkHaproxy ? nested('track_script', ['haproxy']) : []),
    ]),
  ].join('\n');
}

/** The check script as it is installed: its own text with our header after the first line. */
export function renderCheckScript(site: Site): string {
  const [interpreter = '', ...rest] = CHECK_HAPROXY.split('\n');
  return `${interpreter}\n${header(site)}${rest.join('\n')}`;
}

export function noVrrp(site: Site): Error {
  return invalidError({
    code: 'SITE_WITHOUT_VRRP',
    message: `the bundle holds keepalived, but site "${site.name}" has no vrrp section`,
    hint: 'Add vips and vrrp (virtualRouterId, secretFile) to the site file: docs/reference/site.md.',
  });
}

function block(title: string, lines: readonly string[]): string {
  return `${title} {\n${lines.map((line) => `    ${line}\n`).join('')}}\n`;
}

function nested(title: string, lines: readonly string[]): string[] {
  return [`${title} {`, ...lines.map((line) => `    ${line}`), '}'];
}
