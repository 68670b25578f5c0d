import type { ClusterSite, ClusterVip, NodeView } from './cluster.js';
import { holdersOf } from './cluster.js';
import type { NodeStatus, VrrpInstance } from './node-status.js';

/** docs/reference/commands.md, bundle status. */
export const FINDING_CODES = [
  'TWO_HOLDERS',
  'NO_HOLDER',
  'HOLDER_UNKNOWN',
  'HOLDER_WITHOUT_KEEPALIVED',
  'KEEPALIVED_DOWN',
  'VRRP_SETTINGS_DIFFER',
  'VRRP_SECRET_DIFFERS',
  'VRRP_SECRET_NOT_OURS',
  'PROTOCOL_112_CLOSED',
  'NODE_UNREACHABLE',
  'NODE_NOT_INSTALLED',
  'NODE_PROBLEM',
  'UNFINISHED_RUN',
  'RELEASES_DIFFER',
  'SITES_DIFFER',
  'CLOCK_SKEW',
] as const;
export type FindingCode = (typeof FINDING_CODES)[number];

/** One thing that is not as it should be between the nodes of a site. */
export interface Finding {
  readonly severity: 'bad' | 'notice';
  readonly code: FindingCode;
  readonly message: string;
  readonly cause: string | null;
  readonly next: string | null;
  readonly vip: string | null;
  readonly nodes: readonly string[];
}

export interface DiagnosisGiven {
  readonly site: ClusterSite;
  readonly views: readonly NodeView[];
  /** VIP → whether a service on it answers from where this runs; a VIP that was not tried is missing. */
  readonly outside?: ReadonlyMap<string, boolean>;
}

export function findingInWords({ severity, code, message, cause, next }: Finding): string[] {
  return [
    `${severity === 'bad' ? 'PROBLEM' : 'note'} [${code}] ${message}`,
    ...(cause === null ? [] : [`  likely: ${cause}`]),
    ...(next === null ? [] : [`  next: ${next}`]),
  ];
}

const KEEPALIVED = 'keepalived.service';
const MAX_SKEW_MS = 5000;

/** What is wrong between the nodes, the worst first, each with its likely cause and the next step. Pure. */
export function diagnose(given: DiagnosisGiven): Finding[] {
  const settings = differentSettings(given);
  const findings = [
    ...given.site.vips.flatMap((vip) => holderFindings(vip, given, settings)),
    ...settings,
    ...given.views.flatMap((view) => nodeFindings(view, given)),
    ...differentReleases(given.views),
    ...differentSites(given.views),
  ];
  const rank = { bad: 0, notice: 1 } as const;
  return findings.sort((one, other) => rank[one.severity] - rank[other.severity]);
}

/** A finding, with what is known of it. */
export const made = (
  severity: Finding['severity'],
  code: FindingCode,
  message: string,
  more: Partial<Omit<Finding, 'severity' | 'code' | 'message'>> = {},
): Finding => ({ severity, code, message, cause: null, next: null, vip: null, nodes: [], ...more });

const isUp = ({ status }: NodeView): boolean => status?.vrrp?.keepalived === 'active';

function holderFindings(vip: ClusterVip, given: DiagnosisGiven, settings: readonly Finding[]): Finding[] {
  const holders = holdersOf(vip, given.views);
  if (holders.length > 1) return [twoHolders(vip, holders, given, settings)];
  return holders.length === 0 ? noHolder(vip, given) : deadHolder(vip, holders[0] ?? '', given);
}

