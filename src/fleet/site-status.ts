import type { NodeView } from '../model/cluster.js';
import { holdersOf } from '../model/cluster.js';
import type { Finding } from '../model/diagnosis.js';
import { diagnose, findingInWords } from '../model/diagnosis.js';
import { inStep } from '../report.js';
import type { Cluster } from './cluster.js';
import { isHeldOnce, lookAtAll, tryFromOutside } from './cluster.js';
import { until } from './clock.js';
import { releaseOf, table } from './report-rollout.js';

export interface SiteStatus {
  readonly site: string;
  readonly vips: readonly {
    readonly name: string;
    readonly address: string;
    readonly holders: readonly string[];
    /** From where this runs; null: it was not tried. */
    readonly answers: boolean | null;
  }[];
  readonly nodes: readonly NodeView[];
  readonly findings: readonly Finding[];
}

const STEADY_MS = 5000;
const EVERY_MS = 1000;

/** All nodes side by side. A failover that is just going on is waited for; what stays is told. */
export async function readSiteStatus(cluster: Cluster): Promise<SiteStatus> {
  const { site, clock, agents } = cluster;
  const { answer: views } = await inStep(
    cluster.reporter,
    'look',
    `look at ${agents.map(({ name }) => name).join(', ')}`,
    () =>
      until(
        clock,
        { timeoutMs: STEADY_MS, everyMs: EVERY_MS },
        () => lookAtAll(cluster),
        (seen) => isHeldOnce(site, seen) || seen.every(({ status }) => status === null),
      ),
  );
  const outside = await tryFromOutside(cluster);
  return {
    site: site.name,
    vips: site.vips.map((vip) => ({
      name: vip.name,
      address: vip.address,
      holders: holdersOf(vip, views),
      answers: outside.get(vip.address) ?? null,
    })),
    nodes: views,
    findings: diagnose({ site, views, outside }),
  };
}

export function renderSiteStatus({ site, vips, nodes, findings }: SiteStatus): string {
  const names = nodes.map(({ node }) => node);
  return [
    `site ${site}`,
    ...table([
      ['', ...names],
      ['release', ...nodes.map((view) => releaseOf(view))],
      ['keepalived', ...nodes.map(({ status }) => status?.vrrp?.keepalived ?? '-')],
      ['other services', ...nodes.map(otherServices)],
      ['backends up', ...nodes.map(backendsUp)],
      [
        'priority',
        ...nodes.map(
          ({ status }) => status?.vrrp?.instances.map((one) => String(one.priority)).join(', ') ?? '-',
        ),
      ],
      ...vips.map(({ name, address, holders }) => [
        `VIP ${name} (${address})`,
        ...names.map((node) => (holders.includes(node) ? 'held' : '-')),
      ]),
    ]).map((line) => `  ${line}`),
    ...vips
      .filter(({ answers }) => answers !== null)
      .map(
        ({ name, answers }) => `VIP ${name} ${answers === true ? 'answers' : 'does not answer'} from here`,
      ),
    ...(findings.length === 0 ? ['all is well'] : findings.flatMap(findingInWords)),
    '',
  ].join('\n');
}

function otherServices({ status }: NodeView): string {
  const others = (status?.services ?? []).filter(({ unit }) => unit !== 'keepalived.service');
  if (others.length === 0) return '-';
  return [...new Set(others.map(({ active }) => active))].join(', ');
}

function backendsUp({ status }: NodeView): string {
  const rows = status?.backends ?? [];
  return rows.length === 0
    ? '-'
    : `${String(rows.filter((row) => row.status.startsWith('UP')).length)} of ${String(rows.length)}`;
}
