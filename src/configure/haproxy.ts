import { addressOf } from '../model/networks.js';
import { bindOn } from '../model/site.js';
import type { Backend, HealthCheck, Service, Site, SiteNode, StatsPage, Tls } from '../model/site.js';
import { GRPC_SERVING, grpcHealthRequest } from './h2.js';
import type { Origin } from './header.js';
import { fullHeader } from './header.js';
import { path } from './paths.js';

/** Of the page for people; no service may have it then. */
export const STATS_PROXY = 'stats';

export interface HaproxyGiven {
  readonly site: Site;
  readonly node: SiteNode;
  readonly origin: Origin;
  /** Where the site has a stats page. */
  readonly statsPassword?: string | undefined;
}

/** haproxy.cfg for one node, for haproxy 2.2.9 to 2.3.21. */
export function renderHaproxy(given: HaproxyGiven): string {
  const { site, node, statsPassword } = given;
  const { stats } = site.haproxy;
  const logs = site.log.rsyslog || site.log.server !== undefined;
  return [
    fullHeader(given, `${path.haproxyAdditions}/*.cfg`) + section('global', globalParts(site, node)),
    section('defaults', defaultParts(site, logs)),
    ...site.services.map((service) => renderService(service, node, logs)),
    ...(stats === undefined ? [] : [renderStats(stats, node, statsPassword ?? '', logs)]),
  ].join('\n');
}

/** Lines that belong together; a blank line stands between two parts. */
type Part = readonly string[];

function globalParts(site: Site, node: SiteNode): Part[] {
  const { server, rsyslog, facility } = site.log;
  const page = site.haproxy.stats;
  const tls = site.services.some((service) => service.tls !== undefined) || page?.tls !== undefined;
  return [
    [
      '# Workers give up root and see an empty folder only.',
      'user haproxy',
      'group haproxy',
      `chroot ${path.haproxyChroot}`,
      `node ${node.name}`,
    ],
    [
      ...(rsyslog
        ? [
            '# To rsyslog on this node, over UDP: its socket is out of reach after chroot.',
            `log 127.0.0.1:514 ${facility} info`,
          ]
        : []),
      ...(server === undefined ? [] : [`log ${server.address}:${String(server.port)} ${facility} info`]),
    ],
    [
      '# For people and airbundle: root and group haproxy only.',
      `stats socket ${path.haproxySocket} mode 660 user root group haproxy level admin expose-fd listeners`,
      "# For keepalived's check script: this host only, and it can change nothing.",
      `stats socket ipv4@127.0.0.1:${String(site.haproxy.checkPort)} level user`,
      'stats maxconn 50',
      'stats timeout 30s',
    ],
    [
      `maxconn ${String(site.haproxy.maxConnections)}`,
      '# After a reload, the old process may finish its streams for so long.',
      `hard-stop-after ${site.haproxy.hardStopAfter}`,
    ],
    tls ? ['ssl-default-bind-options ssl-min-ver TLSv1.2', 'tune.ssl.default-dh-param 2048'] : [],
  ];
}

function defaultParts(site: Site, logs: boolean): Part[] {
  return [
    [
      ...(logs
        ? ['log global', '# Port scanners and monitors connect and say nothing.', 'option dontlognull']
        : []),
    ],
    [
      '# A backend that does not take a connection: the next one is tried at once.',
      'option redispatch 1',
      'retries 2',
    ],
    [
      '# For local additions; every service below says its own.',
      'timeout connect 5s',
      'timeout client 1m',
      'timeout server 1m',
      '# A health check that gets no answer, or none that fits, ends after this.',
      'timeout check 2s',
    ],
    [`maxconn ${String(site.haproxy.maxConnections)}`],
  ];
}

function renderService(service: Service, node: SiteNode, logs: boolean): string {
  return (
    `# ${titleOf(service, node)}\n` +
    section(`listen ${service.name}`, [
      modeLines(service, logs),
      bindLines(service, node),
      balanceLines(service),
      timeoutLines(service),
      retryLines(service),
      checkLines(service.check, service),
      serverLines(service),
    ])
  );
}

