import { z } from 'zod';
import { invalidError } from '../errors.js';
import { readDocument } from './document.js';
import { Name, TargetPath } from './grammar.js';
import { nearest } from './nearest.js';
import { Duration, FileName, IPV4, Port } from './scalars.js';
import { strict } from './strict.js';
import { ValueName, valuesSchema } from './values.js';
import type { SiteValue, Values } from './values.js';

/*
 * One bank site, written by a person: which nodes hold which addresses, and what is behind them.
 * Every string has a closed grammar, so no value can start another line, quote, comment or variable
 * in haproxy.cfg, keepalived.conf, a unit or a command (docs/reference/site.md).
 */

/** An IPv4 address that a host can have: not 0.x, loopback, multicast or reserved. */
export const HostAddress = z
  .string()
  .regex(new RegExp(`^${IPV4}$`), 'must be an IPv4 address such as 10.20.0.11')
  .refine(
    (text) => isHostAddress(text),
    'must be an address of a host: not 0.x, 127.x, multicast or reserved',
  )
  .brand<'HostAddress'>();
export type HostAddress = z.infer<typeof HostAddress>;

/** A VIP with its prefix length, `10.20.0.10/24`. */
const VipAddress = z
  .string()
  .regex(
    new RegExp(`^${IPV4}/(?:[89]|[12][0-9]|3[0-2])$`),
    'must be an IPv4 address with its prefix length, such as 10.20.0.10/24',
  )
  .refine(
    (text) => isHostAddress(text.split('/')[0] ?? ''),
    'must be an address of a host: not 0.x, 127.x, multicast or reserved',
  )
  .refine((text) => !isNetworkOrBroadcast(text), 'is the network or broadcast address of its own prefix');

const duration = (text: string): Duration => Duration.parse(text);

/** A network interface as the kernel allows it (15 characters), without alias colons. */
const Interface = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_.-]{0,14}$/, 'must be a network interface such as eth0 or bond0.100');

/** An HTTP authority: host name, optional port. */
const HttpHost = z
  .string()
  .regex(
    /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,98}[A-Za-z0-9])?(?::[1-9][0-9]{0,4})?$/,
    'must be a host name such as tts.bank.example',
  );

const GrpcService = z
  .string()
  .regex(
    /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*$/,
    'must be a full gRPC service name such as maum.brain.tts.NgTtsService',
  )
  .max(100, 'must have at most 100 characters');

const HttpPath = z
  .string()
  .regex(/^\/[A-Za-z0-9._~/?=-]*$/, 'must be an absolute HTTP path of plain characters')
  .max(200, 'must have at most 200 characters');

const count = (low: number, high: number) => {
  const message = `must be a whole number from ${String(low)} to ${String(high)}`;
  return z.int(message).min(low, message).max(high, message);
};

const Node = strict({
  name: Name,
  address: HostAddress,
  interface: Interface,
  /** primary is priority 150, secondary 100; a third node says `priority` instead. */
  role: z.enum(['primary', 'secondary'], 'must be primary or secondary').optional(),
  priority: count(1, 254).optional(),
});

const Vip = strict({
  name: Name,
  address: VipAddress,
  /** The node's interface when absent. */
  interface: Interface.optional(),
});

const Vrrp = strict({
  /** Unique on the network segment: another router with the same id and secret would join in. */
  virtualRouterId: count(1, 255),
  advertIntervalSeconds: count(1, 60).default(1),
  secretFile: FileName,
});

const everyCheck = {
  interval: Duration.default(duration('2s')),
  rise: count(1, 100).default(2),
  fall: count(1, 100).default(3),
  /** The port that is asked, when it is not the backend's own. */
  port: Port.optional(),
};

const HealthCheck = z.discriminatedUnion(
  'kind',
  [
    strict({ kind: z.literal('grpc'), host: HttpHost.optional(), ...everyCheck }),
    strict({
      kind: z.literal('grpc-serving'),
      host: HttpHost.optional(),
      /** The service that must say SERVING; absent asks for the server as a whole. */
      service: GrpcService.optional(),
      ...everyCheck,
    }),
    strict({
      kind: z.literal('http'),
      path: HttpPath.default('/'),
      host: HttpHost.optional(),
      status: count(100, 599).optional(),
      ...everyCheck,
    }),
    strict({ kind: z.literal('tcp'), ...everyCheck }),
    strict({ kind: z.literal('none') }),
  ],
  'must have a kind: grpc, grpc-serving, http, tcp or none',
);
export type HealthCheck = z.infer<typeof HealthCheck>;

