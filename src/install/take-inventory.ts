import { NOTHING_CONFIGURED } from '../configure/index.js';
import type { Host } from '../host/host.js';
import { Sha256 } from '../model/grammar.js';
import { inStep } from '../report.js';
import { readFloor } from './floor.js';
import type { InstallRequest, Seen } from './install.js';
import { install } from './install.js';
import type { Inventory } from './inventory-schema.js';
import { inventoryOf } from './inventory.js';
import { probe, questionsOf } from './probe.js';
import { readReceipt } from './receipt.js';
import { readSite } from './site-file.js';
import { trustStore } from './trust.js';
import { readUnsettled } from './unsettled.js';

export type TakeRequest = Omit<
  InstallRequest,
  'directory' | 'dryRun' | 'confirm' | 'observe' | 'expected'
> & {
  /** The folder of the bundle; undefined: only what is installed here is asked about. */
  readonly directory: string | undefined;
};

/**
 * What this node says of itself. With a folder it is verified and staged as for a plan, and rpm is asked.
 * Changes nothing.
 * @throws BundleError exit 2–6
 */
export async function takeInventory(host: Host, request: TakeRequest): Promise<Inventory> {
  const { directory } = request;
  return directory === undefined ? takeAlone(host, request) : takeWithBundle(host, { ...request, directory });
}

async function takeWithBundle(
  host: Host,
  request: TakeRequest & { readonly directory: string },
): Promise<Inventory> {
  let seen: Seen | undefined;
  await install(host, {
    ...request,
    dryRun: true,
    confirm: () => Promise.resolve(true),
    observe: (given) => {
      seen = given;
    },
  });
  if (seen === undefined) throw new Error('a plan was made of nothing');
  const { planned, trial, lacking } = seen;
  const { contents } = planned;
  return inventoryOf({
    ...planned,
    date: request.date(),
    bundle: { name: contents.name, version: contents.version, digest: Sha256.parse(planned.digest) },
    siteDigest: planned.siteDigest === null ? null : Sha256.parse(planned.siteDigest),
    asked: questionsOf(planned),
    secrets: planned.secrets ?? [],
    trust: await trustOf(host),
    floor: await readFloor(host, planned.receipt),
    trial,
    lacking,
  });
}

async function takeAlone(host: Host, request: TakeRequest): Promise<Inventory> {
  const receipt = await readReceipt(host);
  const contents = receipt?.contents;
  const site =
    contents === undefined || request.site === undefined
      ? { configuration: NOTHING_CONFIGURED, node: null, digest: null, secrets: [] }
      : await readSite(host, request, contents);
  const asking = { configuration: site.configuration, receipt, contents };
  const facts = await inStep(
    request.reporter,
    'probe',
    'look at this node',
    () => probe(host, asking),
    (found) => `${found.os.name} ${found.os.release}, ${String(found.installed.length)} RPMs`,
  );
  const unsettled = await readUnsettled(host, receipt?.run ?? null);
  return inventoryOf({
    date: request.date(),
    bundle: null,
    node: site.node,
    siteDigest: site.digest,
    asked: questionsOf(asking),
    facts,
    configuration: site.configuration,
    secrets: site.secrets,
    trust: await trustOf(host),
    floor: await readFloor(host, receipt),
    receipt,
    unsettled,
    addedBefore: unsettled.packageChanges.added,
    trial: undefined,
    lacking: undefined,
  });
}

async function trustOf(host: Host): Promise<Inventory['trust']> {
  const { trusted, removed, threshold } = await trustStore(host);
  const fingerprints = (keys: typeof trusted): Sha256[] => keys.map((key) => Sha256.parse(key.fingerprint));
  return { trusted: fingerprints(trusted), removed: fingerprints(removed), signers: threshold };
}