const SPOKEN = { grpc: 'gRPC', http: 'HTTP', tcp: 'TCP' } as const;

function titleOf({ name, protocol, tls, bind, port }: Service, node: SiteNode): string {
  return `${name}: ${SPOKEN[protocol]}${tls === undefined ? '' : ' over TLS'} on ${bindOn(bind, node)}:${String(port)}`;
}

function modeLines({ protocol, tls }: Service, logs: boolean): Part {
  const mode = protocol === 'tcp' ? 'tcp' : 'http';
  return [
    `mode ${mode}`,
    ...(logs ? [`option ${mode}log`] : []),
    ...(protocol === 'http'
      ? ['# Backends see the address of the client in X-Forwarded-For.', 'option forwardfor']
      : []),
    ...(protocol === 'http' && tls !== undefined ? ['http-request set-header X-Forwarded-Proto https'] : []),
  ];
}

function bindLines(service: Service, node: SiteNode): Part {
  const { bind, port, protocol, tls, maxConnections } = service;
  return [
    ...(protocol === 'grpc'
      ? ['# HTTP/2 on both sides: the calls of one connection are spread over the backends.']
      : []),
    `bind ${bindOn(bind, node)}:${String(port)}${tlsOptions(tls)}${alpnOf(protocol, tls)}`,
    ...(maxConnections === undefined ? [] : [`maxconn ${String(maxConnections)}`]),
  ];
}

function tlsOptions(tls: Tls | undefined): string {
  return tls === undefined ? '' : ` ssl crt ${tls.certificate}`;
}

function alpnOf(protocol: Service['protocol'], tls: Tls | undefined): string {
  if (protocol === 'grpc') return `${tls === undefined ? '' : ' alpn h2'} proto h2`;
  return protocol === 'http' && tls !== undefined ? ' alpn h2,http/1.1' : '';
}

const BALANCED = {
  roundrobin: 'In turn, by weight.',
  leastconn: 'To the backend with the fewest calls: they last differently long.',
  source: 'The same client comes to the same backend, as long as the backends stay the same.',
} as const;

function balanceLines({ balance, backends }: Service): Part {
  const several = backends.filter(({ backup }) => backup).length > 1;
  return [
    `# ${BALANCED[balance]}`,
    `balance ${balance}`,
    ...(several
      ? ['# All backup backends help out together, not only the first of them.', 'option allbackups']
      : []),
  ];
}

function timeoutLines({ protocol, timeouts }: Service): Part {
  const { connect, queue, client, server } = timeouts;
  return [
    `timeout connect ${connect}`,
    `timeout queue ${queue}`,
    ...(protocol === 'grpc'
      ? [
          '# A stream may be silent for long: the voice is still computed, or the caller listens. After so much',
          '# silence haproxy cuts it, whatever the deadline of the call ("timeout tunnel" does not count here).',
        ]
      : ['# So much silence ends a connection.']),
    `timeout client ${client}`,
    `timeout server ${server}`,
    ...(protocol === 'http'
      ? ['# A client that does not come to the end of its request.', 'timeout http-request 30s']
      : []),
  ];
}

function retryLines({ idempotent }: Service): Part {
  return idempotent
    ? [
        '# A backend that dies without an answer: the call is sent to another one. Only safe because a',
        '# repeated call does no harm (idempotent in the site file).',
        'retry-on conn-failure empty-response',
      ]
    : [];
}

