import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import type { ServiceTarget } from './cluster.js';

/**
 * Whether a service takes a connection: for grpc until the other side has sent its HTTP/2 settings, otherwise until
 * TCP stands. What is behind the load balancer is not asked.
 */
export function answers(target: ServiceTarget, timeoutMs: number): Promise<boolean> {
  return target.protocol === 'grpc' ? speaksHttp2(target, timeoutMs) : takesTcp(target, timeoutMs);
}

function speaksHttp2({ address, port, tls }: ServiceTarget, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    // Whose certificate it is is the clients' question; this only asks whether somebody answers.
    const session = connectHttp2(`${tls ? 'https' : 'http'}://${address}:${String(port)}`, {
      rejectUnauthorized: false,
    });
    const timer = setTimeout(() => {
      end(false);
    }, timeoutMs);
    const end = (isThere: boolean): void => {
      clearTimeout(timer);
      session.destroy();
      resolve(isThere);
    };
    session.once('remoteSettings', () => {
      end(true);
    });
    for (const event of ['error', 'close'])
      session.on(event, () => {
        end(false);
      });
  });
}

function takesTcp({ address, port }: ServiceTarget, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(timeoutMs, () => {
      end(false);
    });
    socket.once('connect', () => {
      end(true);
    });
    socket.on('error', () => {
      end(false);
    });
  });
}
