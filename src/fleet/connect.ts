import type { BundleError } from '../errors.js';
import { usageError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Dial, RemoteSession } from '../host/remote.js';
import type { Credentials } from './credentials.js';
import { requireIdentity } from './identity.js';
import { judgeHostKey, offeredAlgorithms, otherAlgorithms, readKnownHost } from './known-hosts.js';
import { loginOf } from './login.js';
import type { Jump, SshFlags, SshTarget, Surroundings } from './ssh-config.js';
import { readTarget } from './ssh-config.js';

/** What every connection of one command shares. */
export interface Setting {
  readonly host: Pick<Host, 'run' | 'lstat' | 'read'>;
  readonly dial: Dial;
  readonly flags: SshFlags;
  readonly surroundings: Surroundings;
  readonly credentials: Credentials;
  /** Fingerprints that the command line gives: node or jump host → `SHA256:…`. */
  readonly hostKeys: ReadonlyMap<string, string>;
}

/** A way to one node, dialled when it is wanted and again when it was lost. */
export interface Link {
  readonly where: string;
  readonly user: string;
  session(): Promise<RemoteSession>;
  close(): void;
}

/**
 * The key of the command line, before the first connection; the agent is the one that would be asked for this node.
 * @throws BundleError exit 2
 */
export async function requireGivenIdentity(
  node: { readonly name: string; readonly address: string },
  { host, flags, surroundings, credentials }: Setting,
): Promise<void> {
  if (flags.identity === undefined) return;
  const agent = await readTarget(host, { ...node, flags }, surroundings).then(
    (target) => target.agent,
    () => surroundings.agentSocket,
  );
  await requireIdentity(host, flags.identity, { credentials, hasAgent: agent !== undefined });
}

interface Hop {
  /** As --host-key names it. */
  readonly name: string;
  readonly where: string;
  readonly target: SshTarget;
}

const MAX_HOPS = 8;

/** @param node its name and address in the site */
export async function linkTo(
  node: { readonly name: string; readonly address: string },
  setting: Setting,
): Promise<Link> {
  const target = await readTarget(setting.host, { ...node, flags: setting.flags }, setting.surroundings);
  const where = `${node.name} (${target.user}@${target.hostName}:${String(target.port)})`;
  const hops = [...(await hopsTo(target, setting, 0)), { name: node.name, where, target }];
  let open: RemoteSession[] = [];
  let dialling: Promise<RemoteSession> | undefined;
  const closeAll = (): void => {
    for (const session of [...open].reverse()) session.close();
    open = [];
  };
  const dialAll = async (): Promise<RemoteSession> => {
    closeAll();
    let session: RemoteSession | undefined;
    for (const hop of hops) {
      session = await dialHop(hop, session, setting);
      open.push(session);
    }
    if (session === undefined) throw new Error('a link has at least one hop');
    return session;
  };
  return {
    where,
    user: target.user,
    session: () => {
      const last = open.length === hops.length ? open[open.length - 1] : undefined;
      if (last !== undefined && open.every((session) => session.isOpen)) return Promise.resolve(last);
      dialling ??= dialAll().finally(() => {
        dialling = undefined;
      });
      return dialling;
    },
    close: closeAll,
  };
}

/** The jump hosts, the first to be dialled first; the first one may itself be behind others. */
async function hopsTo(target: SshTarget, setting: Setting, depth: number): Promise<Hop[]> {
  if (depth > MAX_HOPS)
    throw usageError({
      code: 'SSH_CONFIG',
      message: 'the jump hosts of the ssh configuration lead in a circle',
      where: target.hostName,
      hint: `See: ssh -G ${target.hostName} | grep proxyjump`,
    });
  const hops = await Promise.all(target.jumps.map((jump) => hopOf(jump, setting)));
  const [first] = hops;
  return first === undefined ? [] : [...(await hopsTo(first.target, setting, depth + 1)), ...hops];
}

async function hopOf(jump: Jump, { host, flags, surroundings }: Setting): Promise<Hop> {
  const target = await readTarget(
    host,
    {
      name: jump.host,
      // User and port of the command line are the nodes'; key and configuration count for all.
      flags: {
        ...(jump.user === undefined ? {} : { user: jump.user }),
        ...(jump.port === undefined ? {} : { port: jump.port }),
        ...(flags.configFile === undefined ? {} : { configFile: flags.configFile }),
        ...(flags.identity === undefined ? {} : { identity: flags.identity }),
      },
    },
    surroundings,
  );
  return {
    name: jump.host,
    where: `jump host ${jump.host} (${target.user}@${target.hostName}:${String(target.port)})`,
    target,
  };
}

async function dialHop(hop: Hop, via: RemoteSession | undefined, setting: Setting): Promise<RemoteSession> {
  const known = await readKnownHost(setting.host, hop.target);
  const given = setting.hostKeys.get(hop.name);
  let algorithms = offeredAlgorithms(known, given);
  let firstRefusal: unknown;
  for (;;) {
    const seen: Buffer[] = [];
    const judge = (key: Buffer): BundleError | undefined => {
      seen.push(key);
      return judgeHostKey({ node: hop.name, ...hop, known, given }, key);
    };
    try {
      return await logIn(hop, { via, setting, algorithms, judge });
    } catch (error) {
      firstRefusal ??= error;
      const [key] = seen;
      // The given fingerprint may be that of another of the host's keys.
      if (given === undefined || key === undefined || !isOtherKey(error)) throw firstRefusal;
      algorithms = otherAlgorithms(algorithms, key);
      if (algorithms.length === 0) throw firstRefusal;
    }
  }
}

interface Knock {
  readonly via: RemoteSession | undefined;
  readonly setting: Setting;
  readonly algorithms: readonly string[];
  readonly judge: (key: Buffer) => BundleError | undefined;
}

async function logIn({ target, where }: Hop, knock: Knock): Promise<RemoteSession> {
  const { host, credentials, dial } = knock.setting;
  const login = loginOf({ target, where, host, credentials });
  const session = await dial({
    ...{ where, via: knock.via, host: target.hostName, port: target.port, user: target.user },
    hostKeyAlgorithms: knock.algorithms,
    judgeHostKey: knock.judge,
    nextAttempt: login.next,
    told: login.told,
    timeoutMs: target.connectTimeoutMs,
  });
  login.succeeded();
  return session;
}

function isOtherKey(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'WRONG_HOST_KEY';
}
