import type { Site, SiteNode } from '../model/site.js';
import type { VrrpSecret } from '../model/vrrp-secret.js';
import { noVrrp, renderCheckScript, renderKeepalived, SCRIPT_USER } from './keepalived.js';
import { serviceOpenings, vrrpOpenings } from './firewall.js';
import { renderHaproxy } from './haproxy.js';
import { daemonReload, directory, root, shared, SYSTEMD } from './parts.js';
import { path } from './paths.js';
import { renderLogrotate, renderRsyslog } from './rsyslog.js';
import { invalidError } from '../errors.js';
import { renderSysctl } from './sysctl.js';
import type { Check, Configuration, ConfiguredFile, Refresh } from './types.js';
import { renderHaproxyUnit, renderKeepalivedUnit } from './units.js';

/** What a renderer is given: one component on one node. */
export interface Rendering {
  readonly component: string;
  readonly site: Site;
  readonly node: SiteNode;
  readonly secret: VrrpSecret | undefined;
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

function haproxy({ component, site, node }: Rendering): Configuration {
  if (site.services.length === 0)
    throw invalidError({
      code: 'SITE_WITHOUT_SERVICES',
      message: `component "${component}" is configured as haproxy, but site "${site.name}" has no services`,
      hint: 'Add services (name, bind, port, protocol, backends) to the site file: docs/reference/site.md.',
    });
  const sysctl = renderSysctl(site);
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
      content: renderHaproxy(site, node),
      validate: {
        argv: [path.haproxy, '-c', '-f', '{file}'],
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
  const listens: Check[] = site.services.map((service) => ({
    kind: 'listen',
    component,
    id: `listen-${service.name}`,
    address: service.bind === '*' ? '0.0.0.0' : service.bind,
    port: service.port,
    timeoutMs: 10_000,
  }));
  return {
    users: [{ component, name: 'haproxy', home: path.haproxyChroot, shell: '/sbin/nologin' }],
    directories: [
      directory(component, '/etc/haproxy'),
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
        expected: site.services.map((service) => service.name),
        timeoutMs: 10_000,
      },
      ...listens,
    ],
    status: {
      versions: [{ component, label: 'haproxy', argv: [path.haproxy, '-v'] }],
      vips: [],
      sockets: [STATS],
    },
    firewall: serviceOpenings(site),
  };
}

function keepalived({ component, site, node, secret, present }: Rendering): Configuration {
  if (site.vrrp === undefined) throw noVrrp(site);
  if (secret === undefined)
    throw invalidError({
      code: 'SECRET_MISSING',
      message: `the VRRP secret of site "${site.name}" was not given`,
      hint: `Put the file "${site.vrrp.secretFile}" next to the site file: 1 to 8 characters, the same for every node.`,
    });
  const asksHaproxy = present.has('haproxy');
  const file = { component, ...root } as const;
  return {
    users: [{ component, name: SCRIPT_USER, home: '/', shell: '/sbin/nologin' }],
    // 0755: the script user has to reach the check script.
    directories: [directory(component, '/etc/keepalived'), shared(component, SYSTEMD)],
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
        content: renderKeepalived(site, node, secret, asksHaproxy),
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
        interface: vip.interface ?? node.interface,
      })),
      sockets: [],
    },
    firewall: vrrpOpenings(site, node),
  };
}
