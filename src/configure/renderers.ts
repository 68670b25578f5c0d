import type { Site, SiteNode, Tls } from '../model/site.js';
import { noVrrp, renderCheckScript, renderKeepalived, SCRIPT_USER } from './keepalived.js';
import { serviceOpenings, vrrpOpenings } from './firewall.js';
import { renderHaproxy, STATS_PROXY } from './haproxy.js';
import type { Origin } from './header.js';
import type { Secrets } from './secrets.js';
import { statsPassword, vrrpSecret } from './secrets.js';
import { daemonReload, directory, root, shared, SYSTEMD } from './parts.js';
import { bindOn, vipInterface } from '../model/site.js';
import { path } from './paths.js';
import { renderLogrotate, renderRsyslog } from './rsyslog.js';
import { invalidError } from '../errors.js';
import { nearest } from '../model/nearest.js';
import type { Notify } from '../model/site-shape.js';
import { renderSysctl } from './sysctl.js';
import type { Check, Configuration, ConfiguredDirectory, ConfiguredFile, Refresh } from './types.js';
import { renderHaproxyUnit, renderKeepalivedUnit } from './units.js';

/** What a renderer is given: one component on one node. */
export interface Rendering {
  readonly component: string;
  readonly site: Site;
  readonly node: SiteNode;
  readonly origin: Origin;
  readonly secrets: Secrets;
  /** Scripts of the bundle, which a site may name. */
  readonly scripts: ReadonlySet<string>;
  /** The configurations that this installation has, this one included. */
  readonly present: ReadonlySet<string>;
}

export type Renderer = (given: Rendering) => Configuration;

/** From the manifest's `configuration:` to its renderer, in the order in which they are installed and started. */
export const RENDERERS: ReadonlyMap<string, Renderer> = new Map<string, Renderer>([
  ['haproxy', haproxy],
  ['keepalived', keepalived],
]);

const STATS = { path: path.haproxySocket, send: 'show stat\n', judge: 'haproxy-stats' } as const;

