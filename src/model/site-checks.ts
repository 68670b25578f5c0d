import { nearest } from './nearest.js';
import { addressOf, isInside, networkOf, prefixOf } from './networks.js';
import { NODE } from './site-shape.js';
import type { WrittenNode, WrittenService, WrittenSite } from './site-shape.js';

/* What one key of a site says about another: all that would only be found out at the bank, or never. */

export interface SiteProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export const ROLE_PRIORITY = { primary: 150, secondary: 100 } as const;

/** @returns the node's VRRP priority; undefined when neither role nor priority is said */
export function priorityOf(node: WrittenNode): number | undefined {
  return node.priority ?? (node.role === undefined ? undefined : ROLE_PRIORITY[node.role]);
}

/** Every problem of the site as a whole, each with the key to which it belongs. Pure. */
export function siteProblems(site: WrittenSite): SiteProblem[] {
  return [
    ...repeatedNames(site),
    ...nodeProblems(site),
    ...vipProblems(site),
    ...vrrpProblems(site),
    ...site.services.flatMap((service, index) => serviceProblems(site, service, ['services', index])),
    ...listenerProblems(site),
  ];
}

type Path = SiteProblem['path'];

function repeatedNames({ nodes, vips, services }: WrittenSite): SiteProblem[] {
  return [
    ...repeated(['nodes'], 'name', nodes, ({ name }) => name),
    ...repeated(['nodes'], 'address', nodes, ({ address }) => addressOf(address)),
    ...repeated(['vips'], 'name', vips, ({ name }) => name),
    ...repeated(['vips'], 'address', vips, ({ address }) => addressOf(address)),
    ...repeated(['services'], 'name', services, ({ name }) => name),
    ...services.flatMap(({ backends }, index) => {
      const path = ['services', index, 'backends'];
      return [
        ...repeated(path, 'name', backends, ({ name }) => name),
        ...repeated(path, 'address', backends, ({ address, port }) => `${address}:${String(port)}`),
      ];
    }),
  ];
}

function repeated<T>(
  path: Path,
  field: string,
  entries: readonly T[],
  keyOf: (entry: T) => string,
): SiteProblem[] {
  const keys = entries.map(keyOf);
  return keys.flatMap((key, index) =>
    keys.indexOf(key) === index
      ? []
      : [{ path: [...path, index, field], message: `"${key}" is there twice` }],
  );
}

function nodeProblems({ nodes, vips }: WrittenSite): SiteProblem[] {
  const priorities = nodes.map(priorityOf);
  return nodes.flatMap((node, index) => {
    const path = ['nodes', index];
    const unsaid = node.role === undefined && node.priority === undefined;
    // Without a VIP nobody has to come first.
    if (unsaid && vips.length === 0) return [];
    if (unsaid || (node.role !== undefined && node.priority !== undefined))
      return [{ path, message: 'must say either role (primary or secondary) or priority' }];
    const first = priorities.indexOf(priorities[index]);
    if (first === index) return [];
    const field = node.role === undefined ? 'priority' : 'role';
    return [
      {
        path: [...path, field],
        message: `node "${nodes[first]?.name ?? ''}" has the same priority, ${String(priorities[index])}: two nodes that start together must not be equal`,
      },
    ];
  });
}

type WrittenVip = WrittenSite['vips'][number];

function vipProblems(site: WrittenSite): SiteProblem[] {
  return [
    ...site.vips.flatMap((vip, index) => {
      const path = ['vips', index, 'address'];
      const holder = site.nodes.find((node) => addressOf(node.address) === addressOf(vip.address));
      if (holder !== undefined)
        return [
          {
            path,
            message: `is the address of node "${holder.name}" itself; a VIP moves between the nodes and must be free`,
          },
        ];
      const problem = site.nodes.map((node) => networkProblem(vip, node)).find((one) => one !== undefined);
      return problem === undefined ? [] : [{ path, message: problem }];
    }),
    ...(site.vips.length > 0 && site.vrrp === undefined
      ? [{ path: ['vips'], message: 'needs a vrrp section: virtualRouterId and secretFile' }]
      : []),
  ];
}