function twoHolders(
  vip: ClusterVip,
  holders: readonly string[],
  { views }: DiagnosisGiven,
  settings: readonly Finding[],
): Finding {
  const found = made('bad', 'TWO_HOLDERS', `${named(vip)} is held by ${list(holders)} at the same time`, {
    vip: vip.name,
    nodes: holders,
  });
  const holding = views.filter(({ node }) => holders.includes(node));
  const dead = holding.filter(({ status }) => status !== null && status.vrrp?.keepalived !== 'active');
  if (dead.length > 0) {
    const names = list(dead.map(({ node }) => node));
    return {
      ...found,
      cause: `keepalived does not run on ${names}, and the address was left behind there`,
      next: `on ${names}: systemctl start keepalived (it takes the address over or away)`,
    };
  }
  const concerned = settings.filter(
    ({ nodes, severity }) => severity === 'bad' && holders.some((name) => nodes.includes(name)),
  );
  if (concerned.length > 0)
    return {
      ...found,
      cause: `their VRRP settings differ, so each takes no notice of the other: ${concerned.map(({ message }) => message).join('; ')}`,
      next: 'give both the same settings: run the installation again with the same site file on every node',
    };
  const closed = holding.filter(({ status }) => status?.vrrp?.protocol112.state === 'closed');
  if (closed.length > 0)
    return {
      ...found,
      cause: `IP protocol 112 (VRRP) is not let in on ${list(closed.map(({ node }) => node))}: ${closed[0]?.status?.vrrp?.protocol112.because ?? ''}`,
      next: openFirewall(closed),
    };
  return {
    ...found,
    cause:
      'their settings are the same and keepalived runs on each, so the adverts do not arrive: IP protocol 112 (VRRP) is filtered between them (host firewall, switch, hypervisor), or they are not in the same network',
    next: `on ${list(holders)}: tcpdump -ni any ip proto 112 (each has to see the adverts of the other)`,
  };
}

function openFirewall(closed: readonly NodeView[]): string {
  const firewalld = closed.some(({ status }) => status?.vrrp?.protocol112.firewalld === 'active');
  const where = `on ${list(closed.map(({ node }) => node))}: `;
  return firewalld
    ? `${where}firewall-cmd --permanent --add-rich-rule='rule protocol value="vrrp" accept'; firewall-cmd --reload`
    : `${where}iptables -I INPUT -p 112 -s PEER -j ACCEPT, and write it where iptables' rules are kept`;
}

function noHolder(vip: ClusterVip, { views, outside }: DiagnosisGiven): Finding[] {
  const unseen = views.filter(({ reach }) => reach !== 'answered').map(({ node }) => node);
  const running = views.filter(isUp);
  const answers = outside?.get(vip.address) === true;
  if (unseen.length > 0) {
    if (views.length === unseen.length || views.every(({ reach }) => reach !== 'unreachable')) return [];
    return [
      made(
        answers ? 'notice' : 'bad',
        'HOLDER_UNKNOWN',
        `no node that could be asked holds ${named(vip)}; ${list(unseen)} could not be asked`,
        {
          vip: vip.name,
          nodes: unseen,
          cause: answers
            ? `it answers from here, so ${unseen.length === 1 ? (unseen[0] ?? '') : 'one of these'} most likely holds it`
            : null,
          next: `make ${list(unseen)} reachable, then ask again`,
        },
      ),
    ];
  }
  if (views.every(({ status }) => status === null)) return [];
  const found = made('bad', 'NO_HOLDER', `no node holds ${named(vip)}`, { vip: vip.name });
  if (running.length === 0)
    return [
      {
        ...found,
        cause: 'keepalived runs on no node',
        next: 'on each node: systemctl start keepalived; journalctl -u keepalived',
        nodes: views.map(({ node }) => node),
      },
    ];
  const broken = running.filter(({ status }) => downUnits(status).length > 0);
  if (broken.length === running.length)
    return [
      {
        ...found,
        cause: `where keepalived runs, the service that it watches does not: ${broken.map(({ node, status }) => `${downUnits(status).join(', ')} on ${node}`).join('; ')}`,
        next: `on ${list(broken.map(({ node }) => node))}: systemctl start haproxy; journalctl -u haproxy`,
        nodes: broken.map(({ node }) => node),
      },
    ];
  return [
    {
      ...found,
      cause: 'keepalived runs; an election takes some seconds, or its check of haproxy fails',
      next: `ask again in 5 seconds; then on ${list(running.map(({ node }) => node))}: journalctl -u keepalived`,
      nodes: running.map(({ node }) => node),
    },
  ];
}

function downUnits(status: NodeStatus | null): string[] {
  return (status?.services ?? [])
    .filter(({ unit, active }) => unit !== KEEPALIVED && active !== 'active')
    .map(({ unit, active }) => `${unit} is ${active}`);
}

function deadHolder(vip: ClusterVip, holder: string, { views }: DiagnosisGiven): Finding[] {
  const view = views.find(({ node }) => node === holder);
  if (view === undefined || view.status === null || isUp(view)) return [];
  return [
    made(
      'bad',
      'HOLDER_WITHOUT_KEEPALIVED',
      `${holder} holds ${named(vip)}, but keepalived does not run there`,
      {
        vip: vip.name,
        nodes: [holder],
        cause: 'the address was left behind: nobody takes it over, and nobody gives it up',
        next: `on ${holder}: systemctl start keepalived; journalctl -u keepalived`,
      },
    ),
  ];
}

