import { createHash } from 'node:crypto';
import { untrustedError } from '../errors.js';

/** The one primary key of an OpenPGP public key file, as far as rpm is meant to see it. */
export interface PublicKey {
  /** Version 4 fingerprint, 40 upper-case hex digits. */
  readonly fingerprint: string;
  /** The last 16 digits of the fingerprint, in lower case: what a signature names. */
  readonly keyId: string;
  /**
   * The primary key, its user IDs and their signatures, and nothing else. Subkeys are left out: rpm before
   * 4.17.1 takes a subkey's signature without checking that the primary key vouches for it (CVE-2021-3521),
   * so whoever can add bytes to the file could sign packages although the fingerprint still fits.
   */
  readonly armored: string;
  /** How many subkeys were left out. */
  readonly subkeys: number;
}

/** Hostile inputs: a larger key file is refused unread. */
export const MAX_KEY_BYTES = 1024 * 1024;

/** RFC 4880, section 4.3. */
const TAG = {
  signature: 2,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  userId: 13,
  publicSubkey: 14,
} as const;

interface Packet {
  readonly tag: number;
  readonly body: Uint8Array;
  /** Header and body, as in the file. */
  readonly bytes: Uint8Array;
}

/**
 * Reads an armored or binary OpenPGP public key.
 * @param where the file, for errors
 * @throws BundleError exit 4 when it is not exactly one version 4 primary key
 */
export function readPublicKey(bytes: Uint8Array, where: string): PublicKey {
  if (bytes.length > MAX_KEY_BYTES) throw badKey(where, `the key file has ${String(bytes.length)} bytes`);
  const packets = readPackets((bytes[0] ?? 0) >= 0x80 ? bytes : dearmor(bytes, where), where);

  if (packets.some((packet) => packet.tag === TAG.secretKey || packet.tag === TAG.secretSubkey))
    throw badKey(where, 'the file holds a private key; only a public key belongs here');
  const primaries = packets.filter((packet) => packet.tag === TAG.publicKey);
  const [primary] = primaries;
  if (primary === undefined) throw badKey(where, 'the file holds no OpenPGP public key');
  if (primaries.length > 1)
    throw badKey(
      where,
      `the file holds ${String(primaries.length)} primary keys; a pinned fingerprint names one`,
    );
  if (packets[0] !== primary) throw badKey(where, 'the file does not begin with a public key');
  if (primary.body[0] !== 4)
    throw badKey(where, `the key has version ${String(primary.body[0])}; rpm on EL7 knows version 4`);

  const fingerprint = fingerprintOf(primary.body);
  const firstSubkey = packets.findIndex((packet) => packet.tag === TAG.publicSubkey);
  const ofPrimary = packets
    .slice(0, firstSubkey === -1 ? undefined : firstSubkey)
    .filter(({ tag }) => tag === TAG.publicKey || tag === TAG.userId || tag === TAG.signature);
  return {
    fingerprint,
    keyId: fingerprint.slice(-16).toLowerCase(),
    armored: armor(Buffer.concat(ofPrimary.map((packet) => packet.bytes))),
    subkeys: packets.filter((packet) => packet.tag === TAG.publicSubkey).length,
  };
}

/** @throws BundleError exit 4 */
export function requireFingerprint(key: PublicKey, pinned: string, where: string): void {
  if (key.fingerprint === pinned) return;
  throw untrustedError({
    code: 'KEY_MISMATCH',
    message: 'the key file does not hold the key that the manifest pins',
    where,
    details: [`the manifest pins ${pinned}`, `the file holds     ${key.fingerprint}`],
    hint: 'Ask the distribution for its fingerprint by another way than this file, and put right whichever is wrong.',
  });
}

/** RFC 4880, section 12.2. */
function fingerprintOf(body: Uint8Array): string {
  const head = Buffer.from([0x99, body.length >> 8, body.length & 0xff]);
  return createHash('sha1').update(head).update(body).digest('hex').toUpperCase();
}

