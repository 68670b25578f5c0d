import type { AddressInfo } from 'node:net';
import ssh2 from 'ssh2';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { narrow } from '../../src/host/in-flight.js';
import { dialSsh } from '../../src/host/ssh.js';
import type { DialRequest, LoginAttempt } from '../../src/host/remote.js';

/** A far end on this machine, which answers to a login as a test says. */
let hostKey = '';
const servers: ssh2.Server[] = [];
beforeAll(() => {
  hostKey = ssh2.utils.generateKeyPairSync('ed25519').private;
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function farEnd(answer: (context: ssh2.AuthContext) => void): Promise<number> {
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
    client.on('authentication', answer);
    client.on('error', () => undefined);
  });
  return listening(server);
}

async function listening(server: ssh2.Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

const requestTo = (port: number, nextAttempt: DialRequest['nextAttempt']): DialRequest => ({
  ...{ where: 'lb1', host: '127.0.0.1', port, user: 'ops', via: undefined, timeoutMs: 5000, nextAttempt },
  hostKeyAlgorithms: ['ssh-ed25519'],
  judgeHostKey: () => undefined,
  told: () => [],
});

const after = (ms: number, attempt: LoginAttempt): Promise<LoginAttempt> =>
  new Promise((resolve) => {
    setTimeout(() => {
      resolve(attempt);
    }, ms);
  });

const ANSWER_MS = 250;

describe('a login', () => {
  it('that the far end takes and never answers has an end: not the network, but the login is at fault', async () => {
    const port = await farEnd(() => undefined);
    const request = requestTo(port, async () => ({ kind: 'none' }));
    await expect(dialSsh(request, ANSWER_MS)).rejects.toMatchObject({
      ...{ code: 'NODE_UNREACHABLE', exit: 5, where: 'lb1' },
      message: expect.stringContaining('sshd answers there, its login does not') as string,
      hint: expect.stringContaining('journalctl -u sshd') as string,
    });
  });

  it('waits for a person who types a password, for as long as that takes', async () => {
    const port = await farEnd((context) => {
      if (context.method === 'password') context.accept();
      else context.reject(['password']);
    });
    const attempts = [
      async () => ({ kind: 'none' }) as const,
      () => after(4 * ANSWER_MS, { kind: 'password', password: 'open' }),
    ];
    const session = await dialSsh(
      requestTo(port, async () => attempts.shift()?.()),
      ANSWER_MS,
    );
    expect(session.isOpen).toBe(true);
    session.close();
  });
});

/** A far end that tells how many bytes a command got, and makes room only when half of what it offered is used up. */
function counting(onBytes: (bytes: number) => void): Promise<number> {
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
    client.on('error', () => undefined);
    client.on('authentication', (context) => {
      context.accept();
    });
    client.on('session', (accept) => {
      accept().on('exec', (run) => {
        const channel = run();
        let bytes = 0;
        channel.on('data', (piece: Buffer) => {
          bytes += piece.length;
          onBytes(bytes);
        });
        channel.on('end', () => {
          channel.write(String(bytes));
          channel.exit(0);
          channel.end();
        });
      });
    });
  });
  return listening(server);
}

describe('a command', () => {
  it('gets all that is sent, from a server too that makes room only when half of what it offered is used up', async () => {
    const port = await counting(() => undefined);
    const session = await dialSsh(requestTo(port, async () => ({ kind: 'none' })));
    const command = await session.exec('count');
    const told: Buffer[] = [];
    command.stdout.on('data', (piece: Buffer) => told.push(piece));
    const sent = 8 * 1024 * 1024;
    command.stdin.end(Buffer.alloc(sent));
    expect(await command.ended).toEqual({ exitCode: 0, signal: undefined });
    expect(Buffer.concat(told).toString()).toBe(String(sent));
    session.close();
  });

  it('is sent no more than a narrowed window at once: what ssh2 counts by is still where it is narrowed', async () => {
    const least = 512 * 1024;
    let arrived = 0;
    let full: () => void = () => undefined;
    const filled = new Promise<void>((resolve) => {
      full = resolve;
    });
    const port = await counting((bytes) => {
      arrived = Math.max(arrived, bytes);
      if (arrived >= least) full();
    });
    const client = new ssh2.Client();
    await new Promise<void>((resolve) => {
      client.once('ready', resolve);
      client.connect({ host: '127.0.0.1', port, username: 'ops' });
    });
    const exec = (): Promise<ssh2.ClientChannel> =>
      new Promise((resolve, reject) => {
        client.exec('count', (error, channel) => {
          if (error === undefined) resolve(channel);
          else reject(error);
        });
      });
    const channel = await exec();
    narrow(channel, { roundTripMs: 0, isOpenSsh: true });
    channel.write(Buffer.alloc(8 * 1024 * 1024));
    await filled;
    // What more had been sent would arrive before this is answered.
    const another = await exec();
    const ended = new Promise((resolve) => another.once('close', resolve));
    another.resume();
    another.end();
    await ended;
    expect(arrived).toBe(least);
    client.destroy();
  });
});
