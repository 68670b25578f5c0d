import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import {
  HEALTH_CHECK,
  SYNTHESIZE,
  SYNTHESIZE_STREAM,
  type HealthReply,
  type HealthRequest,
  type SynthesizeReply,
  type SynthesizeRequest,
} from './protocol.js';

/**
 * A text-to-speech backend: `BACKEND` is its name, `PORT` where it listens (50051).
 * A streamed reply has a piece for each word, but at least `PIECES` (5), `PAUSE_MS` apart (100).
 * SIGUSR1 switches its health between SERVING and NOT_SERVING. SIGTERM lets the calls that run come to their end,
 * for ten seconds.
 */
const backend = process.env['BACKEND'] ?? 'backend';
const port = Number(process.env['PORT'] ?? '50051');
const pieces = Number(process.env['PIECES'] ?? '5');
const pauseMs = Number(process.env['PAUSE_MS'] ?? '100');

const SERVING = 1;
const NOT_SERVING = 2;
const DRAIN_MS = 10_000;
let health = SERVING;

const replyTo = (request: SynthesizeRequest): SynthesizeReply => ({
  backend,
  audio: Buffer.from(request.text).subarray(0, 16),
});

const server = new Server();
server.addService(
  { synthesize: SYNTHESIZE, synthesizeStream: SYNTHESIZE_STREAM },
  {
    synthesize: (
      call: ServerUnaryCall<SynthesizeRequest, SynthesizeReply>,
      done: sendUnaryData<SynthesizeReply>,
    ) => {
      done(null, replyTo(call.request));
    },
    synthesizeStream: (call: ServerWritableStream<SynthesizeRequest, SynthesizeReply>) => {
      let left = Math.max(pieces, call.request.text.split(' ').length);
      const timer = setInterval(() => {
        call.write(replyTo(call.request));
        left -= 1;
        if (left > 0) return;
        clearInterval(timer);
        call.end();
      }, pauseMs);
      call.on('cancelled', () => clearInterval(timer));
    },
  },
);
server.addService(
  { check: HEALTH_CHECK },
  {
    check: (_call: ServerUnaryCall<HealthRequest, HealthReply>, done: sendUnaryData<HealthReply>) => {
      done(null, { status: health });
    },
  },
);

process.on('SIGUSR1', () => {
  health = health === SERVING ? NOT_SERVING : SERVING;
});
process.on('SIGTERM', () => {
  health = NOT_SERVING;
  setTimeout(() => process.exit(0), DRAIN_MS).unref();
  server.tryShutdown(() => process.exit(0));
});

server.bindAsync(`0.0.0.0:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) {
    console.error(error.message);
    process.exit(1);
  }
  console.log(`${backend} listens on ${port}`);
});
