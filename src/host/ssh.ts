import type { Duplex } from 'node:stream';
import type {
  AnyAuthMethod,
  Client,
  ClientChannel,
  ConnectConfig,
  Prompt,
  OpenSSHAgent,
  ServerHostKeyAlgorithm,
} from 'ssh2';
import ssh2 from 'ssh2';
import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import { batchedSocket } from './batched-socket.js';
import type { Line } from './in-flight.js';
import { narrow, watchLine } from './in-flight.js';
import type { DialRequest, LoginAttempt, RemoteEnd, RemoteProcess, RemoteSession } from './remote.js';

/** A peer is asked so often; ssh2 asks nothing unless it is told to. */
const KEEPALIVE_MS = 5000;
/** So many times in a row without a byte from there: it is dead. */
const KEEPALIVE_MISSES = 4;

/** As long as sshd itself gives a login by its default (LoginGraceTime); a person here may be longer. */
const ANSWER_MS = 120_000;

/** The fastest that both ends have comes first; both ends' processors have AES. */
const CIPHERS: ConnectConfig['algorithms'] = {
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'aes128-ctr',
    'aes192-ctr',
    'aes256-ctr',
    'chacha20-poly1305@openssh.com',
  ],
};

/**
 * A connection over ssh2. The host key is judged first and synchronously: nothing of the login is sent before.
 * @param answerMs the far end has so long for each answer of the login; while a person is asked, no time counts
 * @throws BundleError the judge's own; NODE_UNREACHABLE; LOGIN_REFUSED
 */
export async function dialSsh(request: DialRequest, answerMs = ANSWER_MS): Promise<RemoteSession> {
  const fromMs = performance.now();
  const sock =
    (await request.via?.forward(request.host, request.port)) ?? batchedSocket(request.host, request.port);
  const line = watchLine(sock, fromMs);
  const client = new ssh2.Client();
  const failure = new Promise<never>((_resolve, reject) => {
    connecting(client, { ...request, answerMs, sock }, reject);
  });
  const ready = new Promise<void>((resolve) => client.once('ready', resolve));
  try {
    await Promise.race([ready, failure]);
  } catch (error) {
    client.destroy();
    throw error;
  }
  endWhenSilent(client, sock);
  return sessionOf(client, request.where, line);
}

interface Connecting extends DialRequest {
  readonly answerMs: number;
  readonly sock: Duplex;
}

function connecting(client: Client, request: Connecting, reject: (error: Error) => void): void {
  const { sock, answerMs } = request;
  let refusal: BundleError | undefined;
  const agentWords: string[] = [];
  let slow = setTimeout(() => {
    reject(unreachable(request, `no answer within ${String(request.timeoutMs / 1000)} s`));
  }, request.timeoutMs);
  const awaitLogin = (): void => {
    clearTimeout(slow);
    slow = setTimeout(() => {
      reject(noLogin(request, answerMs));
    }, answerMs).unref();
  };
  client.once('handshake', awaitLogin);
  client.once('ready', () => {
    clearTimeout(slow);
  });
  client.once('close', () => {
    clearTimeout(slow);
    reject(refusal ?? unreachable(request, 'the connection was closed'));
  });
  // ssh2 may emit more than one; without a listener the second one would end the process.
  client.on('error', (error: Error & { level?: string }) => {
    // What is left is tried without it: ssh2 goes on by itself, as ssh does.
    if (error.level === 'agent') {
      agentWords.push(`the agent did not do its part: ${error.message}`);
      return;
    }
    clearTimeout(slow);
    reject(refusal ?? failureOf({ ...request, told: () => [...request.told(), ...agentWords] }, error));
  });
  client.connect({
    sock,
    username: request.user,
    keepaliveInterval: KEEPALIVE_MS,
    // See endWhenSilent.
    keepaliveCountMax: Number.POSITIVE_INFINITY,
    // A person may be typing a password: see awaitLogin.
    readyTimeout: 0,
    algorithms: {
      ...CIPHERS,
      serverHostKey: [...request.hostKeyAlgorithms] as ServerHostKeyAlgorithm[],
    },
    hostVerifier: (key: Buffer): boolean => {
      refusal = request.judgeHostKey(key);
      return refusal === undefined;
    },
    // Its type asks for a value at once; ssh2 takes undefined for "later" (client.js, tryNextAuth).
    authHandler: (methods, _partial, next) => {
      const left = (methods as readonly string[] | null) ?? [];
      clearTimeout(slow);
      const give = (method: AnyAuthMethod | false): void => {
        awaitLogin();
        (next as (method: AnyAuthMethod | false) => void)(method);
      };
      request.nextAttempt(left).then(
        (attempt) => {
          give(attempt === undefined ? false : methodOf(attempt, request.user, left));
        },
        (error: unknown) => {
          refusal ??= error as BundleError;
          give(false);
        },
      );
    },
  });
}

