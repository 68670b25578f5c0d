import { createHash } from 'node:crypto';
import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { SshTarget } from './ssh-config.js';
import { noTool } from './ssh-config.js';

/** What is known of one host's keys. */
export interface KnownHost {
  readonly keys: readonly KnownKey[];
  readonly revoked: readonly KnownKey[];
  /** Lines with @cert-authority, which count for nothing here. */
  readonly authorities: number;
}

interface KnownKey {
  /** ssh-ed25519 and the like. */
  readonly type: string;
  readonly blob: Buffer;
  readonly file: string;
}

/** In the order that OpenSSH prefers. */
const ALGORITHMS: readonly { readonly type: string; readonly offered: readonly string[] }[] = [
  { type: 'ssh-ed25519', offered: ['ssh-ed25519'] },
  { type: 'ecdsa-sha2-nistp256', offered: ['ecdsa-sha2-nistp256'] },
  { type: 'ecdsa-sha2-nistp384', offered: ['ecdsa-sha2-nistp384'] },
  { type: 'ecdsa-sha2-nistp521', offered: ['ecdsa-sha2-nistp521'] },
  { type: 'ssh-rsa', offered: ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'] },
];

/** OpenSSH's own look into the known hosts, hashed names and all: `ssh-keygen -F`. */
export async function readKnownHost(
  host: Pick<Host, 'run' | 'lstat'>,
  target: Pick<SshTarget, 'knownAs' | 'knownHostsFiles'>,
): Promise<KnownHost> {
  const found = await Promise.all(
    target.knownHostsFiles.map(async (file) => {
      if ((await host.lstat(file)) === undefined) return [];
      const result = await host.run(['ssh-keygen', '-F', target.knownAs, '-f', file]);
      if (result.startError !== undefined) throw noTool('ssh-keygen');
      return result.stdout.split('\n').flatMap((line) => knownLine(line, file));
    }),
  );
  const lines = found.flat();
  return {
    keys: lines.filter(({ mark }) => mark === undefined),
    revoked: lines.filter(({ mark }) => mark === '@revoked'),
    authorities: lines.filter(({ mark }) => mark === '@cert-authority').length,
  };
}

function knownLine(line: string, file: string): (KnownKey & { readonly mark: string | undefined })[] {
  const [, mark, type, blob] = /^(?:(@\S+)\s+)?[^#\s]\S*\s+(\S+)\s+([A-Za-z0-9+/=]+)/.exec(line) ?? [];
  return type === undefined || blob === undefined
    ? []
    : [{ mark, type, blob: Buffer.from(blob, 'base64'), file }];
}

/** `SHA256:…` as OpenSSH prints it. */
export function hostKeyFingerprint(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** Only what can be compared is asked for, so that a host known by one key is not refused for another. */
export function offeredAlgorithms(known: KnownHost, given: string | undefined): string[] {
  const types = new Set(known.keys.map(({ type }) => type));
  const wanted =
    given === undefined && types.size > 0 ? ALGORITHMS.filter(({ type }) => types.has(type)) : ALGORITHMS;
  return (wanted.length === 0 ? ALGORITHMS : wanted).flatMap(({ offered }) => offered);
}

/** The algorithms without those of one key's type. */
export function otherAlgorithms(algorithms: readonly string[], key: Buffer): string[] {
  const same = ALGORITHMS.find(({ type }) => type === typeOf(key))?.offered ?? [];
  return algorithms.filter((algorithm) => !same.includes(algorithm));
}

/** RFC 4253, 6.6: a key begins with the length of its type's name, and the name. */
export function typeOf(key: Buffer): string {
  return key.length < 4 ? '' : key.toString('latin1', 4, 4 + key.readUInt32BE(0));
}

export interface HostKeyQuestion {
  readonly node: string;
  readonly where: string;
  readonly target: SshTarget;
  readonly known: KnownHost;
  /** A fingerprint that the command line gives for this host. */
  readonly given: string | undefined;
}

/** Why this key is not taken; undefined: it is the host's. */
export function judgeHostKey(question: HostKeyQuestion, key: Buffer): BundleError | undefined {
  const { known, given, where, target } = question;
  const shown = `${typeOf(key)} ${hostKeyFingerprint(key)}`;
  const revoked = known.revoked.find(({ blob }) => blob.equals(key));
  if (revoked !== undefined)
    return refusedError({
      code: 'HOST_KEY_REVOKED',
      message: `this host shows a key that is marked as revoked: ${shown}`,
      where,
      hint: `Do not log in there. Who marked it, and why? See: ssh-keygen -F '${target.knownAs}' -f ${revoked.file}`,
    });
  if (given !== undefined)
    return given === hostKeyFingerprint(key) ? undefined : otherThanGiven(question, shown);
  if (known.keys.some(({ blob }) => blob.equals(key))) return undefined;
  return known.keys.length === 0 ? unknownKey(question, key, shown) : changedKey(question, shown);
}

function otherThanGiven({ where, given }: HostKeyQuestion, shown: string): BundleError {
  return refusedError({
    code: 'WRONG_HOST_KEY',
    message: `this host shows ${shown}, not the key that --host-key gives`,
    where,
    details: [`given: ${given ?? ''}`],
    hint: 'Nothing was sent. Ask whoever looks after the node for its fingerprint: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub',
  });
}

function unknownKey(
  { node, where, target, known }: HostKeyQuestion,
  key: Buffer,
  shown: string,
): BundleError {
  return refusedError({
    code: 'UNKNOWN_HOST_KEY',
    message: `nothing is known of this host's key; it shows ${shown}`,
    where,
    details:
      known.authorities === 0
        ? []
        : ['known_hosts has a @cert-authority for it: host certificates are not supported here'],
    hint: `Compare it with what the node itself says (on its console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub). When it is the same: --host-key ${node}=${hostKeyFingerprint(key)}\nor log in once with ssh, which keeps it: ssh -p ${String(target.port)} ${target.user}@${target.hostName}`,
  });
}

function changedKey({ where, target, known }: HostKeyQuestion, shown: string): BundleError {
  return refusedError({
    code: 'WRONG_HOST_KEY',
    message: `this host shows ${shown}, and another key is known for it`,
    where,
    details: known.keys.map(({ type, blob, file }) => `known: ${type} ${hostKeyFingerprint(blob)} (${file})`),
    hint: `Nothing was sent. Either the node was set up anew, or this is another machine: ask. Only when the new key is right: ssh-keygen -R '${target.knownAs}' -f ${known.keys[0]?.file ?? '~/.ssh/known_hosts'}`,
  });
}
