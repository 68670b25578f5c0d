import type { HealthCheck, Service, Site, SiteNode } from '../model/site.js';
import { GRPC_SERVING, grpcHealthRequest } from './h2.js';
import { header, path } from './paths.js';

/** haproxy.cfg for one node, for haproxy 2.2.9 to 2.3.21. */
export function renderHaproxy(site: Site, node: SiteNode): string {
  return [
    header(site) + section('global', globalLines(site, node)),
    section('defaults', defaultLines(site)),
    ...site.services.map(renderService),
  ].join('\n');
}

function globalLines(site: Site, node: SiteNode): string[] {
  const tls = site.services.some((service) => service.tls !== undefined);
  return [
    'user haproxy',
    'group haproxy',
    `chroot ${path.haproxyChroot}`,
    `node ${node.name}`,
    ...(site.log.rsyslog ? [`log 127.0.0.1:514 ${site.log.facility} info`] : []),
    ...(site.log.server === undefined
      ? []
      : [`log ${site.log.server.address}:${String(site.log.server.port)} ${site.log.facility} info`]),
    '# For people and airbundle: root and group haproxy only.',
    `stats socket ${path.haproxySocket} mode 660 user root group haproxy level admin expose-fd listeners`,
    "# For keepalived's check script: this host only, and it can change nothing.",
    `stats socket ipv4@127.0.0.1:${String(site.haproxy.checkPort)} level user`,
    'stats maxconn 50',
    'stats timeout 30s',
    `maxconn ${String(site.haproxy.maxConnections)}`,
    `hard-stop-after ${site.haproxy.hardStopAfter}`,
    ...(tls ? ['ssl-default-bind-options ssl-min-ver TLSv1.2', 'tune.ssl.default-dh-param 2048'] : []),
  ];
}

function defaultLines(site: Site): string[] {
  return [
    ...(site.log.rsyslog || site.log.server !== undefined ? ['log global'] : []),
    'option dontlognull',
    'option redispatch 1',
    'retries 2',
    'timeout connect 5s',
    'timeout client 1m',
    'timeout server 1m',
    // Any answer but SERVING waits for this: haproxy has no "another answer came" for binary checks.
    'timeout check 2s',
    `maxconn ${String(site.haproxy.maxConnections)}`,
  ];
}

function renderService(service: Service): string {
  const http = service.protocol !== 'tcp';
  return section(`listen ${service.name}`, [
    `mode ${http ? 'http' : 'tcp'}`,
    `option ${http ? 'httplog' : 'tcplog'}`,
    `bind ${service.bind}:${String(service.port)}${bindOptions(service)}`,
    `balance ${service.balance}`,
    `timeout connect ${service.timeouts.connect}`,
    `timeout queue ${service.timeouts.queue}`,
    `timeout client ${service.timeouts.client}`,
    `timeout server ${service.timeouts.server}`,
    ...(service.protocol === 'http' ? ['timeout http-request 30s'] : []),
    ...(service.idempotent ? ['retry-on conn-failure empty-response'] : []),
    ...checkLines(service.check, service.name),
    ...service.backends.map(
      (backend) =>
        `server ${backend.name} ${backend.address}:${String(backend.port)}${service.protocol === 'grpc' ? ' proto h2' : ''}${serverCheck(service.check)}`,
    ),
  ]);
}

function bindOptions(service: Service): string {
  const tls = service.tls === undefined ? '' : ` ssl crt ${service.tls.certificate}`;
  if (service.protocol === 'grpc') return `${tls}${tls === '' ? '' : ' alpn h2'} proto h2`;
  return service.protocol === 'http' && tls !== '' ? `${tls} alpn h2,http/1.1` : tls;
}

function checkLines(check: HealthCheck, serviceName: string): string[] {
  switch (check.kind) {
    case 'grpc':
      return [
        'option httpchk',
        // Without a host header a gRPC server resets the stream.
        `http-check send meth POST uri /grpc.health.v1.Health/Check hdr host ${check.host ?? serviceName} hdr content-type application/grpc hdr te trailers`,
        'http-check expect status 200',
      ];
    case 'grpc-serving':
      return [
        'option tcp-check',
        // Said explicitly, the connection does not take the server line's proto h2; haproxy 2.3.0's
        // worker dies of a segmentation fault otherwise.
        'tcp-check connect',
        `tcp-check send-binary ${grpcHealthRequest(check.host ?? serviceName, check.service ?? '')}`,
        `tcp-check expect binary ${GRPC_SERVING}`,
      ];
    case 'http':
      return [
        'option httpchk',
        `http-check send meth GET uri ${check.path} ver HTTP/1.1 hdr host ${check.host ?? serviceName} hdr connection close`,
        ...(check.status === undefined ? [] : [`http-check expect status ${String(check.status)}`]),
      ];
    case 'tcp':
    case 'none':
      return [];
  }
}

function serverCheck(check: HealthCheck): string {
  if (check.kind === 'none') return '';
  const port = check.port === undefined ? '' : ` port ${String(check.port)}`;
  return ` check${port} inter ${check.interval} rise ${String(check.rise)} fall ${String(check.fall)}`;
}

function section(title: string, lines: readonly string[]): string {
  return `${title}\n${lines.map((line) => `    ${line}\n`).join('')}`;
}
