import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Setting } from '../../src/fleet/connect.js';
import { linkTo } from '../../src/fleet/connect.js';
import type { AskSecret } from '../../src/fleet/credentials.js';
import { credentials } from '../../src/fleet/credentials.js';
import type { NodeShell } from '../../src/fleet/shell.js';
import { nodeShell } from '../../src/fleet/shell.js';
import type { SshFlags } from '../../src/fleet/ssh-config.js';
import type { Host } from '../../src/host/host.js';
import { localHost } from '../../src/host/local.js';
import { dialSsh } from '../../src/host/ssh.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';

export const USER = 'ops';
export const PASSWORD = 'open, sesame 7';
export const PASSPHRASE = 'a key of its own';

/** Real sshd on machines of the lab, and a user's files on this one. */
export interface SshLab {
  readonly lab: Lab;
  /** A scratch folder that plays ~/.ssh. */
  readonly home: string;
  sh(machine: string, text: string): Promise<Outcome>;
  address(machine: string): string;
  /** `ssh-ed25519 AAAA…` of a machine. */
  hostKey(machine: string, type?: 'ed25519' | 'rsa'): Promise<string>;
  /** Writes a file into the scratch folder. @returns its path */
  file(name: string, bytes: string | Buffer): string;
  /** What sshd has said about logins since it was asked last. */
  logins(machine: string): Promise<string>;
  down(): Promise<void>;
}