/** What the other nodes have to agree on, in keepalived's own words. */
const COMPARED: readonly (readonly [string, (instance: VrrpInstance) => string])[] = [
  ['virtual_router_id', (one) => String(one.virtualRouterId)],
  ['advert_int', (one) => String(one.advertIntervalSeconds)],
  ['unicast_peer or multicast', (one) => one.mode],
  ['virtual_ipaddress', (one) => [...one.vips].sort().join(' ')],
  ['nopreempt', (one) => (one.preempt ? 'no' : 'yes')],
];

interface Placed {
  readonly node: string;
  readonly instance: VrrpInstance;
}

function differentSettings({ site, views }: DiagnosisGiven): Finding[] {
  const placed = views.flatMap(({ node, status }) =>
    (status?.vrrp?.instances ?? []).map((instance): Placed => ({ node, instance })),
  );
  const names = [...new Set(placed.map(({ instance }) => instance.name))];
  return [
    ...missingInstances(names, views),
    ...names.flatMap((name) => {
      const same = placed.filter(({ instance }) => instance.name === name);
      return [
        ...COMPARED.flatMap(([key, valueOf]) => differing(key, same, valueOf)),
        ...missingPeers(same, site),
      ];
    }),
    ...differentSecrets(placed),
  ];
}

function missingInstances(names: readonly string[], views: readonly NodeView[]): Finding[] {
  return views.flatMap(({ node, status }) => {
    const own = status?.vrrp?.instances.map(({ name }) => name) ?? names;
    return names
      .filter((name) => !own.includes(name))
      .map((name) =>
        made('bad', 'VRRP_SETTINGS_DIFFER', `${node} has no vrrp_instance ${name}`, {
          nodes: [node],
          next: 'run the installation again with the same site file on every node',
        }),
      );
  });
}

function differing(
  key: string,
  placed: readonly Placed[],
  valueOf: (instance: VrrpInstance) => string,
): Finding[] {
  if (new Set(placed.map(({ instance }) => valueOf(instance))).size < 2) return [];
  const values = placed.map(({ node, instance }) => `${node} ${valueOf(instance)}`).join(', ');
  return [
    made('bad', 'VRRP_SETTINGS_DIFFER', `${key} differs: ${values}`, {
      nodes: placed.map(({ node }) => node),
      cause: 'a file was changed by hand, or the nodes were installed with different site files',
      next: 'run the installation again with the same site file on every node',
    }),
  ];
}

function missingPeers(placed: readonly Placed[], site: ClusterSite): Finding[] {
  return placed
    .filter(({ instance }) => instance.mode === 'unicast')
    .flatMap(({ node, instance }) => {
      const missing = site.nodes
        .filter(({ name }) => name !== node && placed.some((other) => other.node === name))
        .filter(({ address }) => !instance.peers.includes(address));
      return missing.map(({ name, address }) =>
        made('bad', 'VRRP_SETTINGS_DIFFER', `unicast_peer of ${node} does not name ${name} (${address})`, {
          nodes: [node, name],
          cause: `${node} sends no adverts to ${name}, and takes none from it`,
          next: 'run the installation again with the same site file on every node',
        }),
      );
    });
}

function differentSecrets(placed: readonly Placed[]): Finding[] {
  const wrong = placed.filter(({ instance }) => ['different', 'none'].includes(instance.secret));
  const right = placed.filter(({ instance }) => instance.secret === 'same');
  if (wrong.length === 0) return [];
  const nodes = [...new Set(wrong.map(({ node }) => node))];
  const isSplit = right.length > 0;
  return [
    made(
      isSplit ? 'bad' : 'notice',
      isSplit ? 'VRRP_SECRET_DIFFERS' : 'VRRP_SECRET_NOT_OURS',
      `auth_pass on ${list(nodes)} is not the one in the site's secretFile`,
      {
        nodes: isSplit ? [...nodes, ...right.map(({ node }) => node)] : nodes,
        cause: isSplit
          ? 'a node refuses adverts with another auth_pass than its own'
          : 'every node that was asked says so: the file here is not the one that they were installed with',
        next: isSplit
          ? 'run the installation again with the same secretFile on every node'
          : 'look for the right file before the next installation: a rollout would change the secret node by node',
      },
    ),
  ];
}

