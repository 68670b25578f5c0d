import { createServer as createHttp2 } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ServiceTarget } from '../../src/fleet/cluster.js';
import { answers } from '../../src/fleet/connect-service.js';
import { watch } from '../../src/fleet/watch.js';

const target = (protocol: ServiceTarget['protocol'], port = 1): ServiceTarget => ({
  ...{ service: 'tts', vip: 'tts', address: '127.0.0.1', port, protocol, tls: false },
});

/** A watcher whose time and whose service a test moves by hand. */
function byHand() {
  let ms = 0;
  let isThere = true;
  let tick: () => void = () => undefined;
  const watcher = watch({
    targets: [target('grpc')],
    answers: async () => isThere,
    now: () => ms,
    every: (_, work) => {
      tick = work;
      return () => undefined;
    },
  });
  return {
    watcher,
    pass: async (forMs: number, there: boolean): Promise<void> => {
      for (let at = 0; at < forMs; at += 100) {
        ms += 100;
        isThere = there;
        tick();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

describe('watching a service from outside', () => {
  it('tells the longest time between two answers', async () => {
    const { watcher, pass } = byHand();
    await pass(1000, true);
    await pass(700, false);
    await pass(500, true);
    await pass(300, false);
    await pass(100, true);
    const [seen] = await watcher.stop();
    expect(seen).toMatchObject({ attempts: 26, failures: 10, longestGapMs: 800 });
  });

  it('counts from the first answer on: before it there was no service to lose', async () => {
    const { watcher, pass } = byHand();
    await pass(5000, false);
    await pass(500, true);
    expect((await watcher.stop())[0]).toMatchObject({ failures: 0, longestGapMs: 100 });
  });

  it('counts a service that is away at the end', async () => {
    const { watcher, pass } = byHand();
    await pass(500, true);
    await pass(2000, false);
    expect((await watcher.stop())[0]?.longestGapMs).toBe(2000);
  });

  it('says so when it never answered', async () => {
    const { watcher, pass } = byHand();
    await pass(500, false);
    expect((await watcher.stop())[0]?.longestGapMs).toBeNull();
  });
});

describe('one attempt', () => {
  const open: Server[] = [];
  afterEach(() => {
    for (const server of open.splice(0)) server.close();
  });
  const listening = async (server: Server): Promise<number> => {
    open.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  };

  it('takes HTTP/2 settings for an answer of a gRPC service', async () => {
    const port = await listening(createHttp2());
    expect(await answers(target('grpc', port), 2000)).toBe(true);
  });

  it('does not take a bare TCP connection for one', async () => {
    const port = await listening(createServer(() => undefined));
    expect(await answers(target('grpc', port), 300)).toBe(false);
    expect(await answers(target('tcp', port), 300)).toBe(true);
  });

  it('says no where nothing listens', async () => {
    const port = await listening(createServer());
    await new Promise((resolve) => open.pop()?.close(resolve));
    expect(await answers(target('grpc', port), 2000)).toBe(false);
    expect(await answers(target('http', port), 2000)).toBe(false);
  });
});
