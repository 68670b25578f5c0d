import type { BundleError } from '../errors.js';
import { refusedError, usageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';

/** What the command line says about every connection. */
export interface SshFlags {
  readonly user?: string;
  readonly port?: number;
  readonly identity?: string;
  /** Instead of the user's own configuration. */
  readonly configFile?: string;
}

/** A host as the user's OpenSSH would reach it. */
export interface SshTarget {
  readonly hostName: string;
  readonly port: number;
  readonly user: string;
  /** What its key is looked up under. */
  readonly knownAs: string;
  readonly knownHostsFiles: readonly string[];
  readonly identityFiles: readonly string[];
  /** A person named the key for this command: that it cannot be used is an error. */
  readonly isIdentityGiven: boolean;
  /** Of the agent's keys only those that identityFiles names. */
  readonly identitiesOnly: boolean;
  /** The agent's socket. */
  readonly agent: string | undefined;
  readonly jumps: readonly Jump[];
  readonly connectTimeoutMs: number;
}

export interface Jump {
  readonly host: string;
  readonly user?: string;
  readonly port?: number;
}

export interface SshQuestion {
  /** As one would type it after ssh. */
  readonly name: string;
  /** Where it is, unless the configuration says something else. */
  readonly address?: string;
  readonly flags: SshFlags;
}

/** What the process was started with, of which ssh would make use. */
export interface Surroundings {
  readonly home: string;
  readonly agentSocket: string | undefined;
}

const DEFAULT_TIMEOUT_MS = 20_000;

/** OpenSSH's own reading of the user's configuration: `ssh -G`. @throws BundleError */
export async function readTarget(
  host: Pick<Host, 'run'>,
  question: SshQuestion,
  surroundings: Surroundings,
): Promise<SshTarget> {
  const asNamed = await ask(host, question, []);
  const hostName = only(asNamed, 'hostname') ?? question.name;
  const isElsewhere = hostName.toLowerCase() !== question.name.toLowerCase();
  if (isElsewhere || question.address === undefined) return targetOf(asNamed, question, surroundings);
  return targetOf(await ask(host, question, ['-o', `HostName=${question.address}`]), question, surroundings);
}

type Settings = ReadonlyMap<string, readonly string[]>;

async function ask(
  host: Pick<Host, 'run'>,
  { name, flags }: SshQuestion,
  more: readonly string[],
): Promise<Settings> {
  const argv: Argv = [
    'ssh',
    '-G',
    ...(flags.configFile === undefined ? [] : ['-F', flags.configFile]),
    ...(flags.user === undefined ? [] : ['-l', flags.user]),
    ...(flags.port === undefined ? [] : ['-p', String(flags.port)]),
    ...(flags.identity === undefined ? [] : ['-i', flags.identity]),
    ...more,
    '--',
    name,
  ];
  const result = await host.run(argv);
  if (result.exitCode === 0) return settingsOf(result.stdout);
  if (result.startError !== undefined) throw noTool('ssh');
  throw usageError({
    code: 'SSH_CONFIG',
    message: `ssh cannot read its configuration: ssh -G ${outcome(result)}`,
    where: name,
    details: lastLines(result, 5),
    hint: `Try it by hand: ${argv.join(' ')}`,
  });
}

export function noTool(tool: string): BundleError {
  return refusedError({
    code: 'SSH_TOOLS_MISSING',
    message: `${tool} is not on this machine; OpenSSH's own tools read the configuration and the known hosts`,
    hint: 'Install them: yum install openssh-clients (Debian: apt-get install openssh-client)',
  });
}

function settingsOf(text: string): Settings {
  const settings = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [, key, value] = /^(\S+) (.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    settings.set(key, [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

const only = (settings: Settings, key: string): string | undefined => settings.get(key)?.[0];

function targetOf(
  settings: Settings,
  { name, flags }: SshQuestion,
  { home, agentSocket }: Surroundings,
): SshTarget {
  const hostName = only(settings, 'hostname') ?? name;
  const port = Number(only(settings, 'port') ?? '22');
  const unhomed = (path: string): string => path.replace(/^~(?=\/)/, home).replaceAll('%d', home);
  const list = (key: string): string[] => (settings.get(key) ?? []).flatMap((line) => line.split(' '));
  const command = setting(settings, 'proxycommand');
  if (command !== undefined)
    throw usageError({
      code: 'SSH_CONFIG',
      message: `ProxyCommand is not supported: ${command}`,
      where: name,
      hint: 'Say the same with ProxyJump in the ssh configuration, or give another one: --ssh-config FILE',
    });
  const alias = setting(settings, 'hostkeyalias');
  const timeout = Number(only(settings, 'connecttimeout'));
  return {
    hostName,
    port,
    user: only(settings, 'user') ?? 'root',
    knownAs: alias ?? (port === 22 ? hostName.toLowerCase() : `[${hostName.toLowerCase()}]:${String(port)}`),
    knownHostsFiles: [...list('userknownhostsfile'), ...list('globalknownhostsfile')]
      .filter((file) => file !== 'none')
      .map(unhomed),
    identityFiles:
      flags.identity === undefined ? (settings.get('identityfile') ?? []).map(unhomed) : [flags.identity],
    isIdentityGiven: flags.identity !== undefined,
    identitiesOnly: flags.identity !== undefined || only(settings, 'identitiesonly') === 'yes',
    agent: agentOf(setting(settings, 'identityagent'), agentSocket, unhomed),
    jumps: jumpsOf(setting(settings, 'proxyjump')),
    connectTimeoutMs: Number.isInteger(timeout) && timeout > 0 ? timeout * 1000 : DEFAULT_TIMEOUT_MS,
  };
}

/** undefined where ssh says "none". */
function setting(settings: Settings, key: string): string | undefined {
  const value = only(settings, key);
  return value === undefined || value === 'none' || value === '' ? undefined : value;
}

function agentOf(
  configured: string | undefined,
  socket: string | undefined,
  unhomed: (path: string) => string,
): string | undefined {
  if (configured === undefined || configured === 'SSH_AUTH_SOCK') return socket === '' ? undefined : socket;
  return unhomed(configured);
}

/** `[user@]host[:port]`, several with commas; an IPv6 address stands in brackets. */
function jumpsOf(text: string | undefined): Jump[] {
  return (text?.split(',') ?? []).map((hop) => {
    const [, user, bracketed, plainHost, port] =
      /^(?:ssh:\/\/)?(?:([^@]+)@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?\/?$/.exec(hop) ?? [];
    return {
      host: bracketed ?? plainHost ?? hop,
      ...(user === undefined ? {} : { user }),
      ...(port === undefined ? {} : { port: Number(port) }),
    };
  });
}