const Backend = strict({ name: Name, address: HostAddress, port: Port });

const Timeouts = strict({
  connect: Duration.default(duration('5s')),
  queue: Duration.default(duration('30s')),
  client: Duration.default(duration('10m')),
  /** A silent stream is cut after this time: the longest pause of a streaming answer. */
  server: Duration.default(duration('10m')),
});

const BIND = new RegExp(`^(?:\\*|${IPV4}|[a-z][a-z0-9]*(?:-[a-z0-9]+)*)$`);

const WrittenService = strict({
  name: Name,
  bind: z.string().regex(BIND, "must be the name or address of a VIP, 127.0.0.1, or '*'").max(48),
  port: Port,
  protocol: z.enum(['grpc', 'http', 'tcp'], 'must be grpc, http or tcp'),
  /** Certificate chain and key in one PEM file, already on the node. */
  tls: strict({ certificate: TargetPath }).optional(),
  balance: z
    .enum(['roundrobin', 'leastconn', 'source'], 'must be roundrobin, leastconn or source')
    .default('roundrobin'),
  /** A call may be sent to another backend after the first one died without an answer. */
  idempotent: z.boolean('must be true or false').optional(),
  check: HealthCheck.optional(),
  timeouts: Timeouts.prefault({}),
  backends: z
    .array(Backend)
    .min(1, 'must hold at least one backend')
    .max(200, 'must hold at most 200 backends'),
});

const Haproxy = strict({
  maxConnections: count(100, 200_000).default(10_000),
  /** How long an old process may finish its streams after a reload. */
  hardStopAfter: Duration.default(duration('30m')),
  /** Where haproxy answers keepalived's check script, on 127.0.0.1 only. */
  checkPort: Port.default(8404),
});

const System = strict({
  /** net.ipv4.ip_nonlocal_bind=1: the standby can bind the VIP that it does not hold. */
  nonlocalBind: z.boolean('must be true or false').default(true),
  /** net.core.somaxconn, the longest queue of connections not yet accepted; 0 leaves the node's own. */
  somaxconn: count(0, 65_535).default(4096),
});