/**
 * ssh2 counts only the answers to its questions, and a question waits behind what is being sent, up to 2 MiB: it would
 * take a slow line for a dead one. Here every byte from there counts.
 */
function endWhenSilent(client: Client, sock: Duplex): void {
  let silences = 0;
  sock.on('data', () => {
    silences = 0;
  });
  const timer = setInterval(() => {
    silences += 1;
    if (silences >= KEEPALIVE_MISSES) sock.destroy();
  }, KEEPALIVE_MS);
  client.once('close', () => {
    clearInterval(timer);
  });
}

function methodOf(attempt: LoginAttempt, username: string, methods: readonly string[]): AnyAuthMethod {
  switch (attempt.kind) {
    case 'none':
      return { type: 'none', username };
    case 'agent':
      return { type: 'agent', username, agent: agentOf(attempt.socket, attempt.only) };
    case 'key':
      return {
        type: 'publickey',
        username,
        key: attempt.key,
        ...(attempt.passphrase === undefined ? {} : { passphrase: attempt.passphrase }),
      };
    case 'password':
      if (methods.includes('password')) return { type: 'password', username, password: attempt.password };
      return { type: 'keyboard-interactive', username, prompt: answering(attempt.password) };
  }
}

/** The agent with its keys, or with those that the configuration names (IdentitiesOnly). */
function agentOf(socket: string, only: readonly Buffer[] | undefined): OpenSSHAgent {
  const agent = new ssh2.OpenSSHAgent(socket);
  if (only === undefined) return agent;
  const all = agent.getIdentities.bind(agent);
  agent.getIdentities = (callback) => {
    all((error, keys) => {
      callback(
        error,
        keys?.filter(
          (key) => 'getPublicSSH' in key && only.some((wanted) => wanted.equals(key.getPublicSSH())),
        ),
      );
    });
  };
  return agent;
}

/** Only a question for something secret gets the password; others an empty answer. */
function answering(password: string) {
  return (
    _name: string,
    _instructions: string,
    _language: string,
    prompts: Prompt[],
    finish: (answers: string[]) => void,
  ): void => {
    finish(prompts.map(({ echo }) => (echo === true ? '' : password)));
  };
}

function sessionOf(client: Client, where: string, line: Line): RemoteSession {
  let isOpen = true;
  client.on('close', () => {
    isOpen = false;
  });
  // A connection that is reset later is told by each command that it carried.
  client.on('error', () => {
    isOpen = false;
  });
  return {
    get isOpen() {
      return isOpen;
    },
    exec: (command) =>
      new Promise<RemoteProcess>((resolve, reject) => {
        if (!isOpen) {
          reject(lost(where));
          return;
        }
        const closed = (): void => {
          reject(lost(where));
        };
        client.once('close', closed);
        client.exec(command, (error, channel) => {
          client.off('close', closed);
          if (error === undefined) {
            narrow(channel, line);
            resolve(processOf(channel, where));
          } else reject(isOpen ? refusedCommand(where, error) : lost(where, error));
        });
      }),
    forward: (host, port) =>
      new Promise<Duplex>((resolve, reject) => {
        client.forwardOut('127.0.0.1', 0, host, port, (error, channel) => {
          if (error === undefined) resolve(channel);
          else reject(noTunnel(where, `${host}:${String(port)}`, error));
        });
      }),
    close: () => {
      isOpen = false;
      client.end();
    },
  };
}

