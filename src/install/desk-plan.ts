import type { ReadHost } from '../host/host.js';
import { usageError } from '../errors.js';
import { plain } from '../model/plain.js';
import type { Reporter } from '../report.js';
import type { TrustedKey } from '../review/keys.js';
import { locate, verify } from '../review/verify.js';
import type { Inventory } from './inventory-schema.js';
import { factsOf, readInventory, requireAnswers, unfinishedOf } from './inventory.js';
import type { Plan, PlanRequest } from './plan.js';
import { chooseWay } from './needed-packages.js';
import { makePlan } from './plan.js';
import { questionsOf } from './probe.js';
import { triedPackages, withTrial } from './rpm-trial.js';
import { readSite } from './site-file.js';
import { requireSequence } from './trust.js';

export interface DeskPlanRequest {
  /** The folder of the bundle. */
  readonly directory: string;
  /** The file that the node wrote. */
  readonly inventory: string;
  readonly site: string | undefined;
  readonly node: string | undefined;
  readonly keys: readonly TrustedKey[];
  /** Without proof of who made the bundle. */
  readonly unsigned: boolean;
  readonly allow: PlanRequest['allow'] & { readonly conflicts: readonly string[] };
  readonly build: PlanRequest['build'];
  readonly reporter: Reporter;
}

/**
 * The plan of a node that is elsewhere: the same as on that node, from what it said of itself.
 * @throws BundleError exit 2–5
 */
export async function planFromInventory(host: ReadHost, request: DeskPlanRequest): Promise<Plan> {
  const inventory = await readInventory(host, request.inventory);
  const { digest, contents, signer } = await verifiedBundle(host, request, inventory);
  const receipt = inventory.receipt ?? undefined;
  const site = await readSite(host, request, contents);
  requireAnswers(
    inventory,
    questionsOf({ configuration: site.configuration, receipt, contents }),
    request.inventory,
  );
  const isolated = chooseWay(contents, request.build.way).way === 'isolated';
  const plan = makePlan({
    contents,
    digest,
    node: site.node,
    siteDigest: site.digest,
    configuration: site.configuration,
    secrets: site.secrets,
    facts: factsOf(inventory),
    receipt,
    unsettled: unfinishedOf(inventory),
    newKey: inventory.trust.trusted.length === 0 ? signer : undefined,
    unsigned: request.unsigned,
    allow: request.allow,
    build: request.build,
    runPackages: isolated && inventory.lacking !== null ? new Set(inventory.lacking) : undefined,
    addedBefore: inventory.unsettled.added,
  });
  return withWarnings(withNodesTrial(plan, inventory, request.allow.conflicts), request, inventory);
}

async function verifiedBundle(
  host: ReadHost,
  { directory, keys, unsigned, reporter }: DeskPlanRequest,
  inventory: Inventory,
) {
  const place = await locate(host, directory);
  const { digest, checksums, payload } = await verify(host, {
    place,
    keys,
    signers: 'every',
    unsigned,
    reporter,
  });
  if (digest === undefined || checksums === undefined)
    throw usageError({
      code: 'NO_FOLDER',
      message: 'a plan names the signed bundle: the folder with its checksum file is wanted',
      where: directory,
      hint: 'Give the folder that "bundle create" made.',
    });
  requireSequence(
    checksums,
    digest,
    inventory.receipt ?? undefined,
    new Map(Object.entries(inventory.floor)),
  );
  return { digest, contents: payload.contents, signer: unsigned ? undefined : keys[0] };
}

/** rpm's answer counts only for the same packages. */
function withNodesTrial(plan: Plan, { rpmTest }: Inventory, accepted: readonly string[]): Plan {
  const same = rpmTest !== null && rpmTest.packages.join('\n') === triedPackages(plan).join('\n');
  const trial = same
    ? {
        packages: rpmTest.packages,
        problems: rpmTest.problems.map(plain),
        obsoletes: rpmTest.obsoletes.map(plain),
      }
    : undefined;
  return withTrial(plan, trial, accepted);
}

function withWarnings(plan: Plan, { keys, unsigned }: DeskPlanRequest, { trust }: Inventory): Plan {
  return {
    ...plan,
    notes: [
      ...plan.notes,
      ...(unsigned ? ['NOT VERIFIED: nothing was proved about who made this bundle'] : []),
    ],
    refusals: [...plan.refusals, ...(unsigned ? [] : trustRefusals(keys, trust))],
  };
}

/** What the node's own trust store will say to these signers. */
function trustRefusals(
  keys: readonly TrustedKey[],
  { trusted, removed, signers }: Inventory['trust'],
): string[] {
  const among = (known: readonly string[]): TrustedKey[] =>
    keys.filter((key) => known.includes(key.fingerprint));
  const count = among(trusted).length;
  return [
    ...among(removed).map((key) => `the node has removed the key ${key.keyId}`),
    ...(trusted.length > 0 && count < signers
      ? [
          `the node wants ${String(signers)} of its trusted keys to have signed; ${String(count)} of those that were given here are among them`,
        ]
      : []),
  ];
}
