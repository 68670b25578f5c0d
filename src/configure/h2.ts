/*
 * The one HTTP/2 exchange that a TCP-level health check sends, as bytes (RFC 7540, RFC 7541):
 * a unary call of grpc.health.v1.Health/Check. An HTTP status cannot tell SERVING from NOT_SERVING,
 * because gRPC answers 200 to both.
 */

const PREFACE = ascii('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const FRAME = { data: 0x0, headers: 0x1, settings: 0x4 } as const;
const FLAG = { endStream: 0x1, endHeaders: 0x4 } as const;

/**
 * @param authority at most 126 characters, so that every HPACK length is one byte
 * @param service the gRPC service, at most 100 characters; empty asks for the server as a whole
 * @returns lower-case hex
 */
export function grpcHealthRequest(authority: string, service: string): string {
  const headers = [
    0x83, // :method POST
    0x86, // :scheme http
    0x04,
    ...text('/grpc.health.v1.Health/Check'), // :path
    0x01,
    ...text(authority), // :authority
    0x0f,
    0x10,
    ...text('application/grpc'), // content-type
    0x00,
    ...text('te'),
    ...text('trailers'),
  ];
  // HealthCheckRequest { string service = 1 }; proto3 leaves an empty string out.
  const request = service === '' ? [] : [0x0a, ...text(service)];
  const message = [0x00, ...bigEndian(request.length, 4), ...request];
  return hex([
    ...PREFACE,
    ...frame(FRAME.settings, 0, 0, []),
    ...frame(FRAME.headers, FLAG.endHeaders, 1, headers),
    ...frame(FRAME.data, FLAG.endStream, 1, message),
  ]);
}

/** A gRPC message of two bytes, HealthCheckResponse { status = SERVING }. */
export const GRPC_SERVING = '00000000020801';

function frame(type: number, flags: number, stream: number, payload: readonly number[]): number[] {
  return [...bigEndian(payload.length, 3), type, flags, ...bigEndian(stream, 4), ...payload];
}

/** A length-prefixed string without Huffman coding. */
function text(value: string): number[] {
  if (value.length > 126)
    throw new RangeError(`too long for a one-byte length: ${String(value.length)} characters`);
  return [value.length, ...ascii(value)];
}

function ascii(value: string): number[] {
  return [...value].map((character) => character.charCodeAt(0));
}

function bigEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, index) => Math.floor(value / 256 ** (bytes - 1 - index)) % 256);
}

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