function haproxy({ component, site, node, origin, secrets }: Rendering): Configuration {
  if (site.services.length === 0)
    throw invalidError({
      code: 'SITE_WITHOUT_SERVICES',
      message: `component "${component}" is configured as haproxy, but site "${site.name}" has no services`,
      hint: 'Add services (name, bind, port, protocol, backends) to the site file: docs/reference/site.md.',
    });
  const sysctl = renderSysctl(site);
  const password = statsPassword(site, secrets);
  const plain = { component, mode: 0o644, ...root, secret: false } as const;
  const files: ConfiguredFile[] = [
    ...(sysctl === undefined ? [] : [{ ...plain, path: path.sysctl, content: sysctl }]),
    ...(site.log.rsyslog
      ? [
          {
            ...plain,
            path: path.rsyslog,
            content: renderRsyslog(site),
            validate: {
              argv: ['rsyslogd', '-N1', '-f', '{file}'],
              okExits: [0],
              timeoutMs: 10_000,
              withoutProgram: 'skip',
            },
          } as const,
          {
            ...plain,
            path: path.logrotate,
            content: renderLogrotate(site),
            validate: {
              argv: ['logrotate', '-d', '{file}'],
              okExits: [0],
              timeoutMs: 10_000,
              withoutProgram: 'skip',
            },
          } as const,
        ]
      : []),
    {
      ...plain,
      path: path.haproxyConfig,
      mode: password === undefined ? 0o644 : 0o600,
      additions: `${path.haproxyAdditions}/*.cfg`,
      content: renderHaproxy({ site, node, origin, statsPassword: password }),
      secret: password !== undefined,
      validate: {
        argv: [path.haproxy, '-c', '-f', '{file}', '-f', path.haproxyAdditions],
        okExits: [0],
        timeoutMs: 30_000,
        withoutProgram: 'fail',
      },
    },
    { ...plain, path: path.haproxyUnit, content: renderHaproxyUnit(site) },
  ];
  const refreshes: Refresh[] = [
    daemonReload(component, path.haproxyUnit),
    ...(sysctl === undefined
      ? []
      : [
          {
            component,
            id: 'sysctl',
            argv: ['sysctl', '-p', path.sysctl],
            files: [path.sysctl],
            timeoutMs: 10_000,
            onFailure: 'fail',
          } as const,
        ]),
    ...(site.log.rsyslog
      ? [
          {
            component,
            id: 'rsyslog',
            argv: ['systemctl', 'try-restart', 'rsyslog.service'],
            files: [path.rsyslog],
            timeoutMs: 60_000,
            onFailure: 'warn',
          } as const,
        ]
      : []),
  ];
  const { stats } = site.haproxy;
  const proxies = [...site.services, ...(stats === undefined ? [] : [{ ...stats, name: STATS_PROXY }])];
  const listens: Check[] = proxies.map(({ name, bind, port }) => ({
    kind: 'listen',
    component,
    id: `listen-${name}`,
    address: bind === '*' ? '0.0.0.0' : bindOn(bind, node),
    port,
    timeoutMs: 10_000,
  }));
  return {
    users: [{ component, name: 'haproxy', home: path.haproxyChroot, shell: '/sbin/nologin' }],
    directories: [
      directory(component, '/etc/haproxy'),
      additions(component, path.haproxyAdditions),
      // Empty and not haproxy's own: a worker that was broken into has nowhere to write.
      directory(component, path.haproxyChroot),
      shared(component, SYSTEMD),
      ...(sysctl === undefined ? [] : [shared(component, '/etc/sysctl.d')]),
      ...(site.log.rsyslog
        ? [shared(component, '/etc/rsyslog.d'), shared(component, '/etc/logrotate.d')]
        : []),
    ],
    files,
    refreshes,
    services: [
      {
        component,
        unit: 'haproxy.service',
        unitFile: path.haproxyUnit,
        restartOn: [path.haproxyUnit],
        reloadOn: [path.haproxyConfig],
      },
    ],
    checks: [
      { kind: 'unit', component, id: 'unit-haproxy', unit: 'haproxy.service', timeoutMs: 30_000 },
      {
        kind: 'socket',
        component,
        id: 'proxies',
        ...STATS,
        expected: proxies.map(({ name }) => name),
        timeoutMs: 10_000,
      },
      ...listens,
    ],
    status: {
      versions: [{ component, label: 'haproxy', argv: [path.haproxy, '-v'] }],
      vips: [],
      sockets: [STATS],
    },
    required: certificatesOf(proxies),
    addresses: [],
    firewall: serviceOpenings(site, node),
    firewallKind: site.system.firewall,
  };
}

