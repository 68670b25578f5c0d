import type { AddressInfo } from 'node:net';
import ssh2 from 'ssh2';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
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
