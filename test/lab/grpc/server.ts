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
 * A streamed reply has `PIECES` pieces (5), `PAUSE_MS` apart (100).
 * SIGUSR1 switches its health between SERVING and NOT_SERVING.
 */
const backend = process.env['BACKEND'] ?? 'backend';
const port = Number(process.env['PORT'] ?? '50051');
const pieces = Number(process.env['PIECES'] ?? '5');
const pauseMs = Number(process.env['PAUSE_MS'] ?? '100');

const SERVING = 1;
const NOT_SERVING = 2;
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
      let left = pieces;
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
  server.forceShutdown();
  process.exit(0);
});

server.bindAsync(`0.0.0.0:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) {
    console.error(error.message);
    process.exit(1);
  }
  console.log(`${backend} listens on ${port}`);
});
