import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { GRPC_SERVING, grpcHealthRequest } from '../../src/configure/h2.js';

it('the health request is read by a real HTTP/2 server as a gRPC call, and SERVING is found in its answer', async () => {
  const server = createServer();
  const seen = new Promise<{ headers: Record<string, unknown>; body: string }>((resolve) => {
    server.on('stream', (stream, headers) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
        stream.end(Buffer.from('00000000020801', 'hex'));
        resolve({ headers: { ...headers }, body: Buffer.concat(chunks).toString('hex') });
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  try {
    const answer = new Promise<void>((resolve) => {
      let all = '';
      socket.on('data', (chunk) => {
        all += chunk.toString('hex');
        if (all.includes(GRPC_SERVING)) resolve();
      });
    });
    socket.write(Buffer.from(grpcHealthRequest('tts.bank.example', 'a.B'), 'hex'));
    const { headers, body } = await seen;
    expect(headers).toMatchObject({
      ':method': 'POST',
      ':scheme': 'http',
      ':path': '/grpc.health.v1.Health/Check',
      ':authority': 'tts.bank.example',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    expect(body).toBe('00' + '00000005' + '0a03' + Buffer.from('a.B').toString('hex'));
    await answer;
  } finally {
    socket.destroy();
    server.close();
  }
});