/** RFC 4880, section 4.2; partial and indeterminate lengths are for data packets, never for keys. */
function readPackets(bytes: Uint8Array, where: string): Packet[] {
  const packets: Packet[] = [];
  let at = 0;
  const octet = (): number => {
    const value = bytes[at];
    if (value === undefined) throw badKey(where, 'the key is cut off');
    at += 1;
    return value;
  };
  const number = (octets: number): number => {
    let value = 0;
    for (let index = 0; index < octets; index += 1) value = value * 256 + octet();
    return value;
  };
  while (at < bytes.length) {
    const start = at;
    const header = octet();
    if ((header & 0x80) === 0) throw badKey(where, 'the file is not OpenPGP data');
    let tag: number;
    let length: number;
    if ((header & 0x40) !== 0) {
      tag = header & 0x3f;
      const first = octet();
      if (first < 192) length = first;
      else if (first < 224) length = (first - 192) * 256 + octet() + 192;
      else if (first === 255) length = number(4);
      else throw badKey(where, 'the key has packets of unknown length');
    } else {
      tag = (header >> 2) & 0x0f;
      const type = header & 3;
      if (type === 3) throw badKey(where, 'the key has packets of unknown length');
      length = number(2 ** type);
    }
    if (length > bytes.length - at) throw badKey(where, 'the key is cut off');
    packets.push({ tag, body: bytes.subarray(at, at + length), bytes: bytes.subarray(start, at + length) });
    at += length;
  }
  return packets;
}

const BEGIN = '-----BEGIN PGP PUBLIC KEY BLOCK-----';
const END = '-----END PGP PUBLIC KEY BLOCK-----';

/** RFC 4880, section 6. Text around the block is allowed, a second block is not: rpm would read one of them. */
function dearmor(bytes: Uint8Array, where: string): Uint8Array {
  const lines = Buffer.from(bytes)
    .toString('latin1')
    .split(/\r?\n/)
    .map((line) => line.trimEnd());
  const begins = lines.flatMap((line, index) => (line.startsWith('-----BEGIN ') ? [index] : []));
  const begin = begins[0];
  if (begin === undefined) throw badKey(where, 'the file holds no OpenPGP public key');
  if (lines.some((line) => line.startsWith('-----BEGIN PGP PRIVATE KEY')))
    throw badKey(where, 'the file holds a private key; only a public key belongs here');
  if (lines[begin] !== BEGIN) throw badKey(where, `the file holds "${lines[begin] ?? ''}"`);
  if (begins.length > 1)
    throw badKey(where, `the file holds ${String(begins.length)} key blocks; a pinned fingerprint names one`);
  const end = lines.indexOf(END, begin);
  if (end === -1) throw badKey(where, 'the key is cut off: its last line is missing');
  const blank = lines.indexOf('', begin);
  if (blank === -1 || blank > end) throw badKey(where, 'the key has no empty line after its armor headers');

  const body = lines.slice(blank + 1, end).filter((line) => line !== '');
  const sum = body.at(-1)?.startsWith('=') === true ? body.pop() : undefined;
  // Published key files have blanks where a line break was lost; the checksum and the fingerprint decide.
  const text = body.join('').replace(/[ \t]/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw badKey(where, 'the key is not base64 text');
  const data = Buffer.from(text, 'base64');
  if (sum !== undefined && sum !== `=${crc24(data)}`)
    throw badKey(where, 'the key is damaged: its checksum does not fit');
  return data;
}

function armor(data: Uint8Array): string {
  const lines =
    Buffer.from(data)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return [BEGIN, '', ...lines, `=${crc24(data)}`, END, ''].join('\n');
}

/** RFC 4880, section 6.1, in base64. */
function crc24(data: Uint8Array): string {
  let crc = 0xb704ce;
  for (const byte of data) {
    crc ^= byte << 16;
    for (let bit = 0; bit < 8; bit += 1) {
      crc <<= 1;
      if ((crc & 0x1000000) !== 0) crc ^= 0x1864cfb;
    }
  }
  return Buffer.from([(crc >> 16) & 0xff, (crc >> 8) & 0xff, crc & 0xff]).toString('base64');
}

function badKey(where: string, message: string): Error {
  return untrustedError({
    code: 'BAD_KEY',
    message,
    where,
    hint: "Give the distribution's own key file, with one key, as in: gpg --armor --export FINGERPRINT > FILE",
  });
}