function nodeFindings(view: NodeView, { views }: DiagnosisGiven): Finding[] {
  const { node, reach, words, status, clockSkewMs } = view;
  if (reach === 'unreachable')
    return [
      made('bad', 'NODE_UNREACHABLE', `${node} cannot be asked: ${words}`, {
        nodes: [node],
        next: `ssh ${node} by hand; a node that hangs may still hold a VIP`,
      }),
    ];
  if (reach === 'not asked') return [];
  if (status === null)
    return [
      made(
        'notice',
        'NODE_NOT_INSTALLED',
        words === '' ? `nothing is installed on ${node}` : `${node}: ${words}`,
        {
          nodes: [node],
        },
      ),
    ];
  const skewMs = clockSkewMs ?? 0;
  return [
    ...keepalivedDown(node, status),
    ...blocked(view, views),
    ...(status.unfinished === null
      ? []
      : [
          made(
            'bad',
            'UNFINISHED_RUN',
            `on ${node} the ${status.unfinished.kind} ${status.unfinished.run} is not finished`,
            {
              nodes: [node],
              next: 'run the same command again, or on that node: airbundle rollback',
            },
          ),
        ]),
    ...status.problems
      .filter((problem) => !problem.startsWith(KEEPALIVED))
      .map((problem) => made('notice', 'NODE_PROBLEM', `${node}: ${problem}`, { nodes: [node] })),
    ...(Math.abs(skewMs) > MAX_SKEW_MS
      ? [
          made(
            'notice',
            'CLOCK_SKEW',
            `the clock of ${node} is ${seconds(skewMs)} ${skewMs > 0 ? 'ahead' : 'behind'}`,
            {
              nodes: [node],
              next: 'see on both: chronyc tracking',
            },
          ),
        ]
      : []),
  ];
}

function keepalivedDown(node: string, { vrrp }: NodeStatus): Finding[] {
  if (vrrp === null || vrrp.keepalived === 'active') return [];
  return [
    made(
      'bad',
      'KEEPALIVED_DOWN',
      `keepalived on ${node} is ${vrrp.keepalived}: it would not take a VIP over`,
      {
        nodes: [node],
        next: `on ${node}: systemctl start keepalived; journalctl -u keepalived`,
      },
    ),
  ];
}

function blocked(view: NodeView, views: readonly NodeView[]): Finding[] {
  const filter = view.status?.vrrp?.protocol112;
  if (filter?.state !== 'closed' || views.length < 2) return [];
  return [
    made(
      'bad',
      'PROTOCOL_112_CLOSED',
      `${view.node} does not let IP protocol 112 (VRRP) in: ${filter.because}`,
      {
        nodes: [view.node],
        cause: 'without the adverts of the others it takes their VIPs as well',
        next: openFirewall([view]),
      },
    ),
  ];
}

function differentReleases(views: readonly NodeView[]): Finding[] {
  const there = views.flatMap(({ node, status }) =>
    status === null
      ? []
      : [{ node, words: `${status.bundle.name} ${status.bundle.version}`, digest: status.bundle.digest }],
  );
  if (new Set(there.map(({ digest }) => digest)).size < 2) return [];
  return [
    made(
      'notice',
      'RELEASES_DIFFER',
      `the nodes have different releases: ${there.map(({ node, words, digest }) => `${node} ${words} (${digest.slice(0, 8)})`).join(', ')}`,
      {
        nodes: there.map(({ node }) => node),
        cause: 'a rollout was stopped, or one node was installed by itself',
        next: 'run the deploy again: it goes on with the nodes that are behind',
      },
    ),
  ];
}

function differentSites(views: readonly NodeView[]): Finding[] {
  const there = views.flatMap(({ node, status }) =>
    status === null ? [] : [{ node, digest: status.siteDigest }],
  );
  if (new Set(there.map(({ digest }) => digest)).size < 2) return [];
  return [
    made(
      'notice',
      'SITES_DIFFER',
      `the nodes were installed with different site files: ${there.map(({ node, digest }) => `${node} ${digest?.slice(0, 8) ?? 'none'}`).join(', ')}`,
      {
        nodes: there.map(({ node }) => node),
        next: 'run the deploy again with the site file that is right',
      },
    ),
  ];
}

const named = (vip: ClusterVip): string => `VIP ${vip.name} (${vip.address})`;

const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names[names.length - 1] ?? ''}`;

const seconds = (ms: number): string => `${(Math.abs(ms) / 1000).toFixed(1)} s`;