const Log = strict({
  /** A drop-in for the node's rsyslog, /var/log/haproxy.log and its rotation. */
  rsyslog: z.boolean('must be true or false').default(true),
  /** A syslog server (UDP) as well. */
  server: strict({ address: HostAddress, port: Port.default(514) }).optional(),
  facility: z
    .enum(
      ['local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
      'must be local0 to local7',
    )
    .default('local2'),
});

/** Component → value → what the site gives for it. */
export type SiteComponents = Readonly<Record<string, Readonly<Record<string, SiteValue>>>>;

/** Without a bundle at hand: any component, any value. configure() checks them against the declarations. */
const AnyComponents = z.record(
  Name,
  z.record(
    ValueName,
    z.union(
      [z.string().max(255, 'must have at most 255 characters'), z.number()],
      'must be text or a number',
    ),
  ),
);

const writtenSite = (components: z.ZodType<SiteComponents, SiteComponents>) =>
  strict({
    'airbundle-site': z.literal(1, 'must be 1, the version of this format'),
    name: Name,
    nodes: z.array(Node).min(1, 'must hold at least one node').max(8, 'must hold at most 8 nodes'),
    vips: z.array(Vip).max(20, 'must hold at most 20 VIPs').default([]),
    vrrp: Vrrp.optional(),
    services: z.array(WrittenService).max(100, 'must hold at most 100 services').default([]),
    haproxy: Haproxy.prefault({}),
    system: System.prefault({}),
    log: Log.prefault({}),
    /** Values of the components whose configuration the manifest declares. */
    components: components.prefault({}),
  });
type WrittenSite = z.infer<ReturnType<typeof writtenSite>>;

export type Protocol = z.infer<typeof WrittenService>['protocol'];
export type Backend = z.infer<typeof Backend>;
export type Timeouts = z.infer<typeof Timeouts>;

export interface SiteNode {
  readonly name: string;
  readonly address: HostAddress;
  readonly interface: string;
  /** VRRP priority, 1 to 254. */
  readonly priority: number;
}

export interface Vip {
  readonly name: string;
  readonly address: HostAddress;
  readonly prefixLength: number;
  /** Absent: the node's own. */
  readonly interface?: string | undefined;
}

export interface Service {
  readonly name: string;
  /** Resolved: a VIP's address, 127.0.0.1, or `*`. */
  readonly bind: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly tls?: { readonly certificate: string } | undefined;
  readonly balance: 'roundrobin' | 'leastconn' | 'source';
  readonly idempotent: boolean;
  readonly check: HealthCheck;
  readonly timeouts: Timeouts;
  readonly backends: readonly Backend[];
}

export interface Site {
  readonly name: string;
  readonly nodes: readonly SiteNode[];
  readonly vips: readonly Vip[];
  readonly vrrp?: z.infer<typeof Vrrp> | undefined;
  readonly services: readonly Service[];
  readonly haproxy: z.infer<typeof Haproxy>;
  readonly system: z.infer<typeof System>;
  readonly log: z.infer<typeof Log>;
  readonly components: SiteComponents;
}

const ROLE_PRIORITY = { primary: 150, secondary: 100 } as const;

const siteSchema = (components: z.ZodType<SiteComponents, SiteComponents>) =>
  writtenSite(components)
    .superRefine((site, context) => {
      for (const problem of crossCheck(site))
        context.addIssue({ code: 'custom', path: [...problem.path], message: problem.message });
    })
    .transform(complete);

/** The schema of a site file; its output has every default filled in and every VIP name resolved. */
export const SiteSchema = siteSchema(AnyComponents);

/** The values that each component of a bundle declares; only of those with a declared configuration. */
export type DeclaredValues = ReadonlyMap<string, Values>;

/**
 * @param declared what the bundle's components take: unknown and missing values are then errors with
 *   their place; undefined where no bundle is at hand
 * @throws BundleError exit 3, with every problem of the file as `file:line:col: message`.
 */
export function parseSite(bytes: Uint8Array, file: string, declared?: DeclaredValues): Site {
  const schema: z.ZodType<Site> = declared === undefined ? SiteSchema : siteSchema(componentsOf(declared));
  return readDocument(bytes, file, schema, 'SITE_INVALID');
}

function componentsOf(declared: DeclaredValues): z.ZodType<SiteComponents, SiteComponents> {
  const sections = [...declared].map(([name, values]) => [name, valuesSchema(values).prefault({})] as const);
  return strict(Object.fromEntries(sections)) as unknown as z.ZodType<SiteComponents, SiteComponents>;
}

/** @throws BundleError exit 3 when the site has no such node. */
export function nodeOf(site: Site, name: string): SiteNode {
  const found = site.nodes.find((node) => node.name === name);
  if (found !== undefined) return found;
  const names = site.nodes.map((node) => node.name);
  const close = nearest(name, names);
  throw invalidError({
    code: 'NODE_UNKNOWN',
    message: `site "${site.name}" has no node "${printable(name)}"`,
    hint: `${close === undefined ? '' : `Did you mean --node ${close}? `}Its nodes: ${names.join(', ')}.`,
  });
}

/** 1 to 8 characters: keepalived cuts auth_pass at 8, and both nodes would still agree on a shorter secret than was meant. */
export const VrrpSecret = z
  .string()
  .regex(/^[A-Za-z0-9._+=:,/^%*?-]*$/, 'must hold only letters, digits and . _ + = : , / ^ % * ? -')
  .min(1, 'is empty')
  .max(8, 'has more than 8 characters, and VRRP would use only the first 8')
  .brand<'VrrpSecret'>();
export type VrrpSecret = z.infer<typeof VrrpSecret>;

/**
 * The content of the site's `secretFile`: the secret and at most one line end.
 * The secret never appears in the message.
 * @throws BundleError exit 3
 */
export function parseSecret(text: string, file: string): VrrpSecret {
  const parsed = VrrpSecret.safeParse(text.replace(/\r?\n$/, ''));
  if (parsed.success) return parsed.data;
  throw invalidError({
    code: 'SECRET_INVALID',
    message: `the VRRP secret ${parsed.error.issues.map((issue) => issue.message).join('; ')}`,
    where: file,
    hint: 'Write 1 to 8 characters on one line, the same file for every node.',
  });
}

/** The interface that holds a VIP on this node. */
export function vipInterface(vip: Vip, node: SiteNode): string {
  return vip.interface ?? node.interface;
}

function complete(written: WrittenSite): Site {
  const vips = written.vips.map(({ name, address, interface: on }) => ({
    name,
    address: HostAddress.parse(addressOf(address)),
    prefixLength: Number(address.split('/')[1]),
    ...(on === undefined ? {} : { interface: on }),
  }));
  return {
    name: written.name,
    nodes: written.nodes.map((node) => ({
      name: node.name,
      address: node.address,
      interface: node.interface,
      priority: priorityOf(node) ?? ROLE_PRIORITY.secondary,
    })),
    vips,
    vrrp: written.vrrp,
    services: written.services.map((service) => ({
      ...service,
      bind: vips.find((vip) => vip.name === service.bind)?.address ?? service.bind,
      idempotent: service.idempotent ?? service.protocol === 'grpc',
      check: service.check ?? HealthCheck.parse({ kind: service.protocol }),
    })),
    haproxy: written.haproxy,
    system: written.system,
    log: written.log,
    components: written.components,
  };
}

interface CrossProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

function crossCheck(site: WrittenSite): CrossProblem[] {
  return [
    ...repeatedNames(site),
    ...nodeProblems(site),
    ...vipProblems(site),
    ...site.services.flatMap((service, index) => serviceProblems(site, service, index)),
    ...bindProblems(site),
  ];
}

function repeatedNames(site: WrittenSite): CrossProblem[] {
  return [
    ...repeated(
      ['nodes'],
      'name',
      site.nodes.map((node) => node.name),
    ),
    ...repeated(
      ['nodes'],
      'address',
      site.nodes.map((node) => node.address),
    ),
    ...repeated(
      ['vips'],
      'name',
      site.vips.map((vip) => vip.name),
    ),
    ...repeated(
      ['vips'],
      'address',
      site.vips.map((vip) => addressOf(vip.address)),
    ),
    ...repeated(
      ['services'],
      'name',
      site.services.map((service) => service.name),
    ),
    ...site.services.flatMap(({ backends }, index) => {
      const path = ['services', index, 'backends'];
      return [
        ...repeated(
          path,
          'name',
          backends.map((backend) => backend.name),
        ),
        ...repeated(
          path,
          'address',
          backends.map((backend) => `${backend.address}:${String(backend.port)}`),
        ),
      ];
    }),
  ];
}

function repeated(
  path: readonly (string | number)[],
  field: string,
  values: readonly string[],
): CrossProblem[] {
  return values.flatMap((value, index) =>
    values.indexOf(value) === index
      ? []
      : [{ path: [...path, index, field], message: `"${value}" is there twice` }],
  );
}

function nodeProblems(site: WrittenSite): CrossProblem[] {
  const priorities = site.nodes.map(priorityOf);
  return site.nodes.flatMap((node, index) => {
    const path = ['nodes', index];
    const unsaid = node.role === undefined && node.priority === undefined;
    // Without a VIP nobody has to come first.
    if (unsaid && site.vips.length === 0) return [];
    if (unsaid || (node.role !== undefined && node.priority !== undefined))
      return [{ path, message: 'must say either role (primary or secondary) or priority' }];
    const first = priorities.indexOf(priorities[index]);
    if (first === index) return [];
    const field = node.role === undefined ? 'priority' : 'role';
    return [
      {
        path: [...path, field],
        message: `node "${site.nodes[first]?.name ?? ''}" has the same priority, ${String(priorities[index])}: two nodes that start together must not be equal`,
      },
    ];
  });
}

function vipProblems(site: WrittenSite): CrossProblem[] {
  const problems: CrossProblem[] = [];
  for (const [index, vip] of site.vips.entries()) {
    const holder = site.nodes.find((node) => node.address === addressOf(vip.address));
    if (holder !== undefined)
      problems.push({
        path: ['vips', index, 'address'],
        message: `is the address of node "${holder.name}" itself; a VIP moves between the nodes and must be free`,
      });
  }
  if (site.vips.length > 0 && site.vrrp === undefined)
    problems.push({ path: ['vips'], message: 'needs a vrrp section: virtualRouterId and secretFile' });
  if (site.vips.length === 0 && site.vrrp !== undefined)
    problems.push({ path: ['vrrp'], message: 'has no VIP to move: write vips, or leave vrrp out' });
  return problems;
}

type WrittenService = WrittenSite['services'][number];

function serviceProblems(site: WrittenSite, service: WrittenService, index: number): CrossProblem[] {
  const path = ['services', index];
  const problems: CrossProblem[] = [];
  const bind = bindAddress(site, service);
  if (bind === undefined) {
    const names = site.vips.map((vip) => vip.name);
    const close = nearest(service.bind, names);
    problems.push({
      path: [...path, 'bind'],
      message: `"${service.bind}" is no VIP of this site${close === undefined ? '' : `; did you mean "${close}"?`} (VIPs: ${names.join(', ') || 'none'}; or 127.0.0.1, or '*' for every address)`,
    });
  } else {
    const own = new Set<string>([
      ...site.nodes.map((node) => node.address),
      ...site.vips.map((vip) => addressOf(vip.address)),
    ]);
    for (const [at, backend] of service.backends.entries())
      if (
        backend.port === service.port &&
        (backend.address === bind || (bind === '*' && own.has(backend.address)))
      )
        problems.push({
          path: [...path, 'backends', at, 'address'],
          message: `is where service "${service.name}" itself listens: it would send calls to itself`,
        });
    if (!site.system.nonlocalBind && bind !== '*' && bind !== LOOPBACK)
      problems.push({
        path: [...path, 'bind'],
        message:
          'needs system.nonlocalBind: without it the standby node cannot bind a VIP that it does not hold',
      });
  }
  if (service.protocol !== 'grpc' && service.check?.kind.startsWith('grpc') === true)
    problems.push({
      path: [...path, 'check', 'kind'],
      message: `is "${service.check.kind}", but the service speaks ${service.protocol}`,
    });
  if (service.protocol === 'grpc' && service.check?.kind === 'tcp')
    problems.push({
      path: [...path, 'check', 'kind'],
      message:
        'is "tcp", but haproxy 2.3.0 calls a gRPC backend down on a plain TCP check: use grpc or grpc-serving',
    });
  if (service.protocol === 'tcp' && service.idempotent === true)
    problems.push({
      path: [...path, 'idempotent'],
      message: 'has no meaning for tcp: only a whole grpc or http call can be sent again',
    });
  return problems;
}

const LOOPBACK = '127.0.0.1';

function bindProblems(site: WrittenSite): CrossProblem[] {
  const taken: { readonly address: string; readonly port: number; readonly by: string }[] = [
    { address: LOOPBACK, port: site.haproxy.checkPort, by: 'haproxy.checkPort' },
  ];
  const problems: CrossProblem[] = [];
  for (const [index, service] of site.services.entries()) {
    const address = bindAddress(site, service);
    if (address === undefined) continue;
    const clash = taken.find(
      (other) =>
        other.port === service.port &&
        (other.address === address || other.address === '*' || address === '*'),
    );
    if (clash !== undefined)
      problems.push({
        path: ['services', index, 'port'],
        message: `${String(service.port)} on ${address} is already taken by ${clash.by}`,
      });
    taken.push({ address, port: service.port, by: `service "${service.name}"` });
  }
  return problems;
}

function bindAddress(site: WrittenSite, service: WrittenService): string | undefined {
  if (service.bind === '*' || service.bind === LOOPBACK) return service.bind;
  const vip = site.vips.find(
    ({ name, address }) => name === service.bind || addressOf(address) === service.bind,
  );
  return vip === undefined ? undefined : addressOf(vip.address);
}

function priorityOf(node: WrittenSite['nodes'][number]): number | undefined {
  return node.priority ?? (node.role === undefined ? undefined : ROLE_PRIORITY[node.role]);
}

const addressOf = (vip: string): string => vip.split('/')[0] ?? '';

function isHostAddress(text: string): boolean {
  const first = Number(text.split('.')[0]);
  return first !== 0 && first !== 127 && first < 224;
}

function isNetworkOrBroadcast(text: string): boolean {
  const [address = '', prefix = '32'] = text.split('/');
  const hostBits = 32 - Number(prefix);
  if (hostBits < 2) return false;
  const host = toNumber(address) % 2 ** hostBits;
  return host === 0 || host === 2 ** hostBits - 1;
}

function toNumber(address: string): number {
  return address.split('.').reduce((total, octet) => total * 256 + Number(octet), 0);
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 60);
}
