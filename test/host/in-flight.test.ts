import type { AddressInfo, Server } from 'node:net';
import { connect, createServer } from 'node:net';
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { afterEach, describe, expect, it } from 'vitest';
import { narrow, watchLine } from '../../src/host/in-flight.js';

const KIB = 1024;

describe('what may be on its way to a command', () => {
  const left = (window: number, roundTripMs: number | undefined, isOpenSsh = true): number => {
    const channel = { outgoing: { window } };
    narrow(channel as unknown as ClientChannel, { roundTripMs, isOpenSsh });
    return channel.outgoing.window;
  };

  it('is less than sshd offers where the line is short', () => {
    expect(left(2048 * KIB, 0.2)).toBe(512 * KIB);
    expect(left(2048 * KIB, 2)).toBe(512 * KIB);
    expect(left(2048 * KIB, 4.0001)).toBe(1024 * KIB + 27);
  });

  it('is all that is offered where the line is long, or nothing is known of it', () => {
    expect(left(2048 * KIB, 30)).toBe(2048 * KIB);
    expect(left(2048 * KIB, undefined)).toBe(2048 * KIB);
    expect(left(24 * KIB, 0.2)).toBe(24 * KIB);
  });

  it('is all that is offered by another server, which may wait until half of it is used up', () => {
    expect(left(2048 * KIB, 0.2, false)).toBe(2048 * KIB);
  });
});

describe('a line', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  it.each([
    { first: 'SSH-2.0-OpenSSH_7.4\r\n', isOpenSsh: true },
    { first: 'Authorised use only\r\nSSH-2.0-OpenSSH_8.4p1 Debian-5\r\n', isOpenSsh: true },
    { first: 'SSH-2.0-dropbear_2022.83\r\n', isOpenSsh: false },
    { first: 'We are not SSH-2.0-OpenSSH_7.4\r\n', isOpenSsh: false },
  ])('knows who answers with $first', async ({ first, isOpenSsh }) => {
    const server = createServer((socket) => {
      socket.end(first);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const fromMs = performance.now();
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const line = watchLine(socket, fromMs);
    expect(line).toEqual({ roundTripMs: undefined, isOpenSsh: false });
    await new Promise((resolve) => socket.once('close', resolve));
    expect(line.isOpenSsh).toBe(isOpenSsh);
    expect(line.roundTripMs).toBeGreaterThan(0);
    expect(line.roundTripMs).toBeLessThan(performance.now() - fromMs);
  });

  it('through a jump host has stood for as long as it took to ask for it', () => {
    const line = watchLine(new PassThrough(), performance.now() - 70);
    expect(line.roundTripMs).toBeGreaterThanOrEqual(70);
  });
});
