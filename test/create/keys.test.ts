import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { keygen, loadSigningKey, publicKeyOf } from '../../src/create/keys.js';
import { signChecksums } from '../../src/create/sign.js';
import {
  fingerprint,
  formatFingerprint,
  keyId,
  parseFingerprint,
  parsePublicKey,
  verifySignature,
} from '../../src/model/signature.js';
import { failureOf, temporaryFolder } from './create-support.js';

const TEXT = '# airbundle-1 name=a version=1 sequence=1 target=el7.x86_64\n';

describe('keygen', () => {
  it('writes a pair that openssl reads, the private half for its owner only', async () => {
    const folder = temporaryFolder();
    const made = await keygen({ prefix: path.join(folder, 'not', 'yet', 'packager') });
    expect(made.keyPath).toBe(path.join(folder, 'not', 'yet', 'packager.key.pem'));
    expect(statSync(made.keyPath).mode & 0o777).toBe(0o600);
    const der = execFileSync('openssl', ['pkey', '-pubin', '-in', made.publicKeyPath, '-outform', 'DER']);
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-r'], { input: der, encoding: 'utf8' }).slice(
      0,
      64,
    );
    expect(made.fingerprint).toBe(digest);
    expect(made.keyId).toBe(digest.slice(0, 16));
    expect(
      execFileSync('openssl', ['pkey', '-in', made.keyPath, '-noout', '-text'], { encoding: 'utf8' }),
    ).toContain('prime256v1');
    expect(readFileSync(made.keyPath, 'utf8')).toContain('BEGIN PRIVATE KEY');
  });

  it('never writes over either half', async () => {
    for (const half of ['key', 'pub']) {
      const prefix = path.join(temporaryFolder(), 'packager');
      writeFileSync(`${prefix}.${half}.pem`, 'precious');
      const failure = await failureOf(keygen({ prefix }));
      expect(failure.exit).toBe(5);
      expect(failure.where).toBe(`${prefix}.${half}.pem`);
      expect(readFileSync(`${prefix}.${half}.pem`, 'utf8')).toBe('precious');
      expect(existsSync(`${prefix}.${half === 'key' ? 'pub' : 'key'}.pem`)).toBe(false);
    }
  });

  it('encrypts the private half with the first line of the passphrase file', async () => {
    const folder = temporaryFolder();
    const passphraseFile = path.join(folder, 'passphrase');
    writeFileSync(passphraseFile, 'correct horse\nignored\n');
    const { keyPath } = await keygen({ prefix: path.join(folder, 'packager'), passphraseFile });
    expect(readFileSync(keyPath, 'utf8')).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    execFileSync('openssl', ['pkey', '-in', keyPath, '-passin', 'pass:correct horse', '-noout']);
    await expect(loadSigningKey(keyPath, 'correct horse')).resolves.toBeDefined();
    expect((await failureOf(loadSigningKey(keyPath, 'wrong'))).code).toBe('WRONG_PASSPHRASE');
    expect((await failureOf(loadSigningKey(keyPath))).code).toBe('PASSPHRASE_NEEDED');
  });
});

