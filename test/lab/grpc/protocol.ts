import type { MethodDefinition } from '@grpc/grpc-js';

/**
 * tts.v1.Speech and grpc.health.v1.Health, encoded by hand: every field is a string or bytes
 * (wire type 2) or a small number (wire type 0) below 128, which is all that is needed here.
 */

const lengthDelimited = (field: number, value: Buffer): Buffer => {
  const length: number[] = [];
  let rest = value.length;
  do {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), value]);
};

const varint = (from: Buffer, at: number): { value: number; next: number } => {
  let value = 0;
  for (let shift = 0, index = at; index < from.length; shift += 7, index += 1) {
    const byte = from.readUInt8(index);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value, next: index + 1 };
  }
  throw new RangeError('a varint without an end');
};

/** Fields by number; a number's value is its one byte. */
const decode = (message: Buffer): Map<number, Buffer> => {
  const fields = new Map<number, Buffer>();
  for (let at = 0; at < message.length;) {
    const key = varint(message, at);
    const head = varint(message, key.next);
    const wire = key.value & 7;
    if (wire !== 0 && wire !== 2) throw new RangeError(`wire type ${wire} is not used here`);
    const end = wire === 2 ? head.next + head.value : head.next;
    fields.set(key.value >>> 3, wire === 2 ? message.subarray(head.next, end) : Buffer.from([head.value]));
    at = end;
  }
  return fields;
};

const text = (fields: ReadonlyMap<number, Buffer>, field: number): string =>
  fields.get(field)?.toString('utf8') ?? '';

/** `message SynthesizeRequest { string text = 1; }` */
export interface SynthesizeRequest {
  readonly text: string;
}

/** `message SynthesizeReply { string backend = 1; bytes audio = 2; }` */
export interface SynthesizeReply {
  readonly backend: string;
  readonly audio: Buffer;
}

/** `message HealthCheckRequest { string service = 1; }` */
export interface HealthRequest {
  readonly service: string;
}

/** `message HealthCheckResponse { ServingStatus status = 1; }`: 1 is SERVING, 2 is NOT_SERVING. */
export interface HealthReply {
  readonly status: number;
}

const synthesize = {
  requestSerialize: (request: SynthesizeRequest): Buffer => lengthDelimited(1, Buffer.from(request.text)),
  requestDeserialize: (bytes: Buffer): SynthesizeRequest => ({ text: text(decode(bytes), 1) }),
  responseSerialize: (reply: SynthesizeReply): Buffer =>
    Buffer.concat([lengthDelimited(1, Buffer.from(reply.backend)), lengthDelimited(2, reply.audio)]),
  responseDeserialize: (bytes: Buffer): SynthesizeReply => {
    const fields = decode(bytes);
    return { backend: text(fields, 1), audio: fields.get(2) ?? Buffer.alloc(0) };
  },
};

/** One request, one reply. */
export const SYNTHESIZE: MethodDefinition<SynthesizeRequest, SynthesizeReply> = {
  path: '/tts.v1.Speech/Synthesize',
  requestStream: false,
  responseStream: false,
  ...synthesize,
};

/** One request, a reply for each piece of audio. */
export const SYNTHESIZE_STREAM: MethodDefinition<SynthesizeRequest, SynthesizeReply> = {
  path: '/tts.v1.Speech/SynthesizeStream',
  requestStream: false,
  responseStream: true,
  ...synthesize,
};

export const HEALTH_CHECK: MethodDefinition<HealthRequest, HealthReply> = {
  path: '/grpc.health.v1.Health/Check',
  requestStream: false,
  responseStream: false,
  requestSerialize: (request) => lengthDelimited(1, Buffer.from(request.service)),
  requestDeserialize: (bytes) => ({ service: text(decode(bytes), 1) }),
  responseSerialize: (reply) => Buffer.from([0x08, reply.status]),
  responseDeserialize: (bytes) => ({ status: decode(bytes).get(1)?.readUInt8(0) ?? 0 }),
};