/** Why a VIP cannot be on the interface of a node, as far as the site tells; the node itself tells more. */
function networkProblem(vip: WrittenVip, node: WrittenNode): string | undefined {
  if (vip.interface !== undefined && vip.interface !== node.interface) return undefined;
  const own = prefixOf(node.address);
  const wanted = prefixOf(vip.address);
  const network = own !== undefined ? node.address : `${addressOf(node.address)}/${String(wanted)}`;
  // Its own grammar has told of a VIP without a prefix.
  if (wanted === undefined || (own === undefined && wanted === 32)) return undefined;
  if (!isInside(vip.address, network))
    return `is outside of ${networkOf(network)}, the network of node "${node.name}" on ${node.interface}: nobody there would find it. Mend the address or its prefix, or say which interface is in its network`;
  if (own !== undefined && wanted !== own && wanted !== 32)
    return `has the prefix /${String(wanted)}, but the network of node "${node.name}" on ${node.interface} is ${networkOf(network)}: write /${String(own)}, or /32`;
  return undefined;
}

function vrrpProblems({ vips, vrrp, nodes }: WrittenSite): SiteProblem[] {
  if (vrrp === undefined) return [];
  const problems: SiteProblem[] = [];
  if (vips.length === 0)
    problems.push({ path: ['vrrp'], message: 'has no VIP to move: write vips, or leave vrrp out' });
  if (vrrp.preemptDelaySeconds !== undefined && !vrrp.preempt)
    problems.push({
      path: ['vrrp', 'preemptDelaySeconds'],
      message: 'has no meaning without preempt: true, because no node takes the VIPs back',
    });
  if (vrrp.notify !== undefined && Object.values(vrrp.notify).every((script) => script === undefined))
    problems.push({
      path: ['vrrp', 'notify'],
      message: 'names no script: write change, master, backup or fault, or leave notify out',
    });
  if (vrrp.transport === 'multicast')
    for (const [index, node] of nodes.entries()) {
      const first = nodes[0]?.address ?? '';
      if (prefixOf(first) !== undefined && !isInside(node.address, first))
        problems.push({
          path: ['nodes', index, 'address'],
          message: `is outside of ${networkOf(first)}: multicast adverts do not leave a network. Write transport: unicast`,
        });
    }
  return problems;
}

function serviceProblems(site: WrittenSite, service: WrittenService, path: Path): SiteProblem[] {
  return [
    ...bindProblems(site, service.bind, [...path, 'bind']),
    ...loopProblems(site, service, path),
    ...backendProblems(service, path),
    ...checkProblems(service, path),
    ...(service.protocol === 'tcp' && service.idempotent === true
      ? [
          {
            path: [...path, 'idempotent'],
            message: 'has no meaning for tcp: only a whole grpc or http call can be sent again',
          },
        ]
      : []),
    ...((service.maxConnections ?? 0) > site.haproxy.maxConnections
      ? [
          {
            path: [...path, 'maxConnections'],
            message: `is more than haproxy.maxConnections, ${String(site.haproxy.maxConnections)}, for all services together`,
          },
        ]
      : []),
    ...(service.name === STATS && site.haproxy.stats !== undefined
      ? [{ path: [...path, 'name'], message: `"${STATS}" is the name of the page of haproxy.stats` }]
      : []),
  ];
}

const LOOPBACK = '127.0.0.1';
const STATS = 'stats';

function bindProblems(site: WrittenSite, bind: string, path: Path): SiteProblem[] {
  const address = bindAddress(site, bind);
  if (address === undefined) {
    const names = site.vips.map((vip) => vip.name);
    const close = nearest(bind, names);
    return [
      {
        path,
        message: `"${bind}" is no VIP of this site${close === undefined ? '' : `; did you mean "${close}"?`} (VIPs: ${names.join(', ') || 'none'}; or 127.0.0.1, or node for its own address, or '*' for every one)`,
      },
    ];
  }
  if (site.system.nonlocalBind || !isVip(site, address)) return [];
  return [
    {
      path,
      message:
        'needs system.nonlocalBind: without it the standby node cannot bind a VIP that it does not hold',
    },
  ];
}

