import { invalidError } from '../errors.js';
import { vipInterface } from '../model/site.js';
import type { Site, SiteNode, Vrrp } from '../model/site.js';
import type { VrrpSecret } from '../model/vrrp-secret.js';
import { CHECK_HAPROXY } from './check-haproxy.js';
import type { Origin } from './header.js';
import { fullHeader, header } from './header.js';
import { path } from './paths.js';

/** The user that runs the check script and hooks: no rights of its own. */
export const SCRIPT_USER = 'keepalived_script';

export interface KeepalivedGiven {
  readonly site: Site;
  readonly node: SiteNode;
  readonly origin: Origin;
  readonly vrrp: Vrrp;
  readonly secret: VrrpSecret;
  /** false when this installation has no haproxy of ours to ask. */
  readonly checkHaproxy: boolean;
}

/** keepalived.conf for one node, for keepalived 2.1.5. */
export function renderKeepalived(given: KeepalivedGiven): string {
  const { site, node, checkHaproxy } = given;
  return [
    fullHeader(given, `${path.keepalivedAdditions}/*.conf`) + block('global_defs', globalLines(given)),
    ...(checkHaproxy
      ? [
          '# Is haproxy on this node able to serve? After two failures in a row this node gives the VIPs away.\n' +
            block('vrrp_script haproxy', [
              `script "${path.checkScript} ${String(site.haproxy.checkPort)} ${node.name}"`,
              'interval 1',
              'timeout 2',
              'fall 2',
              'rise 2',
            ]),
        ]
      : []),
    block(`vrrp_instance ${site.name}`, instanceLines(given)),
    `include ${path.keepalivedAdditions}/*.conf\n`,
  ].join('\n');
}

function globalLines(given: KeepalivedGiven): string[] {
  return [
    `router_id ${given.node.name}`,
    '# Scripts have no rights, and must be files that only root can write.',
    `script_user ${SCRIPT_USER}`,
    'enable_script_security',
    ...(unicastPeers(given).length > 0
      ? ['# Adverts count only when they come from one of the peers.', 'vrrp_check_unicast_src']
      : []),
  ];
}

function instanceLines(given: KeepalivedGiven): string[] {
  const { site, node, vrrp, secret, checkHaproxy } = given;
  const peers = unicastPeers(given);
  return [
    ...takeoverLines(vrrp),
    `interface ${node.interface}`,
    `virtual_router_id ${String(vrrp.virtualRouterId)}`,
    `priority ${String(node.priority)}`,
    `advert_int ${String(vrrp.advertIntervalSeconds)}`,
    '# A switch or client that missed the announcement of a new holder learns within a minute.',
    'garp_master_refresh 60',
    ...(peers.length > 0 ? [`unicast_src_ip ${node.address}`, ...nested('unicast_peer', peers)] : []),
    ...nested('authentication', ['auth_type PASS', `auth_pass ${secret}`]),
    ...nested(
      'virtual_ipaddress',
      site.vips.map((vip) => `${vip.address}/${String(vip.prefixLength)} dev ${vipInterface(vip, node)}`),
    ),
    ...(checkHaproxy ? nested('track_script', ['haproxy']) : []),
    ...notifyLines(vrrp),
  ];
}

function takeoverLines({ preempt, preemptDelaySeconds }: Vrrp): string[] {
  if (!preempt)
    return [
      '# Every node starts as BACKUP and takes over only when the holder is gone: one that comes back does',
      '# not take the VIPs, and every running stream, away again.',
      'state BACKUP',
      'nopreempt',
    ];
  return [
    '# The node with the highest priority that is well holds the VIPs: one that comes back takes them, and',
    '# running streams end.',
    'state BACKUP',
    ...(preemptDelaySeconds === undefined
      ? []
      : ['# It waits so many seconds before that.', `preempt_delay ${String(preemptDelaySeconds)}`]),
  ];
}

function notifyLines({ notify = {} }: Vrrp): string[] {
  const { change, master, backup, fault } = notify;
  const hooks = [
    ['notify', change],
    ['notify_master', master],
    ['notify_backup', backup],
    ['notify_fault', fault],
  ] as const;
  return hooks.flatMap(([keyword, script]) => (script === undefined ? [] : [`${keyword} "${script}"`]));
}

/** The other nodes' addresses; none for one node alone and for multicast. */
function unicastPeers({ site, node, vrrp }: KeepalivedGiven): string[] {
  if (vrrp.transport === 'multicast') return [];
  return site.nodes.filter((other) => other.name !== node.name).map((other) => other.address);
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
