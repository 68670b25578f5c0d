import { invalidError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Nevra } from '../model/nevra.js';
import { byCodePoint } from '../model/nevra.js';
import type { Floor } from './floor.js';
import { shownDigest } from './guarded-digest.js';
import type { Inventory } from './inventory-schema.js';
import { InventorySchema } from './inventory-schema.js';
import { readJsonFile } from './json-file.js';
import { maskPair } from './masked.js';
import type { PlanRequest, Unfinished } from './plan.js';
import type { Facts, Questions } from './probe.js';
import type { Receipt } from './receipt.js';
import type { RpmTrial } from './rpm-trial.js';

export interface InventoryRequest {
  readonly date: Date;
  readonly bundle: Inventory['bundle'];
  readonly node: string | null;
  readonly siteDigest: Inventory['siteDigest'];
  readonly asked: Questions;
  readonly facts: Facts;
  readonly configuration: PlanRequest['configuration'];
  readonly secrets: readonly string[];
  readonly trust: Inventory['trust'];
  readonly floor: Floor;
  readonly receipt: PlanRequest['receipt'];
  readonly unsettled: PlanRequest['unsettled'];
  /** NEVRAs that runs since the last committed one added. */
  readonly addedBefore: readonly string[];
  readonly lacking: ReadonlySet<string> | undefined;
  readonly trial: RpmTrial | undefined;
}

/** Facts as a document that may leave the node. Pure. */
export function inventoryOf(request: InventoryRequest): Inventory {
  const { asked, receipt, unsettled, trial } = request;
  return {
    'airbundle-inventory': 1,
    takenAt: request.date.toISOString(),
    bundle: request.bundle,
    node: request.node,
    siteDigest: request.siteDigest,
    asked: {
      files: [...asked.files],
      links: [...asked.links],
      directories: [...asked.directories],
      parents: [...asked.parents],
      present: [...asked.present],
      texts: [...asked.texts],
      sysctl: [...asked.sysctl],
      units: [...asked.units],
      owners: [...asked.owners],
      accounts: [...asked.accounts],
    },
    facts: writtenFacts(request),
    trust: request.trust,
    floor: Object.fromEntries(request.floor),
    // A digest of a whole configuration file would let a secret in it be guessed.
    receipt: receipt === undefined ? null : { ...receipt, configured: [], dropped: configuredPaths(receipt) },
    unsettled: {
      begun: unsettled.begun !== undefined,
      packages: [...unsettled.packages],
      displaced: unsettled.displaced.map(({ path }) => path),
      added: [...request.addedBefore],
    },
    lacking: request.lacking === undefined ? null : [...request.lacking].sort(),
    rpmTest:
      trial === undefined
        ? null
        : {
            packages: [...trial.packages],
            problems: [...trial.problems],
            obsoletes: [...trial.obsoletes],
          },
  };
}

/** What a plan may call left behind: paths, without the digests. */
function configuredPaths({ configured, dropped = [] }: Receipt): string[] {
  return [...new Set([...configured.map(({ path }) => path), ...dropped])].sort(byCodePoint);
}

function writtenFacts({ facts, configuration, secrets }: InventoryRequest): Inventory['facts'] {
  const pairs = new Map(
    configuration.files.map((file) => [file.path, maskPair(facts.texts.get(file.path), file, secrets)]),
  );
  return {
    os: { ...facts.os },
    arch: facts.arch,
    cpus: facts.cpus,
    installed: facts.installed.map(
      ({ name, epoch, version, release, arch }) => `${name} ${String(epoch)} ${version} ${release} ${arch}`,
    ),
    users: Object.fromEntries(facts.users),
    groups: Object.fromEntries(facts.groups),
    files: Object.fromEntries(
      [...facts.files].map(([path, { sha256, mode, uid, gid }]) => [
        path,
        { digest: shownDigest(path, sha256, pairs.get(path)?.masked === true), mode, uid, gid },
      ]),
    ),
    links: Object.fromEntries(facts.links),
    directories: Object.fromEntries(facts.directories),
    parents: Object.fromEntries(facts.parents),
    present: [...facts.present],
    texts: Object.fromEntries(
      [...pairs].flatMap(([path, { before }]) => (before === undefined ? [] : [[path, before]])),
    ),
    sysctl: Object.fromEntries(facts.sysctl),
    firewall: { ...facts.firewall },
    units: Object.fromEntries(facts.units),
    owners: Object.fromEntries(facts.owners),
    freeBytes: facts.freeBytes,
    mounts: facts.mounts.map(({ point, options }) => ({ point, options: [...options] })),
    noexec: [...facts.noexec],
    readOnly: [...facts.readOnly],
    listening: [...facts.listening],
    interfaces: Object.fromEntries([...facts.interfaces].map(([name, addresses]) => [name, [...addresses]])),
    additions: [...facts.additions],
    edited: [...facts.edited],
    selinux: facts.selinux,
  };
}

