import type { Host } from '../host/host.js';
import type { BackendRow } from '../configure/index.js';
import { judgeOf } from '../configure/index.js';
import { NO_FAILOVER } from '../configure/failover-view.js';
import { refusedError } from '../errors.js';
import type { NodeStatus, SecretQuestion } from '../model/node-status.js';
import { askSocket } from './checks.js';
import { stillThere } from './dropped.js';
import { readFiles, readUnits } from './probe.js';
import type { Receipt, Watched } from './receipt.js';
import { readFailover } from './failover-status.js';
import { readReceipt } from './receipt.js';
import { committedRuns } from './undo-record.js';
import { readUnsettled } from './unsettled.js';

/** Reads the node and compares it with the receipt; changes nothing. @throws BundleError exit 5 when nothing is installed */
export async function readStatus(host: Host, question?: SecretQuestion): Promise<NodeStatus> {
  const receipt = await readReceipt(host);
  if (receipt === undefined)
    throw refusedError({
      code: 'NOT_INSTALLED',
      message: 'no bundle is installed on this node',
      hint: 'See install.sh in the folder of the bundle. Status has to be asked as root.',
    });
  const { watched, contents } = receipt;
  const [units, versions, addresses, backends, drift, left, failover, past] = await Promise.all([
    readUnits(host, watched.units),
    Promise.all(
      watched.versions.map(async ({ component, argv }) => ({ component, text: await firstLine(host, argv) })),
    ),
    host.run(['ip', '-o', '-4', 'addr', 'show']).then((result) => result.stdout),
    readBackends(watched.sockets),
    findDrift(host, receipt),
    stillThere(host, receipt.dropped ?? []),
    watched.vips.length === 0 ? NO_FAILOVER : readFailover(host, question),
    readPast(host, receipt),
  ]);
  const services = watched.units.map((unit) => ({
    unit,
    active: units.get(unit)?.active ?? 'unknown',
    enabled: units.get(unit)?.enabled ?? 'unknown',
  }));
  const vips = watched.vips.map(({ name, address, interface: device }) => ({
    name,
    address,
    interface: device,
    here: addresses
      .split('\n')
      .some((line) => new RegExp(`^\\d+: ${device}\\s+inet ${address.replaceAll('.', '\\.')}/`).test(line)),
  }));
  return {
    bundle: {
      name: contents.name,
      version: contents.version,
      sequence: contents.sequence,
      digest: receipt.digest,
      keyId: receipt.keyId,
      committedAt: receipt.committedAt,
    },
    node: receipt.node,
    siteDigest: receipt.siteDigest,
    ...past,
    versions,
    services,
    vips,
    ...failover,
    backends: backends.rows,
    drift,
    left,
    problems: [
      ...services
        .filter((service) => service.active !== 'active')
        .map((service) => `${service.unit} is ${service.active}`),
      ...backends.problems,
      ...(receipt.rpms.pending.length === 0
        ? []
        : [
            `erasing ${String(receipt.rpms.pending.length)} RPMs that only the build needed was cut off: install the same bundle again`,
          ]),
      ...drift.map((path) => `${path} is not as it was installed`),
    ],
  };
}

/** What a rollback would go back to, and what was not finished. */
async function readPast(
  host: Host,
  receipt: Receipt,
): Promise<Pick<NodeStatus, 'previous' | 'canGoBack' | 'unfinished'>> {
  const [{ begun }, { records }] = await Promise.all([
    readUnsettled(host, receipt.run),
    committedRuns(host, receipt),
  ]);
  const before = records[0]?.receipt;
  return {
    previous:
      before === undefined || before === null
        ? null
        : {
            digest: before.digest,
            siteDigest: before.siteDigest,
            name: before.contents.name,
            version: before.contents.version,
          },
    canGoBack: before !== undefined,
    unfinished: begun === undefined ? null : { kind: begun.kind, run: begun.run },
  };
}

async function firstLine(host: Host, argv: readonly [string, ...string[]]): Promise<string> {
  const result = await host.run(argv, { timeoutMs: 10_000 });
  const text = `${result.stdout}\n${result.stderr}`.split('\n').find((line) => line.trim() !== '');
  return text?.trim() ?? 'does not answer';
}

/** What the services send their clients to, as they say themselves. */
async function readBackends(
  sockets: Watched['sockets'],
): Promise<{ rows: BackendRow[]; problems: string[] }> {
  const rows: BackendRow[] = [];
  const problems: string[] = [];
  for (const { path, send, judge } of sockets) {
    try {
      for (const { row, up } of judgeOf(judge).backends(await askSocket(path, send))) {
        rows.push(row);
        if (!up) problems.push(`backend ${row.proxy}/${row.server} is ${row.status}`);
      }
    } catch (error) {
      problems.push(`${path} does not answer: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { rows, problems };
}

async function findDrift(host: Host, receipt: Receipt): Promise<string[]> {
  const files = [...receipt.files, ...receipt.configured];
  const there = await readFiles(
    host,
    files.map((file) => file.path),
  );
  return files
    .filter(
      (file) => there.get(file.path)?.sha256 !== file.sha256 || there.get(file.path)?.mode !== file.mode,
    )
    .map((file) => file.path);
}

export function renderStatus(status: NodeStatus): string {
  const { bundle } = status;
  const rows = (title: string, entries: readonly (readonly string[])[]): string[] => {
    if (entries.length === 0) return [];
    const widths = (entries[0] ?? []).map((_, column) =>
      Math.max(...entries.map((entry) => (entry[column] ?? '').length)),
    );
    return [
      title,
      ...entries.map(
        (entry) =>
          `  ${entry
            .map((cell, column) => cell.padEnd(widths[column] ?? 0))
            .join('  ')
            .trimEnd()}`,
      ),
    ];
  };
  return [
    `${bundle.name} ${bundle.version} (sequence ${String(bundle.sequence)}, ${bundle.digest.slice(0, 16)}, signed by ${bundle.keyId})${status.node === null ? '' : ` on ${status.node}`}, since ${bundle.committedAt}`,
    ...rows(
      'versions',
      status.versions.map(({ component, text }) => [component, text]),
    ),
    ...rows(
      'services',
      status.services.map(({ unit, active, enabled }) => [unit, active, enabled]),
    ),
    ...rows(
      'VIPs',
      status.vips.map((vip) => [vip.name, vip.address, vip.interface, vip.here ? 'held here' : 'not here']),
    ),
    ...rows(
      'backends',
      status.backends.map((row) => [`${row.proxy}/${row.server}`, row.status, row.check]),
    ),
    ...rows(
      'left of earlier installations',
      status.left.map((path) => [path]),
    ),
    ...(status.problems.length === 0
      ? ['all is well']
      : ['problems', ...status.problems.map((problem) => `  ${problem}`)]),
    '',
  ].join('\n');
}