/** A backend where we listen ourselves would send calls round and round. */
function loopProblems(site: WrittenSite, service: WrittenService, path: Path): SiteProblem[] {
  const own = new Map(site.nodes.map((node) => [addressOf(node.address), node.name]));
  const listeners = listenersOf(site);
  return service.backends.flatMap((backend, at) => {
    const place = [...path, 'backends', at, 'address'];
    if (isVip(site, backend.address))
      return [{ path: place, message: `is a VIP of this site: it would send calls to itself` }];
    const node = own.get(backend.address);
    const taken = listeners.find(
      ({ address, port }) => port === backend.port && (address === '*' || address === NODE),
    );
    return node === undefined || taken === undefined
      ? []
      : [
          {
            path: place,
            message: `is where ${taken.by} listens on node "${node}": it would send calls to itself`,
          },
        ];
  });
}

function backendProblems({ backends, slowStart, balance, check }: WrittenService, path: Path): SiteProblem[] {
  const problems: SiteProblem[] = [];
  if (backends.every(({ backup }) => backup))
    problems.push({
      path: [...path, 'backends'],
      message: 'are all backup: at least one must serve as long as it is up',
    });
  else if (backends.every(({ backup, weight }) => backup || weight === 0))
    problems.push({
      path: [...path, 'backends'],
      message: 'have weight 0, all but backups: none would get a call',
    });
  if (slowStart !== undefined && balance === 'source')
    problems.push({
      path: [...path, 'slowStart'],
      message: 'has no effect with balance: source; use roundrobin or leastconn',
    });
  if (slowStart !== undefined && check?.kind === 'none')
    problems.push({
      path: [...path, 'slowStart'],
      message: 'needs a health check: without one no backend ever comes back',
    });
  return problems;
}

function checkProblems({ protocol, check }: WrittenService, path: Path): SiteProblem[] {
  const place = [...path, 'check', 'kind'];
  if (protocol !== 'grpc' && check?.kind.startsWith('grpc') === true)
    return [{ path: place, message: `is "${check.kind}", but the service speaks ${protocol}` }];
  if (protocol === 'grpc' && check?.kind === 'tcp')
    return [
      {
        path: place,
        message:
          'is "tcp", but haproxy 2.3.0 calls a gRPC backend down on a plain TCP check: use grpc or grpc-serving',
      },
    ];
  return [];
}

interface Listener {
  /** Of the key that says the port. */
  readonly path: Path;
  readonly address: string;
  readonly port: number;
  readonly by: string;
}

/** Everything that haproxy listens on; a bind that is no address is told elsewhere. */
function listenersOf(site: WrittenSite): Listener[] {
  const { checkPort, stats } = site.haproxy;
  const written = [
    ...site.services.map(({ name, bind, port }, index) => ({
      path: ['services', index, 'port'],
      bind,
      port,
      by: `service "${name}"`,
    })),
    ...(stats === undefined ? [] : [{ ...stats, path: ['haproxy', 'stats', 'port'], by: 'haproxy.stats' }]),
  ];
  return [
    { path: ['haproxy', 'checkPort'], address: LOOPBACK, port: checkPort, by: 'haproxy.checkPort' },
    ...written.flatMap(({ bind, ...listener }) => {
      const address = bindAddress(site, bind);
      return address === undefined ? [] : [{ ...listener, address }];
    }),
  ];
}

function listenerProblems(site: WrittenSite): SiteProblem[] {
  const listeners = listenersOf(site);
  const clashes = listeners.flatMap(({ path, address, port }, index) => {
    const clash = listeners
      .slice(0, index)
      .find(
        (other) =>
          other.port === port && (other.address === address || other.address === '*' || address === '*'),
      );
    return clash === undefined
      ? []
      : [{ path, message: `${String(port)} on ${address} is already taken by ${clash.by}` }];
  });
  const { stats } = site.haproxy;
  return [
    ...clashes,
    ...(stats === undefined ? [] : bindProblems(site, stats.bind, ['haproxy', 'stats', 'bind'])),
  ];
}

/** A VIP's address, 127.0.0.1, `*` or `node`; undefined: no such VIP. */
function bindAddress(site: WrittenSite, bind: string): string | undefined {
  if (bind === '*' || bind === LOOPBACK || bind === NODE) return bind;
  const vip = site.vips.find(({ name, address }) => name === bind || addressOf(address) === bind);
  return vip === undefined ? undefined : addressOf(vip.address);
}

function isVip(site: WrittenSite, address: string): boolean {
  return site.vips.some((vip) => addressOf(vip.address) === address);
}
