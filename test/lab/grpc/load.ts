import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { SYNTHESIZE, SYNTHESIZE_STREAM } from './protocol.js';
import type {
  CallRecord,
  ClientKind,
  LoadReport,
  LoadSettings,
  StreamKind,
  StreamRecord,
} from './load-report.js';

/**
 * A constant load of calls and long streams: `load.cjs SETTINGS` with SETTINGS as JSON (load-report.ts). It ends when
 * its stdin does, or after `maxSeconds`, and prints its report as one line of JSON.
 *
 * Half of the standing connections send each call once. The other half are what a client that cares would be: calls
 * wait for a connection and are sent again when the answer is UNAVAILABLE. Beside them a new client comes every
 * tenth of a second with one call: it tells when the service is there, whatever the others still wait for.
 *
 * Half of the streams share the connections of the former, which send pings. grpc-js 1.14 cuts streams of a connection
 * that its server closes gracefully (GOAWAY, as at a reload of haproxy) with the next ping, since Node sends none then
 * and says that it failed. Each of the other half has a connection of its own without pings, and is given up after a
 * silence.
 */
const settings = JSON.parse(process.argv[2] ?? '{}') as LoadSettings;

const DEADLINE_MS = 10_000;
const STREAM_DEADLINE_MS = 120_000;
const NEW_CLIENT_MS = 100;
const NEW_CLIENT_DEADLINE_MS = 500;
const HEARTBEAT_MS = 20;
const RETRY = {
  methodConfig: [
    {
      name: [{ service: 'tts.v1.Speech' }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.2s',
        maxBackoff: '2s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};
/** Pieces come every 100 ms. */
const SILENCE_MS = 3000;
/** A lost peer is asked for again every half second. */
const CONNECTION = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.min_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 500,
};
/** A lost peer is noticed within two seconds. */
const PINGS = {
  'grpc.keepalive_time_ms': 1000,
  'grpc.keepalive_timeout_ms': 1000,
  'grpc.keepalive_permit_without_calls': 1,
};

const connect = (options: Readonly<Record<string, string | number>>): Client =>
  new Client(settings.target, credentials.createInsecure(), { ...CONNECTION, ...options });
const clientsOf = (options: Readonly<Record<string, string | number>>): Client[] =>
  Array.from({ length: settings.connections }, () => connect({ ...PINGS, ...options }));

const once = clientsOf({ 'grpc.enable_retries': 0 });
const retrying = clientsOf({ 'grpc.enable_retries': 1, 'grpc.service_config': JSON.stringify(RETRY) });

const patient = (): Metadata => new Metadata({ waitForReady: true });
const wordsOf = (error: ServiceError): string =>
  `${status[error.code]}: ${error.details.replace(/[ ,]*(?:Deadline exceeded after|metadata filters|name resolution|Resolution note|previous attempts).*/, '')}`;

const calls: CallRecord[] = [];
const streams: StreamRecord[] = [];
let stopped = false;
const stopping = (): boolean => stopped;

const unary = (client: Client, kind: ClientKind): Promise<void> =>
  new Promise((resolve) => {
    const startMs = Date.now();
    let begun: { begun?: true } = {};
    const call = client.makeUnaryRequest(
      SYNTHESIZE.path,
      SYNTHESIZE.requestSerialize,
      SYNTHESIZE.responseDeserialize,
      { text: 'good morning' },
      kind === 'retrying' ? patient() : new Metadata(),
      { deadline: startMs + (kind === 'new' ? NEW_CLIENT_DEADLINE_MS : DEADLINE_MS) },
      (error, reply) => {
        const answer =
          error === null ? { backend: reply?.backend ?? '' } : { error: wordsOf(error), ...begun };
        calls.push({ client: kind, startMs, endMs: Date.now(), ...answer });
        resolve();
      },
    );
    call.on('metadata', () => {
      begun = { begun: true };
    });
  });

const TEXT = Array.from({ length: settings.streamPieces }, (_, index) => `word${String(index)}`).join(' ');
const open = new Set<{ cancel: () => void }>();

/** @returns undefined when all of it came, the error otherwise */
const stream = (client: Client, noticedBy: StreamKind): Promise<string | undefined> =>
  new Promise((resolve) => {
    const call = client.makeServerStreamRequest(
      SYNTHESIZE_STREAM.path,
      SYNTHESIZE_STREAM.requestSerialize,
      SYNTHESIZE_STREAM.responseDeserialize,
      { text: TEXT },
      patient(),
      { deadline: Date.now() + STREAM_DEADLINE_MS },
    );
    open.add(call);
    let silentMs = 0;
    // Counted in short steps: time that this process itself stood still is not the server's.
    const listening = setInterval(() => {
      silentMs += HEARTBEAT_MS;
      if (noticedBy === 'pings' || silentMs < SILENCE_MS) return;
      resolve(`no piece for ${String(SILENCE_MS)} ms`);
      call.cancel();
    }, HEARTBEAT_MS);
    call.on('data', () => {
      silentMs = 0;
    });
    call.on('error', (error) => resolve(wordsOf(error as ServiceError)));
    call.on('end', () => resolve(undefined));
    call.on('status', () => {
      clearInterval(listening);
      open.delete(call);
    });
  });

const ready = (client: Client, withinMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + withinMs, (error) => (error ? reject(error) : resolve()));
  });

/** A dead connection without pings looks well: whoever begins again needs another one. */
const streamAlone = async (): Promise<string | undefined> => {
  const client = connect({});
  try {
    await ready(client, STREAM_DEADLINE_MS);
    return await stream(client, 'pieces');
  } finally {
    client.close();
  }
};

/** One stream after another; a broken one is begun again once. What this client cut off itself at the end is not broken. */
const speaker = async (noticedBy: StreamKind, speak: () => Promise<string | undefined>): Promise<void> => {
  while (!stopping()) {
    const startMs = Date.now();
    const broken = await speak();
    const whole = broken === undefined || (stopping() && broken.startsWith('CANCELLED'));
    const brokenMs = Date.now();
    const again = whole || stopping() ? undefined : await speak();
    const failed =
      again === undefined || (stopping() && again.startsWith('CANCELLED')) ? {} : { failed: again };
    streams.push({ noticedBy, startMs, ...(whole ? {} : { broken, brokenMs, ...failed }) });
  }
};

/** How long this process, and so perhaps everything on the machine, got no processor. */
let stalledMs = 0;
let beatMs = Date.now();
const heartbeat = setInterval(() => {
  stalledMs = Math.max(stalledMs, Date.now() - beatMs - HEARTBEAT_MS);
  beatMs = Date.now();
}, HEARTBEAT_MS);

const ended = new Promise<void>((resolve) => {
  process.stdin.on('end', resolve).resume();
  setTimeout(resolve, settings.maxSeconds * 1000).unref();
});

const main = async (): Promise<void> => {
  await Promise.all([...once, ...retrying].map((client) => ready(client, DEADLINE_MS)));
  console.log('ready');
  const beganMs = Date.now();
  const pending: Promise<void>[] = [];
  let sent = 0;
  const due = setInterval(() => {
    const wanted = Math.floor(((Date.now() - beganMs) / 1000) * settings.callsPerSecond);
    for (; sent < wanted; sent += 1) {
      const [kind, group] = sent % 2 === 1 ? (['retrying', retrying] as const) : (['once', once] as const);
      const client = group[Math.floor(sent / 2) % group.length];
      if (client !== undefined) pending.push(unary(client, kind));
    }
  }, 5);
  const newcomers = setInterval(() => {
    const client = connect({ 'grpc.enable_retries': 0 });
    pending.push(unary(client, 'new').finally(() => client.close()));
  }, NEW_CLIENT_MS);
  const speakers = Array.from({ length: settings.streams }, (_, index) =>
    index % 2 === 0
      ? speaker('pings', () => stream(once[(index / 2) % once.length] ?? connect(PINGS), 'pings'))
      : speaker('pieces', streamAlone),
  );
  await ended;
  stopped = true;
  clearInterval(due);
  clearInterval(newcomers);
  const endedMs = Date.now();
  await Promise.all(pending);
  for (const call of open) call.cancel();
  await Promise.all(speakers);
  clearInterval(heartbeat);
  const report: LoadReport = { beganMs, endedMs, stalledMs, calls, streams };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
};

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