describe('loadSigningKey', () => {
  it('refuses a key that others may read, and says how to mend it', async () => {
    const { keyPath } = await keygen({ prefix: path.join(temporaryFolder(), 'packager') });
    chmodSync(keyPath, 0o640);
    const failure = await failureOf(loadSigningKey(keyPath));
    expect(failure.exit).toBe(5);
    expect(failure.hint).toContain(`chmod 600 ${keyPath}`);
  });

  it('says what is wrong with a missing file, a public key, another type, a damaged file', async () => {
    const folder = temporaryFolder();
    const { publicKeyPath } = await keygen({ prefix: path.join(folder, 'packager') });
    chmodSync(publicKeyPath, 0o600);
    const write = (name: string, text: string): string => {
      writeFileSync(path.join(folder, name), text, { mode: 0o600 });
      return path.join(folder, name);
    };
    const pem = { type: 'pkcs8', format: 'pem' } as const;
    const rsa = write(
      'rsa',
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(pem) as string,
    );
    const ed = write('ed', generateKeyPairSync('ed25519').privateKey.export(pem) as string);
    const p384 = write(
      'p384',
      generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey.export(pem) as string,
    );
    const damaged = write('damaged', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
    expect((await failureOf(loadSigningKey(path.join(folder, 'none')))).code).toBe('NO_KEY');
    expect((await failureOf(loadSigningKey(publicKeyPath))).message).toContain('this is a public key');
    expect((await failureOf(loadSigningKey(rsa))).message).toContain('RSA');
    expect((await failureOf(loadSigningKey(ed))).message).toContain('Ed25519');
    expect((await failureOf(loadSigningKey(p384))).message).toContain('secp384r1');
    expect((await failureOf(loadSigningKey(damaged))).code).toBe('KEY_UNREADABLE');
    expect((await failureOf(loadSigningKey(write('text', 'hello')))).message).toContain('not a private key');
  });
});

describe('a signature', () => {
  it('is verified by openssl and by verifySignature, and only over these bytes by this key', async () => {
    const folder = temporaryFolder();
    const made = await keygen({ prefix: path.join(folder, 'packager') });
    const other = await keygen({ prefix: path.join(folder, 'other') });
    const signature = signChecksums(TEXT, await loadSigningKey(made.keyPath));
    writeFileSync(path.join(folder, 'text'), TEXT);
    writeFileSync(path.join(folder, 'sig'), signature);
    const openssl = (publicKey: string): string =>
      execFileSync(
        'openssl',
        [
          'dgst',
          '-sha256',
          '-verify',
          publicKey,
          '-signature',
          path.join(folder, 'sig'),
          path.join(folder, 'text'),
        ],
        { encoding: 'utf8', stdio: 'pipe' },
      );
    expect(openssl(made.publicKeyPath)).toContain('Verified OK');
    expect(() => openssl(other.publicKeyPath)).toThrow();

    const key = parsePublicKey(readFileSync(made.publicKeyPath, 'utf8'), made.publicKeyPath);
    expect(verifySignature(Buffer.from(TEXT), signature, key)).toBe(true);
    expect(verifySignature(Buffer.from(`${TEXT} `), signature, key)).toBe(false);
    expect(
      verifySignature(
        Buffer.from(TEXT),
        signature,
        parsePublicKey(readFileSync(other.publicKeyPath, 'utf8'), 'other'),
      ),
    ).toBe(false);
  });

  it('fails for every flipped bit and every truncation of it, and for bytes after it', async () => {
    const made = await keygen({ prefix: path.join(temporaryFolder(), 'packager') });
    const key = await loadSigningKey(made.keyPath);
    const signature = signChecksums(TEXT, key);
    const publicKey = publicKeyOf(key);
    for (let bit = 0; bit < signature.length * 8; bit += 1) {
      const flipped = Buffer.from(signature);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(verifySignature(Buffer.from(TEXT), flipped, publicKey)).toBe(false);
    }
    for (let length = 0; length < signature.length; length += 1)
      expect(verifySignature(Buffer.from(TEXT), signature.subarray(0, length), publicKey)).toBe(false);
    expect(verifySignature(Buffer.from(TEXT), Buffer.concat([signature, Buffer.alloc(1)]), publicKey)).toBe(
      false,
    );
  });
});

describe('parsePublicKey', () => {
  it('takes only a P-256 public key, never a private one or a certificate', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const spki = (key: Parameters<typeof createPublicKey>[0]): string =>
      createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;
    expect(keyId(parsePublicKey(spki(privateKey), 'x'))).toMatch(/^[0-9a-f]{16}$/);
    expect(() => parsePublicKey(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string, 'x')).toThrow(
      'private key',
    );
    expect(() => parsePublicKey('-----BEGIN CERTIFICATE-----\n', 'x')).toThrow('not a public key');
    expect(() => parsePublicKey(spki(generateKeyPairSync('ed25519').privateKey), 'x')).toThrow('Ed25519');
  });

  it('reads a fingerprint as people type it', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const hex = fingerprint(publicKey);
    expect(parseFingerprint(formatFingerprint(hex))).toBe(hex);
    expect(parseFingerprint(hex.toUpperCase().replace(/..(?=.)/g, '$&:'))).toBe(hex);
    expect(parseFingerprint(hex.slice(1))).toBeUndefined();
  });
});
