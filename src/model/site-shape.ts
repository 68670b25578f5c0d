import { z } from 'zod';
import { Name, TargetPath } from './grammar.js';
import { IPV4_ADDRESS, IPV4_WITH_PREFIX, isHostAddress, isNetworkOrBroadcast } from './networks.js';
import { Duration, FileName, IPV4, Port } from './scalars.js';
import { strict } from './strict.js';
import { ValueName } from './values.js';
import type { SiteValue } from './values.js';

/*
 * A site file as a person writes it: which keys there are, and the grammar of each string. Every grammar
 * is closed, so no value can start another line, quote, comment or variable in haproxy.cfg,
 * keepalived.conf, a unit or a command (docs/reference/site.md). What one key says about another is in
 * site-checks.ts.
 */

const NO_HOST = 'must be an address of a host: not 0.x, 127.x, multicast or reserved';

/** An IPv4 address that a host can have: not 0.x, loopback, multicast or reserved. */
export const HostAddress = z
  .string()
  .regex(IPV4_ADDRESS, 'must be an IPv4 address such as 10.20.0.11')
  .refine(isHostAddress, NO_HOST)
  .brand<'HostAddress'>();
export type HostAddress = z.infer<typeof HostAddress>;

/** A node's own address; with its prefix length, VIPs can be compared with its network. */
const NodeAddress = z
  .string()
  .refine(
    (text) => IPV4_ADDRESS.test(text) || IPV4_WITH_PREFIX.test(text),
    'must be an IPv4 address such as 10.20.0.11 or 10.20.0.11/24',
  )
  .refine(isHostAddress, NO_HOST)
  .refine((text) => !isNetworkOrBroadcast(text), 'is the network or broadcast address of its own prefix');

/** A VIP with its prefix length, `10.20.0.10/24`. */
const VipAddress = z
  .string()
  .regex(IPV4_WITH_PREFIX, 'must be an IPv4 address with its prefix length, such as 10.20.0.10/24')
  .refine(isHostAddress, NO_HOST)
  .refine((text) => !isNetworkOrBroadcast(text), 'is the network or broadcast address of its own prefix');

const duration = (text: string): Duration => Duration.parse(text);
const flag = () => z.boolean('must be true or false');

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
  address: NodeAddress,
  interface: Interface,
  /** primary is priority 150, secondary 100; a third node says `priority` instead. */
  role: z.enum(['primary', 'secondary'], 'must be primary or secondary').optional(),
  priority: count(1, 254).optional(),
});

const Vip = strict({
  name: Name.refine((name) => name !== NODE, 'is reserved: a bind to "node" is a bind to the node itself'),
  address: VipAddress,
  /** The node's interface when absent. */
  interface: Interface.optional(),
});

/** Scripts of the bundle that keepalived calls when a node's state changes. */
const Notify = strict({
  change: TargetPath.optional(),
  master: TargetPath.optional(),
  backup: TargetPath.optional(),
  fault: TargetPath.optional(),
});
export type Notify = z.infer<typeof Notify>;

const Vrrp = strict({
  /** Unique on the network segment: another router with the same id and secret would join in. */
  virtualRouterId: count(1, 255),
  advertIntervalSeconds: count(1, 60).default(1),
  secretFile: FileName,
  transport: z.enum(['unicast', 'multicast'], 'must be unicast or multicast').default('unicast'),
  /** true: a node with a higher priority takes the VIPs back as soon as it is well again. */
  preempt: flag().default(false),
  preemptDelaySeconds: count(1, 1000).optional(),
  notify: Notify.optional(),
});

const everyCheck = {
  interval: Duration.default(duration('2s')),
  rise: count(1, 100).default(2),
  fall: count(1, 100).default(3),
  /** The port that is asked, when it is not the backend's own. */
  port: Port.optional(),
};

