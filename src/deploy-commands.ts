import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, reporterFor } from './commandline.js';
import { usageError } from './errors.js';
import { credentials } from './fleet/credentials.js';
import type { Setting } from './fleet/connect.js';
import { deploy, requireAll } from './fleet/deploy.js';
import type { NodeOutcome } from './fleet/deploy.js';
import type { Consignment } from './fleet/local-bundle.js';
import { readConsignment } from './fleet/local-bundle.js';
import type { RemoteNode } from './fleet/remote-node.js';
import { connectNode } from './fleet/remote-node.js';
import type { Host } from './host/host.js';
import type { Dial } from './host/remote.js';
import { absolute, newRunId } from './node-command.js';
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

interface DeployOptions extends CommonOptions, SshOptions {
  readonly site: string;
  readonly key?: readonly string[];
  readonly fingerprint?: readonly string[];
  readonly parallel: number;
  readonly logDir: string;
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

/** The options of every command that logs in to nodes. */
export function sshOptions(command: Command): Command {
  return command
    .option('--node <name>', 'only this node of the site (can be repeated)', collect)
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

/** `deploy`: on the jump host and on the packager's machine. */
export function deployCommand(root: Command, entry: FleetEntry): void {
  const name = root.name();
  sshOptions(
    commonOptions(root.command('deploy'))
      .description('send a bundle to the nodes of a site over SSH, and let each install it')
      .argument('<folder>', 'the folder of the bundle, with its four files')
      .requiredOption('--site <file>', 'the site file; the secrets that it names lie beside it')
      .option(
        '--key <file>',
        'the public key that signed it; without it, the keys that this machine trusts',
        collect,
      )
      .option(
        '--fingerprint <hex>',
        "the key's fingerprint, which came by another way than the medium (can be repeated)",
        collect,
      ),
  )
    .option('--parallel <number>', 'so many uploads at once', wholeNumber, 4)
    .option('--log-dir <folder>', "where each node's whole log is kept", 'airbundle-logs')
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        `  ${name} deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --key packager.pub.pem --fingerprint "1a2b 3c4d …"`,
        `  ${name} deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --user ops --host-key lb1=SHA256:…`,
        '',
        'Exit code 5: refused, no node was changed. 7: some nodes failed; the same command again goes on.',
      ].join('\n'),
    )
    .action((folder: string, options: DeployOptions) => runDeploy(folder, options, entry));
}

async function runDeploy(folder: string, options: DeployOptions, entry: FleetEntry): Promise<void> {
  const host = entry.host();
  const reporter = reporterFor(options, process.env);
  const open: RemoteNode[] = [];
  try {
    const consignment = await readConsignment(host, {
      folder: absolute(folder),
      site: absolute(options.site),
      keys: (options.key ?? []).map(absolute),
      fingerprints: options.fingerprint ?? [],
      reporter,
    });
    const logs = join(absolute(options.logDir), newRunId());
    const logOf = (node: string): string => join(logs, `${node}.log`);
    for (const node of chosenNodes(consignment.site.nodes, options)) {
      reporter.info(`log in to ${node.name}`);
      open.push(await login(node, { ...entry, options, consignment, log: logOf(node.name), reporter }));
    }
    const outcomes = await deploy(
      open,
      { consignment, flags: [], parallel: options.parallel, logOf },
      reporter,
    );
    print(outcomes, options);
    requireAll(outcomes);
  } finally {
    await Promise.all(open.map((node) => node.close()));
    reporter.close();
  }
}

interface LoginGiven extends FleetEntry {
  readonly options: SshOptions;
  readonly consignment: Consignment | undefined;
  readonly log: string | undefined;
  readonly reporter: Reporter;
}

/** One node of the site. */
interface SiteNode {
  readonly name: string;
  readonly address: string;
}

function login(node: SiteNode, given: LoginGiven): Promise<RemoteNode> {
  const { host, dial, options, consignment, log, reporter } = given;
  return connectNode({
    ...{ node, consignment, log },
    setting: { ...settingOf(host(), dial, options) },
    onLost: (name, error) => {
      reporter.warn(`${name}: ${error.message}; it is tried again`);
    },
  });
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

function chosenNodes(nodes: readonly SiteNode[], { node: names = [] }: SshOptions): readonly SiteNode[] {
  const unknown = names.find((name) => !nodes.some((node) => node.name === name));
  if (unknown !== undefined)
    throw usageError({
      code: 'UNKNOWN_NODE',
      message: `the site has no node "${unknown}"`,
      hint: `It has: ${nodes.map(({ name }) => name).join(', ')}`,
    });
  return names.length === 0 ? nodes : nodes.filter(({ name }) => names.includes(name));
}

function print(outcomes: readonly NodeOutcome[], { output }: CommonOptions): void {
  process.stdout.write(
    output === 'json'
      ? `${JSON.stringify({ nodes: outcomes }, null, 2)}\n`
      : outcomes.map(({ node, result }) => `${node}: ${result}\n`).join(''),
  );
}

function wholeNumber(text: string): number {
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