function keepalived(given: Rendering): Configuration {
  const { component, site, node, origin, secrets, present, scripts } = given;
  const { vrrp } = site;
  if (vrrp === undefined) throw noVrrp(site);
  requireScripts(site.name, vrrp.notify, scripts);
  const secret = vrrpSecret(site, secrets);
  if (secret === undefined)
    throw invalidError({
      code: 'SECRET_MISSING',
      message: `the VRRP secret of site "${site.name}" was not given`,
      hint: `Put the file "${vrrp.secretFile}" next to the site file: 1 to 8 characters, the same for every node.`,
    });
  const asksHaproxy = present.has('haproxy');
  const file = { component, ...root } as const;
  return {
    users: [{ component, name: SCRIPT_USER, home: '/', shell: '/sbin/nologin' }],
    // 0755: the script user has to reach the check script.
    directories: [
      directory(component, '/etc/keepalived'),
      additions(component, path.keepalivedAdditions),
      shared(component, SYSTEMD),
    ],
    files: [
      // First: keepalived -t fails when the script is missing.
      ...(asksHaproxy
        ? [
            {
              ...file,
              path: path.checkScript,
              mode: 0o755,
              content: renderCheckScript(site),
              secret: false,
              validate: {
                argv: ['bash', '-n', '{file}'],
                okExits: [0],
                timeoutMs: 10_000,
                withoutProgram: 'fail',
              },
            } as const,
          ]
        : []),
      {
        ...file,
        path: path.keepalivedConfig,
        mode: 0o600,
        additions: `${path.keepalivedAdditions}/*.conf`,
        content: renderKeepalived({ site, node, origin, vrrp, secret, checkHaproxy: asksHaproxy }),
        secret: true,
        validate: {
          argv: [path.keepalived, '-t', '-f', '{file}'],
          okExits: [0],
          timeoutMs: 30_000,
          withoutProgram: 'fail',
        },
      },
      {
        ...file,
        path: path.keepalivedUnit,
        mode: 0o644,
        content: renderKeepalivedUnit(site, node),
        secret: false,
      },
    ],
    refreshes: [daemonReload(component, path.keepalivedUnit)],
    services: [
      {
        component,
        unit: 'keepalived.service',
        unitFile: path.keepalivedUnit,
        restartOn: [path.keepalivedUnit],
        reloadOn: [path.keepalivedConfig],
      },
    ],
    checks: [
      { kind: 'unit', component, id: 'unit-keepalived', unit: 'keepalived.service', timeoutMs: 30_000 },
      ...(asksHaproxy
        ? [
            {
              kind: 'command',
              component,
              id: 'check-script',
              argv: [path.checkScript, String(site.haproxy.checkPort), node.name],
              timeoutMs: 10_000,
            } as const,
          ]
        : []),
    ],
    status: {
      versions: [{ component, label: 'keepalived', argv: [path.keepalived, '-v'] }],
      vips: site.vips.map((vip) => ({
        name: vip.name,
        address: vip.address,
        prefixLength: vip.prefixLength,
        interface: vipInterface(vip, node),
      })),
      sockets: [],
    },
    required: [],
    addresses: addressesOf(site, node),
    firewall: vrrpOpenings(site, node),
    firewallKind: site.system.firewall,
  };
}

/** The folder of an operator's own additions: made, never emptied, and gone only when it is empty. */
function additions(component: string, at: string): ConfiguredDirectory {
  return { ...directory(component, at), mode: 0o750 };
}

/** haproxy -c reads them, so each has to be there before the configuration is swapped. */
function certificatesOf(
  proxies: readonly { readonly name: string; readonly tls?: Tls | undefined }[],
): Configuration['required'] {
  return proxies.flatMap(({ name, tls }) =>
    tls === undefined ? [] : [{ path: tls.certificate, what: `the certificate of ${name}` }],
  );
}

/** Adverts to the other nodes come from the node's own address, or are not believed. */
function addressesOf(site: Site, node: SiteNode): Configuration['addresses'] {
  return site.nodes.length < 2
    ? []
    : [{ address: node.address, interface: node.interface, what: `node ${node.name}` }];
}

/** @throws BundleError exit 3: what runs when a node's state changes must come with the bundle, signed */
function requireScripts(siteName: string, notify: Notify = {}, scripts: ReadonlySet<string>): void {
  const foreign = Object.entries(notify).flatMap(([when, script]) =>
    script === undefined || scripts.has(script) ? [] : [`vrrp.notify.${when}: ${script}`],
  );
  if (foreign.length === 0) return;
  const close = foreign.map((line) => nearest(line.split(': ')[1] ?? '', [...scripts])).find(Boolean);
  throw invalidError({
    code: 'HOOK_NOT_IN_BUNDLE',
    message: `site "${siteName}" names a script that the bundle does not bring`,
    details: foreign,
    hint: `${close === undefined ? '' : `Did you mean ${close}? `}A hook is a file of a component, named by its path under "files:" in the manifest, or one of its configuration with an executable mode. This bundle has: ${[...scripts].join(', ') || 'none'}.`,
  });
}
