import { Client, credentials } from '@grpc/grpc-js';
import { SYNTHESIZE, SYNTHESIZE_STREAM, type SynthesizeReply } from './protocol.js';

/**
 * Calls over ONE connection, one after another: `client.cjs HOST:PORT CALLS [unary|stream] [PAUSE_MS]`.
 * Prints one line of JSON: replies per backend, errors by their words, the slowest call in ms.
 */
const [target = '127.0.0.1:50051', calls = '1', kind = 'unary', pause = '0'] = process.argv.slice(2);
const DEADLINE_MS = 5000;

const client = new Client(target, credentials.createInsecure());
const request = { text: 'good morning' };

const unary = (): Promise<string> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      SYNTHESIZE.path,
      SYNTHESIZE.requestSerialize,
      SYNTHESIZE.responseDeserialize,
      request,
      { deadline: Date.now() + DEADLINE_MS },
      (error, reply) => {
        if (error !== null) reject(error);
        else resolve(reply?.backend ?? '');
      },
    );
  });

const stream = (): Promise<string> =>
  new Promise((resolve, reject) => {
    let backend = '';
    client
      .makeServerStreamRequest(
        SYNTHESIZE_STREAM.path,
        SYNTHESIZE_STREAM.requestSerialize,
        SYNTHESIZE_STREAM.responseDeserialize,
        request,
        { deadline: Date.now() + 60_000 },
      )
      .on('data', (reply: SynthesizeReply) => {
        backend = reply.backend;
      })
      .on('error', reject)
      .on('end', () => resolve(backend));
  });

const main = async (): Promise<void> => {
  const replies: Record<string, number> = {};
  const errors: Record<string, number> = {};
  let slowestMs = 0;
  for (let index = 0; index < Number(calls); index += 1) {
    const startMs = Date.now();
    try {
      const backend = await (kind === 'stream' ? stream() : unary());
      replies[backend] = (replies[backend] ?? 0) + 1;
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      errors[words] = (errors[words] ?? 0) + 1;
    }
    slowestMs = Math.max(slowestMs, Date.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, Number(pause)));
  }
  client.close();
  console.log(JSON.stringify({ target, calls: Number(calls), replies, errors, slowestMs }));
};

void main();