export const HealthCheck = z.discriminatedUnion(
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

const Backend = strict({
  name: Name,
  address: HostAddress,
  port: Port,
  /** Its share compared with the others'; 0 gets nothing new. */
  weight: count(0, 256).optional(),
  /** Calls at a time; more of them wait for `timeouts.queue`. */
  maxConnections: count(1, 100_000).optional(),
  /** Gets calls only when every backend without this is down. */
  backup: flag().default(false),
});
export type Backend = z.infer<typeof Backend>;

const Timeouts = strict({
  connect: Duration.default(duration('5s')),
  queue: Duration.default(duration('30s')),
  client: Duration.default(duration('10m')),
  /** A silent stream is cut after this time: the longest pause of a streaming answer. */
  server: Duration.default(duration('10m')),
});
export type Timeouts = z.infer<typeof Timeouts>;

/** A bind to the address of whichever node it is. */
export const NODE = 'node';
const BIND = new RegExp(`^(?:\\*|${IPV4}|[a-z][a-z0-9]*(?:-[a-z0-9]+)*)$`);
const Bind = z
  .string()
  .regex(BIND, "must be the name or address of a VIP, node, 127.0.0.1, or '*'")
  .max(48, 'must have at most 48 characters');

/** Certificate chain and key in one PEM file, already on the node. */
const Tls = strict({ certificate: TargetPath });

const Service = strict({
  name: Name,
  bind: Bind,
  port: Port,
  protocol: z.enum(['grpc', 'http', 'tcp'], 'must be grpc, http or tcp'),
  tls: Tls.optional(),
  balance: z
    .enum(['roundrobin', 'leastconn', 'source'], 'must be roundrobin, leastconn or source')
    .default('roundrobin'),
  /** Connections at a time, of haproxy's own maxConnections. */
  maxConnections: count(1, 200_000).optional(),
  /** A backend that comes back gets its full share only after this time. */
  slowStart: Duration.optional(),
  /** A call may be sent to another backend after the first one died without an answer. */
  idempotent: flag().optional(),
  check: HealthCheck.optional(),
  timeouts: Timeouts.prefault({}),
  backends: z
    .array(Backend)
    .min(1, 'must hold at least one backend')
    .max(200, 'must hold at most 200 backends'),
});

/** A page for people, with a password. */
const Stats = strict({
  bind: Bind,
  port: Port,
  user: Name,
  passwordFile: FileName,
  tls: Tls.optional(),
  refresh: Duration.default(duration('10s')),
});

const Haproxy = strict({
  maxConnections: count(100, 200_000).default(10_000),
  /** How long an old process may finish its streams after a reload. */
  hardStopAfter: Duration.default(duration('30m')),
  /** Where haproxy answers keepalived's check script, on 127.0.0.1 only. */
  checkPort: Port.default(8404),
  stats: Stats.optional(),
});

const System = strict({
  /** net.ipv4.ip_nonlocal_bind=1: the standby can bind the VIP that it does not hold. */
  nonlocalBind: flag().default(true),
  /** net.core.somaxconn, the longest queue of connections not yet accepted; 0 leaves the node's own. */
  somaxconn: count(0, 65_535).default(4096),
  /** For which firewall the plan shows commands. */
  firewall: z
    .enum(['auto', 'firewalld', 'iptables', 'none'], 'must be auto, firewalld, iptables or none')
    .default('auto'),
});

const Log = strict({
  /** A drop-in for the node's rsyslog, /var/log/haproxy.log and its rotation. */
  rsyslog: flag().default(true),
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
export const AnyComponents = z.record(
  Name,
  z.record(
    ValueName,
    z.union(
      [z.string().max(255, 'must have at most 255 characters'), z.number()],
      'must be text or a number',
    ),
  ),
);

export const writtenSite = (components: z.ZodType<SiteComponents, SiteComponents>) =>
  strict({
    'airbundle-site': z.literal(1, 'must be 1, the version of this format'),
    name: Name,
    nodes: z.array(Node).min(1, 'must hold at least one node').max(8, 'must hold at most 8 nodes'),
    vips: z.array(Vip).max(20, 'must hold at most 20 VIPs').default([]),
    vrrp: Vrrp.optional(),
    services: z.array(Service).max(100, 'must hold at most 100 services').default([]),
    haproxy: Haproxy.prefault({}),
    system: System.prefault({}),
    log: Log.prefault({}),
    /** Values of the components whose configuration the manifest declares. */
    components: components.prefault({}),
  });
export type WrittenSite = z.infer<ReturnType<typeof writtenSite>>;
export type WrittenService = WrittenSite['services'][number];
export type WrittenNode = WrittenSite['nodes'][number];