function processOf(channel: ClientChannel, where: string): RemoteProcess {
  let end: RemoteEnd | undefined;
  channel.on('exit', (code: number | null, signal?: string) => {
    // A lost connection gives null and no signal: that is no end.
    if (code !== null || signal !== undefined) end = { exitCode: code, signal };
  });
  // Without a listener, writing to a channel that is gone would end the process; `ended` tells it.
  channel.on('error', () => undefined);
  let giveUp: () => void = () => undefined;
  const ended = new Promise<RemoteEnd>((resolve, reject) => {
    giveUp = () => {
      if (end === undefined) reject(lost(where));
      else resolve(end);
    };
    channel.on('close', giveUp);
  });
  ended.catch(() => undefined);
  return {
    stdin: channel,
    stdout: channel,
    stderr: channel.stderr,
    ended,
    abandon: () => {
      // sshd closes its side only when the command has ended; who gives it up does not wait for that.
      channel.close();
      giveUp();
    },
  };
}

function failureOf(request: DialRequest, error: Error & { level?: string }): BundleError {
  if (/too many authentication failures/i.test(error.message))
    return refusedError({
      code: 'LOGIN_REFUSED',
      message: `the login as ${request.user} was refused: too many keys were offered`,
      where: request.where,
      details: request.told(),
      hint: 'Name the key in the ssh configuration (IdentityFile, with IdentitiesOnly yes), or give it: --identity FILE',
      cause: error,
    });
  if (error.level !== 'client-authentication') return unreachable(request, error.message, error);
  return refusedError({
    code: 'LOGIN_REFUSED',
    message: `the login as ${request.user} was refused`,
    where: request.where,
    details: request.told(),
    hint: `Try it by hand: ssh -p ${String(request.port)} ${request.user}@${request.host}. What works there works here; a password is asked for only on a terminal.`,
    cause: error,
  });
}

function unreachable({ where, via }: DialRequest, reason: string, cause?: Error): BundleError {
  return refusedError({
    code: 'NODE_UNREACHABLE',
    message: `no SSH connection: ${reason}`,
    where,
    hint: `Is the address right, does sshd run there, does a firewall stand between?${via === undefined ? '' : ' Its jump host answered.'}`,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The kernel there answers, and the sshd that is in memory; what a login needs does not. */
function noLogin({ where, user }: DialRequest, answerMs: number): BundleError {
  return refusedError({
    code: 'NODE_UNREACHABLE',
    message: `sshd answers there, its login does not: nothing was said to the login as ${user} within ${String(answerMs / 1000)} s`,
    where,
    hint: 'On its console: has it memory and processes left (free -m; ps), does a disk hang (dmesg | tail), does a directory service keep logins waiting (sssd, LDAP)? See also: journalctl -u sshd',
  });
}

function noTunnel(where: string, to: string, cause: Error): BundleError {
  return refusedError({
    code: 'NODE_UNREACHABLE',
    message: `the jump host did not connect to ${to}: ${cause.message}`,
    where,
    hint: 'Can it reach that address? Does its sshd_config say AllowTcpForwarding no?',
    cause,
  });
}

function refusedCommand(where: string, cause: Error): BundleError {
  return refusedError({
    code: 'COMMAND_NOT_STARTED',
    message: `sshd started no command: ${cause.message}`,
    where,
    hint: 'Does this login have a shell there? See: getent passwd; ForceCommand in sshd_config.',
    cause,
  });
}

function lost(where: string, cause?: Error): BundleError {
  return refusedError({
    code: 'CONNECTION_LOST',
    message: 'the connection was lost',
    where,
    hint: 'Run the same command again: it goes on where this one stopped.',
    ...(cause === undefined ? {} : { cause }),
  });
}
