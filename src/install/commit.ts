import { createHash } from 'node:crypto';
import type { Configuration } from '../configure/index.js';
import { BundleError, EXIT, stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';
import { formatNevra } from '../model/nevra.js';
import type { Applied } from './apply.js';
import { droppedNow } from './dropped.js';
import { raiseFloor } from './floor.js';
import type { Plan } from './plan.js';
import type { Facts } from './probe.js';
import type { InstalledFile, Receipt, Watched } from './receipt.js';
import { readReceipt, recipeOf, writeReceipt } from './receipt.js';
import { installedPackages } from './rpm.js';
import { runningOf } from './running.js';
import { systemError } from './system-error.js';
import type { Verified } from './trust.js';
import { writeUndoRecord } from './undo-record.js';
import { unitsBefore } from './units-before.js';
import type { Unsettled } from './unsettled.js';

/** What one run did, and on what. */
export interface CommitInput {
  readonly runId: string;
  /** What unfinished runs left, which this one took over. */
  readonly unsettled: Unsettled;
  readonly date: Date;
  readonly verified: Verified;
  readonly contents: Contents;
  readonly plan: Plan;
  readonly facts: Facts;
  readonly applied: Applied;
  readonly receipt: Receipt | undefined;
  readonly siteDigest: Sha256 | null;
  readonly configuration: Configuration;
}

/** The components of the bundle that this run does not build. */
function keptComponents(contents: Contents, plan: Plan): Set<string> {
  const rebuilt = new Set(
    plan.steps.flatMap((step) => (step.kind === 'build' ? step.jobs.map((job) => job.component.name) : [])),
  );
  return new Set(contents.components.map(({ name }) => name).filter((name) => !rebuilt.has(name)));
}

/** What was built, in this run and before it, of the bundle's components. @param placed in this run */
export function installedFiles(
  { contents, plan, receipt }: Pick<CommitInput, 'contents' | 'plan' | 'receipt'>,
  placed: readonly InstalledFile[],
): InstalledFile[] {
  const kept = keptComponents(contents, plan);
  return [...(receipt?.files.filter((file) => kept.has(file.component)) ?? []), ...placed];
}

function configuredFiles({ files }: Configuration): InstalledFile[] {
  return files.map(({ component, path, mode, content }) => ({
    component,
    path,
    mode,
    sha256: Sha256.parse(createHash('sha256').update(content).digest('hex')),
  }));
}

function watchedOf({ services, status }: Configuration): Watched {
  return {
    units: services.map((service) => service.unit),
    versions: status.versions.map(({ component, label, argv }) => ({ component, label, argv: [...argv] })),
    vips: status.vips.map((vip) => ({ ...vip })),
    sockets: status.sockets.map((socket) => ({ ...socket })),
  };
}

/** As an unbroken run would have found it: without what unfinished runs had put in by then. */
function countBefore({ facts, unsettled }: CommitInput): number {
  const there = new Set(facts.installed.map(formatNevra));
  const { added, replaced } = unsettled.packageChanges;
  // An rpm that was killed between the versions of a package leaves both.
  const twice = replaced.filter(({ from, to }) => there.has(from) && there.has(to));
  return facts.installed.length - added.filter((nevra) => there.has(nevra)).length - twice.length;
}

/**
 * Writes how to go back, raises the sequence floor, then the receipt: from here on this bundle is what is installed.
 * What it throws leaves the receipt as it was.
 */
export async function commit(host: Host, input: CommitInput): Promise<Receipt> {
  const { verified, contents, plan, applied, receipt } = input;
  const kept = keptComponents(contents, plan);
  const sameBundle = receipt?.digest === verified.digest ? receipt.rpms : undefined;
  const files = installedFiles(input, applied.files);
  const links = [...(receipt?.links.filter((link) => kept.has(link.component)) ?? []), ...applied.links];
  const configured = configuredFiles(input.configuration);
  const dropped = await droppedNow(host, receipt, [...files, ...links, ...configured]);
  const written: Receipt = {
    airbundleReceipt: 1,
    run: input.runId,
    digest: verified.digest,
    keyId: verified.signedBy.keyId,
    committedAt: input.date.toISOString(),
    node: plan.node,
    siteDigest: input.siteDigest,
    contents,
    recipes: Object.fromEntries(
      contents.components.map((component) => [component.name, recipeOf(component)]),
    ),
    files,
    configured,
    ...(dropped.length === 0 ? {} : { dropped }),
    watched: watchedOf(input.configuration),
    links,
    rpms: {
      absent: plan.leftOut.map((rpm) => formatNevra(rpm.nevra)),
      pending: plan.steps.flatMap((step) => (step.kind === 'erase' ? step.packages : [])),
      before: sameBundle?.before ?? countBefore(input),
      after: (await installedPackages(host)).length,
      installed: [
        ...new Set([
          ...(sameBundle?.installed ?? []),
          ...applied.packages.added,
          ...applied.packages.replaced.map(({ to }) => to),
        ]),
      ],
    },
  };
  await writeUndoRecord(host, {
    airbundleUndo: 1,
    run: input.runId,
    committedAt: written.committedAt,
    bundle: `${contents.name} ${contents.version}`,
    from: receipt?.digest ?? null,
    to: verified.digest,
    displaced: [...applied.displaced],
    made: [...applied.made],
    packages: { added: [...applied.packages.added], replaced: [...applied.packages.replaced] },
    accounts: [...applied.accounts],
    units: [...unitsBefore(input).values()],
    running: runningOf(input.configuration),
    receipt: receipt ?? null,
  });
  const { name, sequence } = contents;
  const floorBefore = await host.read(target.floor);
  try {
    await raiseFloor(host, receipt, name, { sequence, digest: verified.digest });
    await writeReceipt(host, written);
  } catch (error) {
    if (await isCommitted(host, input.runId)) return written;
    throw await withFloorBack(host, error, floorBefore);
  }
  return written;
}

/** The receipt was renamed into its place, and what failed came behind that: what runs is what it names. */
async function isCommitted(host: Host, runId: string): Promise<boolean> {
  return (await readReceipt(host).catch(() => undefined))?.run === runId;
}

/** The release is not committed: what is installed must not count as older than it. */
async function withFloorBack(host: Host, cause: unknown, before: Buffer | undefined): Promise<unknown> {
  try {
    if (before === undefined) await host.remove(target.floor);
    else await host.writeDurable(target.floor, before, { mode: 0o600 });
    return cause;
  } catch (problem) {
    const error = systemError(cause, 'step commit', EXIT.stepFailed);
    if (!(error instanceof BundleError)) return error;
    const { code, message, where = 'step commit', details, hint } = error;
    const told = problem instanceof Error ? problem.message : String(problem);
    return stepError({
      code,
      message,
      where,
      details: [
        ...details,
        `not undone: ${target.floor} could not be put back (${told}); until this release is installed, the one before it is refused as older`,
      ],
      ...(hint === undefined ? {} : { hint }),
      cause,
    });
  }
}
