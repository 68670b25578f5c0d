import { homedir } from 'node:os';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { usageError } from './errors.js';
import { credentials } from './fleet/credentials.js';
import type { Setting } from './fleet/connect.js';
import { requireGivenIdentity } from './fleet/connect.js';
import type { Consignment } from './fleet/local-bundle.js';
import type { RemoteNode } from './fleet/remote-node.js';
import { connectNode } from './fleet/remote-node.js';
import type { Host } from './host/host.js';
import type { Dial } from './host/remote.js';
import { absolute } from './node-command.js';
import type { Reporter } from './report.js';
import { askSecret, hasTerminal } from './terminal.js';

/** What the entry knows. */
export interface FleetEntry {
  readonly host: () => Host;
  readonly dial: Dial;
}

/** How nodes are reached; the same for every command that does. */
export interface SshOptions {
  readonly node?: readonly string[];
  readonly user?: string;
  readonly port?: number;
  readonly identity?: string;
  readonly sshConfig?: string;
  readonly hostKey?: ReadonlyMap<string, string>;
}

export const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
];

/** The options of every command that logs in to nodes. */
export function sshOptions(command: Command): Command {
  return command
    .option('--user <name>', 'log in as; otherwise what the ssh configuration says')
    .option('--port <number>', 'the port of sshd; otherwise what the ssh configuration says', wholeNumber)
    .option('--identity <file>', 'this private key instead of those of the ssh configuration')
    .option('--ssh-config <file>', "this ssh configuration instead of the user's own")
    .option(
      '--host-key <node=fingerprint>',
      "the SHA256:… fingerprint of a node's host key, when ssh does not know it yet (can be repeated)",
      hostKey,
    );
}

export interface LoginGiven extends FleetEntry {
  readonly options: SshOptions;
  readonly consignment: Consignment | undefined;
  readonly log: string | undefined;
  readonly reporter: Reporter;
}

/** One node of the site. */
export interface SiteNode {
  readonly name: string;
  readonly address: string;
}

export function login(node: SiteNode, given: LoginGiven): Promise<RemoteNode> {
  const { host, dial, options, consignment, log, reporter } = given;
  return connectNode({
    ...{ node, consignment, log },
    setting: { ...settingOf(host(), dial, options) },
    onLost: (name, error) => {
      reporter.warn(`${name}: ${error.message}; it is tried again`);
    },
  });
}

/** --identity, looked at before anything is dialled. @throws BundleError exit 2 */
export async function requireUsableIdentity(
  node: SiteNode | undefined,
  { host, dial }: FleetEntry,
  options: SshOptions,
): Promise<void> {
  if (node !== undefined) await requireGivenIdentity(node, settingOf(host(), dial, options));
}

const shared = credentials(hasTerminal() ? askSecret : undefined);

function settingOf(host: Host, dial: Dial, options: SshOptions): Setting & { readonly host: Host } {
  return {
    host,
    dial,
    flags: {
      ...(options.user === undefined ? {} : { user: options.user }),
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.identity === undefined ? {} : { identity: absolute(options.identity) }),
      ...(options.sshConfig === undefined ? {} : { configFile: absolute(options.sshConfig) }),
    },
    surroundings: { home: homedir(), agentSocket: process.env['SSH_AUTH_SOCK'] },
    credentials: shared,
    hostKeys: options.hostKey ?? new Map(),
  };
}

export function chosenNodes(
  nodes: readonly SiteNode[],
  { node: names = [] }: SshOptions,
): readonly SiteNode[] {
  const unknown = names.find((name) => !nodes.some((node) => node.name === name));
  if (unknown !== undefined)
    throw usageError({
      code: 'UNKNOWN_NODE',
      message: `the site has no node "${unknown}"`,
      hint: `It has: ${nodes.map(({ name }) => name).join(', ')}`,
    });
  return names.length === 0 ? nodes : nodes.filter(({ name }) => names.includes(name));
}

export function wholeNumber(text: string): number {
  if (/^[1-9][0-9]{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not a whole number from 1 on`);
}

function hostKey(text: string, before: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> {
  const [, node, fingerprint] = /^([^=]+)=(SHA256:[A-Za-z0-9+/]{43})=?$/.exec(text) ?? [];
  if (node === undefined || fingerprint === undefined)
    throw new InvalidArgumentError(
      `"${text}" is not NODE=SHA256:… as "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" prints it there`,
    );
  return new Map([...before, [node, fingerprint]]);
}
