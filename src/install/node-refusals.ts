import type { Configuration } from '../configure/types.js';
import type { Contents } from '../model/contents.js';
import { target } from '../model/layout.js';
import { addressOf, isInside, networkOf, prefixOf } from '../model/networks.js';
import type { BuildWay } from '../model/packages.js';
import { BUILD_ROOM_BYTES, rootBytes } from './cost.js';
import { folderRefusals } from './folders.js';
import type { Facts } from './probe.js';

export interface NodeRequest {
  readonly contents: Contents;
  readonly facts: Facts;
  readonly configuration: Configuration;
  /** How something is built, which needs room; undefined: nothing is. */
  readonly builds: BuildWay | undefined;
  /** --take-over: files and units of installed packages may be replaced. */
  readonly takeOver: boolean;
}

/** Why this node is not fit for the bundle as it is: one sentence each, with the cure. Pure. */
export function nodeRefusals(request: NodeRequest): string[] {
  const { contents, facts, configuration } = request;
  const refusals: string[] = [];
  if (facts.arch !== contents.target.arch)
    refusals.push(
      `this machine is ${facts.arch === '' ? 'of an unknown architecture (see: uname -m)' : facts.arch}, the bundle is for ${contents.target.arch}: take it to another node`,
    );
  if (!['centos', 'rhel'].includes(facts.os.id) || !fits(facts.os.release, contents.target.releases))
    refusals.push(
      `this is ${facts.os.name === '' ? 'an unknown system' : facts.os.name} (release ${facts.os.release}), the bundle is for EL ${contents.target.releases.join(', ')}: take it to another node, or ask the packager for one whose target.releases holds this`,
    );
  for (const point of facts.noexec)
    refusals.push(
      `${point} is mounted noexec: programs of this bundle run from there (mount -o remount,exec ${point})`,
    );
  for (const point of facts.readOnly)
    refusals.push(`${point} is mounted read-only (mount -o remount,rw ${point})`);
  const room = roomBytes(contents, request.builds);
  if (facts.freeBytes < room)
    refusals.push(`${target.state} has ${mebibytes(facts.freeBytes)} free, ${mebibytes(room)} are needed`);
  refusals.push(...configurationRefusals(configuration, facts, request.takeOver));
  return refusals;
}

function configurationRefusals(configuration: Configuration, facts: Facts, takeOver: boolean): string[] {
  const refusals: string[] = [];
  if (!takeOver) {
    for (const file of configuration.files) {
      const owner = facts.owners.get(file.path);
      if (owner !== undefined)
        refusals.push(`${file.path} belongs to the package ${owner} (--take-over replaces it)`);
    }
    for (const service of configuration.services) {
      const fragment = facts.units.get(service.unit)?.fragment ?? '';
      if (fragment.startsWith('/usr/lib/systemd/') || fragment.startsWith('/lib/systemd/'))
        refusals.push(`${service.unit} is there already, from ${fragment} (--take-over replaces it)`);
    }
  }
  for (const check of configuration.checks) {
    if (check.kind !== 'listen') continue;
    const service = configuration.services.find((entry) => entry.component === check.component);
    const ours = service !== undefined && facts.units.get(service.unit)?.active === 'active';
    const taken = [`${check.address}:${String(check.port)}`, `*:${String(check.port)}`].some((at) =>
      facts.listening.has(at),
    );
    if (taken && !ours)
      refusals.push(
        `port ${String(check.port)} on ${check.address} is taken by another program (see: ss -ltnp 'sport = :${String(check.port)}')`,
      );
  }
  const missing = configuration.required
    .filter(({ path }) => !facts.present.has(path))
    .map(({ path, what }) => `${what} is not there: put it at ${path}, mode 600, before the installation`);
  return [
    ...refusals,
    ...folderRefusals(configuration, facts),
    ...missing,
    ...addressRefusals(configuration, facts),
  ];
}

/** Addresses that this node cannot have or hold: a program would start all the same, and nobody would find it. */
function addressRefusals({ addresses, status }: Configuration, { interfaces }: Facts): string[] {
  const vips = new Set(status.vips.map((vip) => vip.address));
  const here = (name: string): readonly string[] => interfaces.get(name) ?? [];
  const foreign = addresses
    .filter(({ address, interface: on }) => !here(on).some((one) => addressOf(one) === address))
    .map(
      ({ address, interface: on, what }) =>
        `the site says that ${what} has ${address} on ${on}; here ${on} has ${here(on).join(', ') || 'no address'}: is --node right? (see: ip -4 address)`,
    );
  const outside = status.vips.flatMap(({ address, interface: on }) => {
    if (!interfaces.has(on))
      return [
        `the site puts the VIP ${address} on ${on}, which this node does not have (it has ${[...interfaces.keys()].join(', ')})`,
      ];
    const networks = here(on).filter((one) => prefixOf(one) !== undefined && !vips.has(addressOf(one)));
    return networks.length === 0 || networks.some((network) => isInside(address, network))
      ? []
      : [
          `the site puts the VIP ${address} on ${on}, where this node is in another network (${networks.map(networkOf).join(', ')}): mend the address, or say which interface is in its network`,
        ];
  });
  return [...foreign, ...outside];
}

/** "7.5" fits 7.5.1804; "7" fits every 7.x. */
function fits(release: string, releases: readonly string[]): boolean {
  return releases.some((wanted) => release === wanted || release.startsWith(`${wanted}.`));
}

function roomBytes(contents: Contents, builds: BuildWay | undefined): number {
  const payload = contents.members.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  if (builds === undefined) return 16 * 1024 * 1024;
  const root = builds === 'isolated' ? rootBytes(contents) : 0;
  return 2 * payload + BUILD_ROOM_BYTES + root;
}

function mebibytes(bytes: number): string {
  return `${String(Math.floor(bytes / 1024 / 1024))} MiB`;
}
