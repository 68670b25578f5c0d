import { join } from 'node:path';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { folder, member, target } from '../model/layout.js';
import type { Reporter } from '../report.js';
import { inStep } from '../report.js';
import { requireSameRelease } from '../review/verify.js';
import { alone } from './alone.js';
import { raiseFloor, readFloor } from './floor.js';
import { keysFor } from './keys.js';
import { commandScript } from './plan.js';
import { readReceipt } from './receipt.js';
import { digestOf, requireDigest } from './staged.js';
import { dropLeftovers } from './tidy.js';
import type { TrustedKey, Verified } from './trust.js';
import { requireSequence, verifyChecksums } from './trust.js';
import { unpack } from './unpack.js';

export interface ToolsRequest {
  /** The folder of the bundle, or install.sh's copy of it. */
  readonly directory: string;
  readonly key: string | undefined;
  readonly fingerprint: string | undefined;
  readonly runId: string;
  readonly reporter: Reporter;
}

export interface ToolsResult {
  readonly outcome: 'installed' | 'unchanged';
  readonly bundle: string;
}

/**
 * The command and its runtime, and nothing of what the bundle carries: what a jump host needs. Nothing runs
 * here, so there is nothing to undo: the same command again puts right what a broken one left. Tools of an older
 * release of the same product do not replace newer ones.
 * @throws BundleError exit 2–5
 */
export async function installTools(host: Host, request: ToolsRequest): Promise<ToolsResult> {
  return alone(host, async () => {
    const stage = join(target.stage, request.runId);
    try {
      await dropLeftovers(host, request.directory);
      return await installLocked(host, request, stage);
    } finally {
      await host.remove(stage).catch(() => undefined);
    }
  });
}

async function installLocked(host: Host, request: ToolsRequest, stage: string): Promise<ToolsResult> {
  const { reporter } = request;
  await refuseNode(host);
  const keys = await keysFor(host, request);
  const verified = await inStep(reporter, 'verify', 'verify the signature', () =>
    verifyChecksums(host, request.directory, keys.trust),
  );
  requireSequence(verified.checksums, verified.digest, undefined, await readFloor(host, undefined));
  await host.makeDirectory(stage, { mode: 0o700 });
  const contents = await inStep(reporter, 'stage', 'copy and verify the payload', () =>
    stagePayload(host, request, verified, stage),
  );
  const bundle = `${contents.name} ${contents.version}`;
  if (!contents.members.some(({ path }) => path === member.deploy))
    throw refusedError({
      code: 'NO_TOOLS',
      message: `${bundle} carries no tools for a jump host: it was made by an older airbundle`,
      where: request.directory,
      hint: 'Ask the packager for a release that a newer "bundle create" made.',
    });
  const { name, sequence } = verified.checksums;
  await raiseFloor(host, undefined, name, { sequence, digest: verified.digest });
  const changed = await inStep(reporter, 'command', 'keep the command on this machine', () =>
    placeTools(host, contents, stage),
  );
  if (keys.isNew) await trust(host, verified.signedBy);
  return { outcome: changed || keys.isNew ? 'installed' : 'unchanged', bundle };
}

/** A node has the tools with its installation, and gets newer ones with the next one. */
async function refuseNode(host: Host): Promise<void> {
  const receipt = await readReceipt(host);
  if (receipt === undefined) return;
  throw refusedError({
    code: 'TOOLS_ON_NODE',
    message: `${receipt.contents.name} ${receipt.contents.version} is installed on this machine, and its command with it`,
    where: target.receipt,
    hint: 'Use it as it is: airbundle deploy --help. A newer one comes with the next release that is installed here.',
  });
}

async function stagePayload(
  host: Host,
  request: ToolsRequest,
  verified: Verified,
  stage: string,
): Promise<Contents> {
  const [payload] = verified.checksums.files;
  const path = join(request.directory, payload?.name ?? folder.payload(''));
  const contents = await unpack(host, path, Sha256.parse(payload?.sha256), stage);
  requireSameRelease(verified.checksums, contents, `${path}: ${member.contents}`);
  return contents;
}

/** @returns false when everything was there already */
async function placeTools(host: Host, contents: Contents, stage: string): Promise<boolean> {
  const places = [
    { from: member.runtime, to: target.runtime, mode: 0o755 },
    { from: member.installer, to: target.installer, mode: 0o644 },
    { from: member.deploy, to: target.deploy, mode: 0o644 },
  ];
  await host.makeDirectory(target.libexec, { mode: 0o755 });
  let changed = false;
  for (const { from, to, mode } of places) {
    const sha256 = digestOf(contents, from);
    if ((await host.sha256(to)) === sha256) continue;
    changed = true;
    requireDigest(from, sha256, await host.copyDurable(join(stage, from), to, { mode, sha256 }));
  }
  const script = commandScript();
  const before = (await host.read(target.command).catch(() => undefined))?.toString('utf8');
  if (before === script) return changed;
  requireOurs(before);
  await host.writeDurable(target.command, script, { mode: 0o755 });
  return true;
}

function requireOurs(before: string | undefined): void {
  if (before === undefined || before.includes('# airbundle: written by its installer.')) return;
  throw refusedError({
    code: 'TARGET_EXISTS',
    message: 'another program has this name',
    where: target.command,
    hint: `Look whose it is: rpm -qf ${target.command}. When nobody needs it, remove it and run the same command again.`,
  });
}

async function trust(host: Host, key: TrustedKey): Promise<void> {
  await host.makeDirectory(target.trust, { mode: 0o755 });
  await host.writeDurable(join(target.trust, `${key.keyId}.pem`), key.pem, { mode: 0o644 });
}
