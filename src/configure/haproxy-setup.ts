import { invalidError } from '../errors.js';
import { bindOn } from '../model/site.js';
import type { Tls } from '../model/site.js';
import { serviceOpenings } from './firewall.js';
import { renderHaproxy, STATS_PROXY } from './haproxy.js';
import { additions, daemonReload, directory, root, shared, SYSTEMD } from './parts.js';
import { path } from './paths.js';
import type { Rendering } from './rendering.js';
import { renderLogrotate, renderRsyslog } from './rsyslog.js';
import { statsPassword } from './secrets.js';
import { renderSysctl } from './sysctl.js';
import type { Check, Configuration, ConfiguredFile, Refresh } from './types.js';
import { renderHaproxyUnit } from './units.js';

const STATS = { path: path.haproxySocket, send: 'show stat\n', judge: 'haproxy-stats' } as const;

/** @throws BundleError exit 3: the site has no services, or a secret is missing or not as it must be */
export function haproxy({ component, site, node, origin, secrets }: Rendering): Configuration {
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

/** haproxy -c reads them, so each has to be there before the configuration is swapped. */
function certificatesOf(
  proxies: readonly { readonly name: string; readonly tls?: Tls | undefined }[],
): Configuration['required'] {
  return proxies.flatMap(({ name, tls }) =>
    tls === undefined ? [] : [{ path: tls.certificate, what: `the certificate of ${name}` }],
  );
}
