import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readPublicKey, requireFingerprint } from '../../src/create/openpgp.js';
import { BundleError } from '../../src/errors.js';
import { skipUnless } from '../support/skip.js';

const CENTOS_KEY = new URL('../../../shared/el7-rpms/RPM-GPG-KEY-CentOS-7', import.meta.url);

describe('the real CentOS 7 key', () => {
  skipUnless(existsSync(CENTOS_KEY), 'the folder with real EL7 RPMs and their key is not here');

  it('has the fingerprint that CentOS publishes', () => {
    const key = readPublicKey(readFileSync(CENTOS_KEY), 'RPM-GPG-KEY-CentOS-7');
    expect(key).toMatchObject({
      fingerprint: '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5',
      keyId: '24c6a8a7f4a80eb5',
      subkeys: 0,
    });
    requireFingerprint(key, '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5', 'x');
  });

  it('keeps its fingerprint through the armor that rpm gets', () => {
    const key = readPublicKey(readFileSync(CENTOS_KEY), 'x');
    expect(readPublicKey(Buffer.from(key.armored), 'y')).toEqual(key);
  });

  it('is found in text around it and with CRLF', () => {
    const text = `Fetched today\n\n${readFileSync(CENTOS_KEY, 'latin1')}\ntrailing words\n`;
    expect(readPublicKey(Buffer.from(text.replaceAll('\n', '\r\n')), 'x').keyId).toBe('24c6a8a7f4a80eb5');
  });

  it('is refused when any one base64 character of it changed', () => {
    const text = readFileSync(CENTOS_KEY, 'latin1');
    const start = text.indexOf('\n\n') + 2;
    for (let at = start; at < start + 1400; at += 97) {
      const char = text[at] ?? '';
      if (/\s/.test(char)) continue;
      const changed = `${text.slice(0, at)}${char === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`;
      expect(thrown(() => readPublicKey(Buffer.from(changed, 'latin1'), 'x'))).toMatchObject({
        code: 'BAD_KEY',
        exit: 4,
      });
    }
  });
});

describe('readPublicKey', () => {
  const one = primary(1);
  const two = primary(2);
  const id = packet(13, Buffer.from('Somebody <somebody@example.invalid>'));

  it('reads a binary file, old and new packet headers alike', () => {
    const old = readPublicKey(Buffer.concat([one, id]), 'x');
    const fresh = readPublicKey(Buffer.concat([newPacket(6, body(1)), id]), 'x');
    expect(fresh.fingerprint).toBe(old.fingerprint);
    expect(old.fingerprint).toMatch(/^[0-9A-F]{40}$/);
    expect(old.fingerprint.toLowerCase().endsWith(old.keyId)).toBe(true);
  });

  it('leaves out subkeys, which rpm would trust without a proof that they belong to the key', () => {
    const plain = readPublicKey(Buffer.concat([one, id]), 'x');
    const planted = readPublicKey(
      Buffer.concat([one, id, packet(14, body(2)), packet(2, Buffer.from('forged binding'))]),
      'x',
    );
    expect(planted).toEqual({ ...plain, subkeys: 1 });
  });

  it.each([
    ['two primary keys', Buffer.concat([one, id, two, id]), /2 primary keys/],
    ['no primary key', id, /no OpenPGP public key/],
    ['a user ID first', Buffer.concat([id, one]), /does not begin with/],
    ['a private key', Buffer.concat([one, packet(7, body(1))]), /private key/],
    ['a version 3 key', packet(6, Buffer.concat([Buffer.from([3]), body(1).subarray(1)])), /version 3/],
    ['a cut-off key', one.subarray(0, -1), /cut off/],
    ['bytes after the last packet', Buffer.concat([one, Buffer.from([0])]), /not OpenPGP/],
    ['an empty file', Buffer.alloc(0), /no OpenPGP public key/],
    ['an HTML page', Buffer.from('<html>404</html>'), /no OpenPGP public key/],
    [
      'two blocks',
      Buffer.from(`${readPublicKey(one, 'x').armored}${readPublicKey(two, 'x').armored}`),
      /2 key blocks/,
    ],
    [
      'an armored private key',
      Buffer.from('-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n'),
      /private key/,
    ],
    [
      'a block without its end',
      Buffer.from(readPublicKey(one, 'x').armored.replace(/-----END[^]*$/, '')),
      /cut off/,
    ],
    ['a very large file', Buffer.alloc(2 * 1024 * 1024, 0x99), /bytes/],
  ])('refuses %s', (_, bytes, words) => {
    const error = thrown(() => readPublicKey(bytes, 'keys/x.asc'));
    expect(error).toMatchObject({ code: 'BAD_KEY', exit: 4, where: 'keys/x.asc' });
    expect(error.message).toMatch(words);
  });

  it('never throws anything else, whatever the bytes', () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) >> 8;
    for (let round = 0; round < 3000; round += 1) {
      const bytes = Buffer.concat([one, id]);
      for (let flips = 0; flips < 4; flips += 1) bytes[random() % 40] = random() & 0xff;
      try {
        readPublicKey(bytes, 'x');
      } catch (error) {
        expect(error).toBeInstanceOf(BundleError);
      }
    }
  });
});

describe('requireFingerprint', () => {
  it('shows both fingerprints', () => {
    const key = readPublicKey(primary(1), 'x');
    const error = thrown(() => {
      requireFingerprint(key, 'A'.repeat(40), 'keys/x.asc');
    });
    expect(error).toMatchObject({ code: 'KEY_MISMATCH', exit: 4, where: 'keys/x.asc' });
    expect(error.details.join('\n')).toContain(key.fingerprint);
  });
});

function thrown(work: () => unknown): BundleError {
  try {
    work();
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** A version 4 RSA key with a made-up modulus: nothing here computes with it. */
function body(seed: number): Buffer {
  const modulus = Buffer.alloc(128, seed);
  modulus[0] = 0x80;
  return Buffer.concat([
    Buffer.from([4, 0, 0, 0, seed, 1, 0x04, 0x00]),
    modulus,
    Buffer.from([0, 17, 1, 0, 1]),
  ]);
}

function primary(seed: number): Buffer {
  return packet(6, body(seed));
}

/** RFC 4880, section 4.2.1, two-octet length. */
function packet(tag: number, content: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([0x80 | (tag << 2) | 1, content.length >> 8, content.length & 0xff]),
    content,
  ]);
}

/** RFC 4880, section 4.2.2.1. */
function newPacket(tag: number, content: Buffer): Buffer {
  const head =
    content.length < 192
      ? [content.length]
      : [((content.length - 192) >> 8) + 192, (content.length - 192) & 0xff];
  return Buffer.concat([Buffer.from([0xc0 | tag, ...head]), content]);
}
