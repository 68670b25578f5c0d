import { dirname } from 'node:path';
import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { RunResult } from '../host/process.js';
import type { NodeAgent } from './agent.js';
import type { Setting } from './connect.js';
import { linkTo } from './connect.js';
import { followRun } from './detached-run.js';
import type { Consignment } from './local-bundle.js';
import type { Patience } from './patience.js';
import { PATIENCE, throughLosses } from './patience.js';
import type { NodeShell } from './shell.js';
import { nodeShell, QUESTION_MS } from './shell.js';
import { askNode, upload } from './upload.js';

export interface RemoteNodeGiven {
  /** Its name and address in the site. */
  readonly node: { readonly name: string; readonly address: string };
  readonly setting: Setting & { readonly host: Host };
  /** What `upload` brings; undefined: this command brings nothing. */
  readonly consignment: Consignment | undefined;
  /** On this machine: everything that the node's own runs print. */
  readonly log: string | undefined;
  /** A lost connection, for whoever watches. */
  readonly onLost: (node: string, error: BundleError) => void;
  readonly patience?: Patience;
}

/** What a node says of itself before anything is sent. */
export type NodeState = 'bare' | 'installed';

export interface RemoteNode extends NodeAgent {
  /** `installed`: it trusts a key and has the command, so that --key would be refused. */
  state(): Promise<NodeState>;
}

/**
 * A node over SSH, logged in and root's rights proved. @throws BundleError for an unknown or wrong host key, a
 * refused login, no right to become root; nothing was changed then
 */
export async function connectNode(given: RemoteNodeGiven): Promise<RemoteNode> {
  const { node, setting, consignment, patience = PATIENCE } = given;
  const link = await linkTo(node, setting);
  const shell = nodeShell(link, setting.credentials);
  const lost = (error: BundleError): void => {
    given.onLost(node.name, error);
  };
  try {
    await askFacts(shell);
  } catch (error) {
    shell.close();
    throw error;
  }
  return {
    name: node.name,
    run: (argv, options = {}): Promise<RunResult> => shell.run(argv, options),
    state: () => askFacts(shell),
    async upload(onProgress) {
      if (consignment === undefined) throw new Error('there is nothing to upload');
      return throughLosses(
        patience,
        (heard) =>
          upload(setting.host, shell, consignment, (progress) => {
            heard();
            onProgress(progress);
          }),
        lost,
      );
    },
    async follow(id, argv, onLine) {
      const log = await openLog(setting.host, given.log);
      try {
        return await followRun(shell, {
          ...{ id, argv, patience, onLost: lost },
          onLine: (line) => {
            log.line(line);
            onLine(line);
          },
        });
      } finally {
        await log.close();
      }
    },
    close: () => {
      shell.close();
      return Promise.resolve();
    },
  };
}

async function askFacts(shell: NodeShell): Promise<NodeState> {
  const { stdout } = await askNode(shell, ['facts'], { timeoutMs: QUESTION_MS });
  return stdout.trim() === 'installed' ? 'installed' : 'bare';
}

interface Log {
  line(text: string): void;
  close(): Promise<void>;
}

async function openLog(host: Host, path: string | undefined): Promise<Log> {
  if (path === undefined) return { line: () => undefined, close: () => Promise.resolve() };
  await host.ensureDirectory(dirname(path)).catch((cause: unknown) => {
    throw refusedError({
      code: 'NO_LOG',
      message: 'the folder for the logs of the nodes could not be made',
      where: dirname(path),
      hint: 'Choose another one: --log-dir FOLDER',
      cause,
    });
  });
  let written: Promise<void> = Promise.resolve();
  return {
    line(text) {
      // A log that cannot be written is no reason to lose sight of the node.
      written = written.then(() => host.append(path, `${text}\n`)).catch(() => undefined);
    },
    close: () => written,
  };
}
