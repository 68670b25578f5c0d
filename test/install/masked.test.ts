import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guardedDigest, isDigestOf, sha256Hex, shownDigest } from '../../src/install/guarded-digest.js';
import { MASK, maskPair, maskSecrets, secretShapes } from '../../src/install/masked.js';

describe('a text that is shown', () => {
  it.each([
    '    auth_pass s3cret',
    'requirepass hunter2',
    'user admin insecure-password hunter2',
    'stats auth admin:hunter2',
    'masterauth hunter2',
    'api_key = hunter2',
    'http-request set-header Authorization Bearer:hunter2',
  ])('does not show: %s', (line) => {
    expect(maskSecrets(`a\n${line}\nb`, [])).toEqual({ text: `a\n${MASK}\nb`, masked: true });
  });

  it.each(['    priority 150', '    auth_type PASS', 'authentication {', 'option http-server-close'])(
    'shows: %s',
    (line) => {
      expect(maskSecrets(line, [])).toEqual({ text: line, masked: false });
    },
  );

  it('does not show a line with a secret that is known, whatever stands beside it', () => {
    expect(maskSecrets('x hunter2-hunter2 y\n', ['hunter2-hunter2']).text).toBe(`${MASK}\n`);
  });

  it('shows no line of a private key', () => {
    const pem = '-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nAwEHoUQD\n-----END EC PRIVATE KEY-----';
    expect(maskSecrets(`a\n${pem}\nb`, []).text).toBe(['a', MASK, MASK, MASK, MASK, 'b'].join('\n'));
  });

  it('is the same when it is masked again', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme-ascii' }),
        fc.array(fc.string({ minLength: 1 })),
        (text, secrets) => {
          const once = maskSecrets(text, secrets);
          expect(maskSecrets(once.text, secrets)).toEqual(once);
        },
      ),
    );
  });

  it('hides the older secret that stood where the new one stands', () => {
    const shapes = secretShapes('bind 1\nlogin "new-secret";\n', ['new-secret']);
    expect(maskSecrets('bind 2\nlogin "old";\n', ['new-secret'], shapes).text).toBe(`bind 2\n${MASK}\n`);
  });

  it('hides every older line where the secret stands alone on its own', () => {
    const after = { content: 'new-secret\n', secret: true };
    expect(maskPair('old\n', after, ['new-secret']).before).toBe(`${MASK}\n`);
  });

  it('of a file that is said to be secret, and in which none is found, is not shown at all', () => {
    expect(maskPair('a\n', { content: 'b\n', secret: true }, [])).toEqual({
      before: undefined,
      after: undefined,
      masked: true,
    });
  });
});

describe('the digest of a file that may hold a secret', () => {
  it('is not the SHA-256 that a guess could be compared with, and still tells the same content', () => {
    const plain = sha256Hex('auth_pass a\n');
    const shown = shownDigest('/etc/x', plain, true);
    expect(shown).toMatch(/^scrypt:[0-9a-f]{64}$/);
    expect(shown).not.toContain(plain);
    expect(shownDigest('/etc/x', shown, true)).toBe(shown);
    expect(isDigestOf(shown, '/etc/x', 'auth_pass a\n')).toBe(true);
    expect(isDigestOf(shown, '/etc/x', 'auth_pass b\n')).toBe(false);
    expect(isDigestOf(guardedDigest('/etc/y', plain), '/etc/x', 'auth_pass a\n')).toBe(false);
  });

  it('of any other file is its SHA-256', () => {
    expect(shownDigest('/etc/x', sha256Hex('a'), false)).toBe(sha256Hex('a'));
    expect(isDigestOf(sha256Hex('a'), '/etc/x', 'a')).toBe(true);
    expect(isDigestOf(undefined, '/etc/x', 'a')).toBe(false);
  });
});