export async function sshLab(machines: readonly string[]): Promise<SshLab> {
  const lab = await startLab({ nodes: machines });
  const home = mkdtempSync(path.join(tmpdir(), 'airbundle-ssh-'));
  const file = (name: string, bytes: string | Buffer): string => {
    const at = path.join(home, name);
    writeFileSync(at, bytes, { mode: 0o600 });
    return at;
  };
  const sh: SshLab['sh'] = (machine, text) => lab.exec(machine, ['bash', '-c', text], { timeoutMs: 60_000 });
  for (const [name, passphrase] of [
    ['plain', ''],
    ['encrypted', PASSPHRASE],
  ] as const)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-f', path.join(home, name)]);
  execFileSync('ssh-keygen', ['-q', '-t', 'rsa', '-b', '2048', '-N', '', '-f', path.join(home, 'rsa')]);
  const publicKeys = execFileSync('sh', ['-c', 'cat *.pub'], { cwd: home, encoding: 'utf8' });
  for (const machine of machines)
    await sh(
      machine,
      [
        'set -e',
        `useradd -m -s /bin/bash ${USER}; echo '${USER}:${PASSWORD}' | chpasswd`,
        `install -d -m 700 -o ${USER} /home/${USER}/.ssh /root/.ssh; chown root /root/.ssh`,
        `printf %s '${publicKeys}' | tee /root/.ssh/authorized_keys >/home/${USER}/.ssh/authorized_keys`,
        // A greeting for everybody, also where it does not belong.
        `echo 'echo "welcome to $(hostname)"' | tee -a /root/.bashrc >>/home/${USER}/.bashrc`,
        `sed -i '1i echo "welcome to $(hostname)"' /home/${USER}/.bashrc /root/.bashrc`,
        `printf 'LogLevel VERBOSE\\nMaxStartups 100\\n' >/etc/ssh/sshd_config.d/lab.conf`,
        // The image's keys are the same on every machine.
        'rm /etc/ssh/ssh_host_*; ssh-keygen -q -A',
        'systemctl start ssh',
      ].join('\n'),
    );
  const seen = new Map<string, number>();
  return {
    ...{ lab, home, file, sh },
    address: (machine) => lab.nodes[machine]?.address ?? '',
    hostKey: async (machine, type = 'ed25519') =>
      (await sh(machine, `cut -d ' ' -f 1,2 /etc/ssh/ssh_host_${type}_key.pub`)).stdout.trim(),
    async logins(machine) {
      const text = (await sh(machine, 'journalctl -q -u ssh -o cat')).stdout;
      const before = seen.get(machine) ?? 0;
      seen.set(machine, text.length);
      return text.slice(before);
    },
    async down() {
      await lab.down();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export interface Connecting {
  /** Lines of known_hosts. */
  readonly known?: string;
  /** The whole ssh configuration, besides the known hosts. */
  readonly config?: string;
  readonly identity?: 'plain' | 'encrypted' | 'rsa' | 'in-agent' | 'no-key' | 'none';
  readonly user?: string;
  readonly ask?: AskSecret;
  readonly agent?: string;
  readonly hostKeys?: Readonly<Record<string, string>>;
}

let settings = 0;

/** What a command line and a user's files make of a connection. */
export function settingFor(ssh: SshLab, given: Connecting = {}): Setting & { readonly host: Host } {
  const number = String((settings += 1));
  const known = ssh.file(`known_hosts.${number}`, given.known ?? '');
  const identity = given.identity ?? 'plain';
  const config = ssh.file(
    `config.${number}`,
    [
      given.config ?? '',
      'Host *',
      `  UserKnownHostsFile ${known}`,
      '  GlobalKnownHostsFile none',
      `  IdentityFile ${path.join(ssh.home, identity)}`,
      '',
    ].join('\n'),
  );
  const flags: SshFlags = { configFile: config, user: given.user ?? 'root' };
  return {
    ...{ host: localHost(), dial: dialSsh, flags },
    surroundings: { home: ssh.home, agentSocket: given.agent },
    credentials: credentials(given.ask),
    hostKeys: new Map(Object.entries(given.hostKeys ?? {})),
  };
}

/** Logs in to a machine as a node of a site. */
export async function shellOn(ssh: SshLab, machine: string, given: Connecting = {}): Promise<NodeShell> {
  const setting = settingFor(ssh, given);
  return nodeShell(
    await linkTo({ name: machine, address: ssh.address(machine) }, setting),
    setting.credentials,
  );
}

/** A way to a machine's sshd that breaks when it is told to. */
export interface Cutter {
  readonly port: number;
  /** The next connection breaks after so many bytes from here; the ones after it do not, or find it closed. */
  cutAfter(bytes: number, closed?: boolean): void;
  /** The next connection breaks after so many bytes from there. */
  cutAfterBack(bytes: number): void;
  /** The next connection stands still after so many bytes from here, until the work is done. */
  pauseAfter(bytes: number, work: () => Promise<unknown>): void;
  /** The next connection takes so many bytes a second from here. */
  slowDown(bytesPerSecond: number): void;
  /** The next connection goes silent after so many bytes from here: nothing is closed, nothing arrives. */
  silenceAfter(bytes: number): void;
  /** Breaks what is open, and refuses what comes while `closed`. */
  cutNow(closed?: boolean): void;
  open(): void;
  close(): Promise<void>;
}

const NO_PAUSE = { bytes: Number.POSITIVE_INFINITY, work: (): Promise<unknown> => Promise.resolve() };

export async function cutter(address: string, sshPort = 22): Promise<Cutter> {
  const sockets = new Set<Socket>();
  let limit = Number.POSITIVE_INFINITY;
  let limitBack = Number.POSITIVE_INFINITY;
  let pause = NO_PAUSE;
  let rate = Number.POSITIVE_INFINITY;
  let silence = Number.POSITIVE_INFINITY;
  let isClosed = false;
  let closesAfter = false;
  const server = createServer((near) => {
    if (isClosed) {
      near.destroy();
      return;
    }
    let left = limit;
    let leftBack = limitBack;
    limitBack = Number.POSITIVE_INFINITY;
    const { work } = pause;
    let untilPause = pause.bytes;
    const bytesPerSecond = rate;
    let untilSilence = silence;
    limit = Number.POSITIVE_INFINITY;
    pause = NO_PAUSE;
    rate = Number.POSITIVE_INFINITY;
    silence = Number.POSITIVE_INFINITY;
    const far = connect(sshPort, address);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (bytes: Buffer) => {
      const piece = bytes.subarray(0, Math.min(left, bytes.length));
      left -= piece.length;
      untilPause -= piece.length;
      if (untilPause <= 0) {
        untilPause = Number.POSITIVE_INFINITY;
        near.pause();
        void work().then(() => near.resume());
      }
      untilSilence -= piece.length;
      if (untilSilence <= 0) {
        near.pause();
        far.unpipe(near);
        return;
      }
      if (Number.isFinite(bytesPerSecond)) {
        near.pause();
        setTimeout(() => near.resume(), (piece.length / bytesPerSecond) * 1000);
      }
      if (piece.length > 0 && !far.write(piece)) {
        near.pause();
        far.once('drain', () => near.resume());
      }
      if (left > 0) return;
      isClosed ||= closesAfter;
      far.end(() => near.destroy());
    });
    far.pipe(near);
    far.on('data', (bytes: Buffer) => {
      leftBack -= bytes.length;
      if (leftBack <= 0) far.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cutNow = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter(bytes, closed = false) {
      limit = bytes;
      closesAfter = closed;
    },
    pauseAfter(bytes, work) {
      pause = { bytes, work };
    },
    cutAfterBack(bytes) {
      limitBack = bytes;
    },
    slowDown(bytesPerSecond) {
      rate = bytesPerSecond;
    },
    silenceAfter(bytes) {
      silence = bytes;
    },
    cutNow(closed = false) {
      isClosed = closed;
      cutNow();
    },
    open() {
      isClosed = false;
    },
    close: () =>
      new Promise((resolve) => {
        cutNow();
        server.close(() => {
          resolve();
        });
      }),
  };
}
