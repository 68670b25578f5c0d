import { BundleError, EXIT, describeError } from '../errors.js';
import type { Step } from '../report.js';
import type { Reporter } from '../report.js';
import type { Argv } from '../host/process.js';
import { lastLines } from '../host/process.js';
import type { Consignment } from './local-bundle.js';
import { inParallel } from './parallel.js';
import type { NodeState, RemoteNode } from './remote-node.js';
import type { UploadResult } from './agent.js';

export interface DeployRequest {
  readonly consignment: Consignment;
  /** What the node's own installer is given besides the folder, the site and the node. */
  readonly flags: readonly string[];
  /** So many uploads at once. */
  readonly parallel: number;
  /** Where each node's log is kept here, for messages. */
  readonly logOf: (node: string) => string;
}

export interface NodeOutcome {
  readonly node: string;
  readonly result: 'installed' | 'failed' | 'not-begun';
  /** The node's own exit code. */
  readonly exitCode?: number | null;
  readonly error?: BundleError;
}

/** Uploads to all nodes, then lets each install, one after another, up to the first that fails. */
export async function deploy(
  nodes: readonly RemoteNode[],
  request: DeployRequest,
  reporter: Reporter,
): Promise<NodeOutcome[]> {
  const uploads = await inParallel(nodes, request.parallel, (node) =>
    caught(node.name, () => uploadTo(node, reporter)),
  );
  const failed = uploads.filter((one): one is NodeOutcome => 'result' in one);
  if (failed.length > 0)
    return nodes.map(
      ({ name }) => failed.find((one) => one.node === name) ?? { node: name, result: 'not-begun' },
    );
  const outcomes: NodeOutcome[] = [];
  let stopped = false;
  for (const [index, node] of nodes.entries()) {
    const upload = uploads[index];
    const done: NodeOutcome =
      stopped || upload === undefined || 'result' in upload
        ? { node: node.name, result: 'not-begun' }
        : await caught(node.name, () => installOn(node, upload, request, reporter));
    outcomes.push(done);
    stopped ||= done.result !== 'installed';
  }
  return outcomes;
}

async function caught<T>(node: string, work: () => Promise<T>): Promise<T | NodeOutcome> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    return { node, result: 'failed', error };
  }
}

async function uploadTo(node: RemoteNode, reporter: Reporter): Promise<UploadResult> {
  const step = reporter.step(`upload-${node.name}`, `${node.name}: upload`);
  return ended(step, () =>
    node.upload(({ doneBytes, totalBytes }) => {
      step.progress({ done: doneBytes, total: totalBytes, unit: 'bytes' });
    }),
  );
}

async function ended<T>(step: Step, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work();
    step.done();
    return result;
  } catch (error) {
    step.fail(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
    throw error;
  }
}

async function installOn(
  node: RemoteNode,
  upload: UploadResult,
  { consignment, flags, logOf }: DeployRequest,
  reporter: Reporter,
): Promise<NodeOutcome> {
  const step = reporter.step(`install-${node.name}`, `${node.name}: install`);
  const argv = installArgv(node.name, upload, await node.state(), consignment, flags);
  const { exitCode, log } = await node.follow(runId(consignment), argv, (line) => {
    step.note(line);
  });
  if (exitCode === 0) {
    step.done(log.trimEnd().split('\n').pop() ?? '');
    return { node: node.name, result: 'installed', exitCode };
  }
  const error = installFailed(node.name, exitCode, log, logOf(node.name));
  step.fail(error.message);
  return { node: node.name, result: 'failed', exitCode, error };
}

/** The same for everybody who deploys this bundle: whoever comes second follows the first. */
export function runId({ stem }: Pick<Consignment, 'stem'>): string {
  return `install-${stem}`;
}

/** What the node runs; a node that trusts a key already verifies with that, and refuses another. */
export function installArgv(
  node: string,
  upload: UploadResult,
  state: NodeState,
  { key }: Pick<Consignment, 'key'>,
  flags: readonly string[],
): Argv {
  const trust = state === 'installed' ? [] : ['--key', upload.key, '--fingerprint', key.fingerprint];
  return [
    '/bin/sh',
    `${upload.folder}/install.sh`,
    ...trust,
    '--site',
    upload.site,
    '--node',
    node,
    '-y',
    ...flags,
  ];
}

function installFailed(node: string, exitCode: number | null, log: string, kept: string): BundleError {
  return new BundleError({
    code: 'NODE_FAILED',
    message:
      exitCode === null
        ? 'the installer on this node was ended before it was done'
        : `the installer on this node ended with exit code ${String(exitCode)}`,
    where: node,
    details: lastLines(
      { stdout: log, stderr: '', exitCode, signal: undefined, startError: undefined, timedOut: false },
      20,
    ),
    hint: `Its whole log: ${kept}. Mend what it says and run the same command again: nodes that are done are only looked at.`,
    exit: EXIT.someNodesFailed,
  });
}

/** One error for all that went wrong; exit 5 when no node was changed, else 7. */
export function requireAll(outcomes: readonly NodeOutcome[]): void {
  const failed = outcomes.filter(({ result }) => result === 'failed');
  if (failed.length === 0) return;
  const installed = outcomes.filter(({ result }) => result === 'installed').map(({ node }) => node);
  const begun = outcomes.some(({ exitCode }) => exitCode !== undefined);
  const untouched = outcomes.filter(({ result }) => result === 'not-begun').map(({ node }) => node);
  throw new BundleError({
    code: 'SOME_NODES_FAILED',
    message: `${failed.map(({ node }) => node).join(', ')} failed; ${installed.length === 0 ? 'no node' : installed.join(', ')} installed${untouched.length === 0 ? '' : `; ${untouched.join(', ')} not touched`}`,
    details: failed.flatMap(({ node, error }) => [
      `${node}:`,
      ...describeError(error).map((line) => `  ${line}`),
    ]),
    hint: 'Mend what is said above and run the same command again.',
    exit: begun ? EXIT.someNodesFailed : EXIT.refused,
  });
}