export function formatInventory(inventory: Inventory): string {
  return `${JSON.stringify(inventory, null, 1)}\n`;
}

/** The facts again, as far as they were written. Pure. */
export function factsOf({ facts }: Inventory): Facts {
  const map = <T>(record: Readonly<Record<string, T>>): Map<string, T> => new Map(Object.entries(record));
  return {
    ...facts,
    installed: facts.installed.map(parseInstalled),
    users: map(facts.users),
    groups: map(facts.groups),
    files: new Map(
      Object.entries(facts.files).map(([path, { digest, ...state }]) => [path, { sha256: digest, ...state }]),
    ),
    links: map(facts.links),
    directories: map(facts.directories),
    parents: map(facts.parents),
    present: new Set(facts.present),
    texts: map(facts.texts),
    sysctl: map(facts.sysctl),
    units: map(facts.units),
    owners: map(facts.owners),
    listening: new Set(facts.listening),
    interfaces: map(facts.interfaces),
    edited: new Set(facts.edited),
  };
}

function parseInstalled(line: string): Nevra {
  const [name = '', epoch = '0', version = '', release = '', arch = ''] = line.split(' ');
  return { name, epoch: Number(epoch), version, release, arch };
}

/** What a plan has to know of unfinished runs. Pure. */
export function unfinishedOf({ unsettled }: Inventory): Unfinished {
  return {
    begun: unsettled.begun ? {} : undefined,
    packages: new Set(unsettled.packages),
    displaced: unsettled.displaced.map((path) => ({ path })),
  };
}

/** Hostile inputs: five thousand packages and fifty files are a tenth of this. */
const MAX_INVENTORY_BYTES = 32 * 1024 * 1024;

const TAKE_IT_AGAIN =
  'Take it again on the node: airbundle inventory FOLDER --site site.yaml --node NAME -o NAME.json';

/** @throws BundleError exit 3 */
export async function readInventory(host: ReadHost, path: string): Promise<Inventory> {
  const read = await readJsonFile(host, path, InventorySchema, MAX_INVENTORY_BYTES);
  if (read.problem === undefined) return read.value;
  throw invalidError({
    code: 'BAD_INVENTORY',
    message: `the inventory cannot be read: ${read.problem}`,
    where: path,
    details: read.details,
    hint: TAKE_IT_AGAIN,
  });
}

const MAX_LACKING = 20;

/** What was not asked is not known to be absent. @throws BundleError exit 3 */
export function requireAnswers(inventory: Inventory, wanted: Questions, where: string): void {
  const lacking = (Object.keys(inventory.asked) as (keyof Questions)[]).flatMap((kind) => {
    const asked = inventory.asked[kind];
    if (asked === undefined) return [];
    const known = new Set(asked);
    return wanted[kind].filter((one) => !known.has(one)).map((one) => `${kind}: ${one}`);
  });
  if (lacking.length === 0) return;
  throw invalidError({
    code: 'INVENTORY_LACKS',
    message: `the node was not asked about ${String(lacking.length)} things that this plan has to know`,
    where,
    details: lacking.slice(0, MAX_LACKING),
    hint: `${TAKE_IT_AGAIN}, with this bundle and this site file.`,
  });
}