function checkLines(check: HealthCheck, { name, protocol }: Service): Part {
  switch (check.kind) {
    case 'grpc':
      return [
        '# Up: answers a gRPC call. Without the host header a gRPC server resets the stream.',
        'option httpchk',
        `http-check send meth POST uri /grpc.health.v1.Health/Check hdr host ${check.host ?? name} hdr content-type application/grpc hdr te trailers`,
        'http-check expect status 200',
      ];
    case 'grpc-serving':
      return [
        `# Up: grpc.health.v1.Health/Check says SERVING${check.service === undefined ? '' : ` for ${check.service}`}. gRPC answers HTTP 200`,
        '# for NOT_SERVING too, so the bytes of the one HTTP/2 exchange are compared.',
        'option tcp-check',
        // Said explicitly, the connection does not take the server line's proto h2; haproxy 2.3.0's
        // worker dies of a segmentation fault otherwise.
        'tcp-check connect',
        `tcp-check send-binary ${grpcHealthRequest(check.host ?? name, check.service ?? '')}`,
        `tcp-check expect binary ${GRPC_SERVING}`,
      ];
    case 'http':
      return [
        `# Up: ${check.status === undefined ? '2xx or 3xx' : String(check.status)} for GET ${check.path}.`,
        'option httpchk',
        // Said explicitly, the connection does not take the server line's proto h2.
        ...(protocol === 'grpc'
          ? [
              '# Over HTTP/1, which pages for probes speak, though the calls are HTTP/2.',
              `http-check connect${check.port === undefined ? '' : ` port ${String(check.port)}`}`,
            ]
          : []),
        `http-check send meth GET uri ${check.path} ver HTTP/1.1 hdr host ${check.host ?? name} hdr connection close`,
        ...(check.status === undefined ? [] : [`http-check expect status ${String(check.status)}`]),
      ];
    case 'tcp':
      return ['# Up: takes a connection.'];
    case 'none':
      return [
        `# Backends are not checked: a dead one gets its share of ${protocol === 'tcp' ? 'connections' : 'calls'}.`,
      ];
  }
}

function serverLines(service: Service): Part {
  return service.backends.map((backend) => `server ${serverWords(backend, service).join(' ')}`);
}

function serverWords(backend: Backend, { protocol, check, slowStart }: Service): string[] {
  const { name, address, port, weight, maxConnections, backup } = backend;
  return [
    name,
    `${address}:${String(port)}`,
    ...(protocol === 'grpc' ? ['proto h2'] : []),
    ...serverCheck(check),
    ...(weight === undefined ? [] : [`weight ${String(weight)}`]),
    ...(maxConnections === undefined ? [] : [`maxconn ${String(maxConnections)}`]),
    ...(slowStart === undefined ? [] : [`slowstart ${slowStart}`]),
    ...(backup ? ['backup'] : []),
  ];
}

function serverCheck(check: HealthCheck): string[] {
  if (check.kind === 'none') return [];
  return [
    'check',
    ...(check.port === undefined ? [] : [`port ${String(check.port)}`]),
    `inter ${check.interval} rise ${String(check.rise)} fall ${String(check.fall)}`,
  ];
}

function renderStats(page: StatsPage, node: SiteNode, password: string, logs: boolean): string {
  const address = bindOn(page.bind, node);
  const shown = address === '*' ? addressOf(node.address) : address;
  return (
    `# For people: ${page.tls === undefined ? 'http' : 'https'}://${shown}:${String(page.port)}/, to look at only.\n` +
    section(`frontend ${STATS_PROXY}`, [
      [
        'mode http',
        `bind ${address}:${String(page.port)}${tlsOptions(page.tls)}${alpnOf('http', page.tls)}`,
        'maxconn 20',
        'timeout client 30s',
        'timeout http-request 10s',
      ],
      logs
        ? [
            'option httplog',
            '# The page asks for itself again and again: only what goes wrong is logged.',
            'option dontlog-normal',
          ]
        : [],
      [
        'stats enable',
        'stats uri /',
        `stats refresh ${page.refresh}`,
        'stats show-node',
        'stats hide-version',
        `stats auth ${page.user}:${password}`,
      ],
    ])
  );
}

function section(title: string, parts: readonly Part[]): string {
  const body = parts
    .filter((part) => part.length > 0)
    .map((part) => part.map((line) => `    ${line}\n`).join(''));
  return `${title}\n${body.join('\n')}`;
}
