import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { copyFileSync, cpSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Floor } from '../../src/install/floor.js';
import type { Receipt } from '../../src/install/receipt.js';
import { readKey, requireSequence, trustStore, verifyChecksums } from '../../src/install/trust.js';
import { target } from '../../src/model/layout.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey, sha256Of } from './bundle.js';

const mine = makeKey();
const NOBODY = { trusted: [], removed: [], threshold: 1 };
const other = makeKey();

describe('who signed a bundle', () => {
  let made: MadeBundle;
  let host: Rooted;
  let work: string;

  beforeAll(async () => {
    work = path.join(temporaryFolder(), '..', `airbundle-trust-${process.pid}`);
    made = await makeBundle({ work, key: mine });
    return () => rmSync(work, { recursive: true });
  });
  beforeEach(() => {
    host = rootedHost();
    cpSync(made.folder, path.join(host.root, 'm'), { recursive: true });
    host.put(`${target.trust}/${mine.keyId}.pem`, mine.pem);
  });
  const at = (name: string): string => path.join(host.root, 'm', name);
  const sums = (): string => at(`${made.stem}.sha256`);
  const signature = (id = mine.keyId): string => at(`${made.stem}.sha256.${id}.sig`);
  const verify = async () => verifyChecksums(host, '/m', await trustStore(host));
  const fails = async (code: string, exit = 4): Promise<void> => {
    await expect(verify()).rejects.toMatchObject({ code, exit, hint: expect.any(String) as string });
  };

  it('is found by a trusted key', async () => {
    const { checksums, signedBy, digest } = await verify();
    expect([checksums.name, signedBy.keyId, digest]).toEqual([
      'small',
      mine.keyId,
      sha256Of(readFileSync(sums())),
    ]);
  });

  it('is found with several keys in the store, whichever signed', async () => {
    host.put(`${target.trust}/0-other.pem`, other.pem);
    host.put(`${target.trust}/notes.txt`, 'not a key');
    expect((await verify()).signedBy.keyId).toBe(mine.keyId);
  });

  it('is nobody when only another key is trusted, however its signature is named', async () => {
    rmSync(path.join(host.root, target.trust, `${mine.keyId}.pem`));
    host.put(`${target.trust}/x.pem`, other.pem);
    await fails('BAD_SIGNATURE');
    copyFileSync(signature(), signature(other.keyId));
    await fails('BAD_SIGNATURE');
    // A good signature of the right key, for other bytes.
    writeFileSync(signature(other.keyId), sign('sha256', Buffer.from('other'), other.privateKey));
    await fails('BAD_SIGNATURE');
  });

  it('is nobody without any trusted key', async () => {
    rmSync(path.join(host.root, target.trust), { recursive: true });
    await expect(verify()).rejects.toMatchObject({ exit: 4, message: 'no key is trusted on this node yet' });
  });

  it.each<[string, () => void, string]>([
    ['a missing signature', () => rmSync(signature()), 'BAD_SIGNATURE'],
    ['an empty signature', () => truncateSync(signature(), 0), 'BAD_SIGNATURE'],
    ['a huge signature', () => truncateSync(signature(), 1024 ** 3), 'BAD_SIGNATURE'],
    [
      'a changed sequence',
      () => writeFileSync(sums(), readFileSync(sums(), 'utf8').replace('sequence=1', 'sequence=9')),
      'BAD_SIGNATURE',
    ],
    ['a huge checksum file', () => truncateSync(sums(), 1024 ** 3), 'BAD_FILE'],
    ['no checksum file', () => rmSync(sums()), 'NO_BUNDLE'],
    ['two checksum files', () => copyFileSync(sums(), at('other.sha256')), 'NO_BUNDLE'],
    [
      'renamed files',
      () => {
        renameSync(sums(), at('small-9.9.9-el7.x86_64.sha256'));
        renameSync(signature(), at(`small-9.9.9-el7.x86_64.sha256.${mine.keyId}.sig`));
      },
      'RENAMED',
    ],
  ])('is refused with %s', async (_, change, code) => {
    change();
    await fails(code);
  });

  it('is not asked of a file or of nothing', async () => {
    for (const [given, message] of [
      ['/none', 'there is no such folder'],
      [`/m/${made.stem}.tar`, 'this is a file; the folder of the bundle is wanted'],
    ] as const)
      await expect(verifyChecksums(host, given, NOBODY)).rejects.toMatchObject({
        code: 'NO_FOLDER',
        exit: 2,
        message,
      });
  });
});

/** The same key in its other form, by openssl. */
function compressed(pem: string): string {
  const form = ['ec', '-pubin', '-conv_form', 'compressed', '-pubout'];
  return execFileSync('openssl', form, { input: pem, encoding: 'utf8', stdio: 'pipe' });
}

describe('a key', () => {
  const pem = (type: 'rsa' | 'ed25519' | 'p384'): string => {
    const { publicKey } =
      type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : type === 'p384'
          ? generateKeyPairSync('ec', { namedCurve: 'secp384r1' })
          : generateKeyPairSync('ed25519');
    return publicKey.export({ type: 'spki', format: 'pem' }).toString();
  };

  it.each<[string, () => string]>([
    ['RSA', () => pem('rsa')],
    ['Ed25519', () => pem('ed25519')],
    ['P-384', () => pem('p384')],
    ['a private key', () => mine.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    ['two keys', () => mine.pem + other.pem],
    ['nothing', () => ''],
    ['text before it', () => `trust me\n${mine.pem}`],
    ['half of it', () => mine.pem.slice(0, 60)],
    ['the same key with a compressed point, which has another fingerprint', () => compressed(mine.pem)],
  ])('is refused: %s', (_, text) => {
    expect(() => readKey(text(), '/k.pem')).toThrow(
      expect.objectContaining({ code: 'BAD_PUBLIC_KEY', exit: 4 }),
    );
  });

  it('in the store that cannot be read stops everything', async () => {
    const host = rootedHost();
    host.put(`${target.trust}/x.pem`, 'x');
    await expect(trustStore(host)).rejects.toMatchObject({ exit: 4, where: `${target.trust}/x.pem` });
  });
});

describe('the sequence', () => {
  const digest = sha256Of('installed');
  const receipt = { digest, contents: { name: 'small', version: '1.0.2', sequence: 5 } } as Receipt;
  const floor: Floor = new Map([['small', { sequence: 5, digest }]]);
  const given = (sequence: number, name = 'small') => ({
    name,
    version: '1.0.3',
    sequence,
    target: 'el7.x86_64',
    files: [],
  });

  it('may be anything at first, and grows from then on', () => {
    expect(() => {
      requireSequence(given(1), digest, undefined, new Map());
    }).not.toThrow();
    expect(() => {
      requireSequence(given(6), sha256Of('x'), receipt, floor);
    }).not.toThrow();
    expect(() => {
      requireSequence(given(5), digest, receipt, floor);
    }).not.toThrow();
  });

  it.each([
    ['a lower one', given(4), 'SEQUENCE_LOWER'],
    ['an equal one of another bundle', given(5), 'SEQUENCE_EQUAL'],
    ['a higher one of another name', given(9, 'other'), 'OTHER_BUNDLE'],
  ])('refuses %s', (_, checksums, code) => {
    expect(() => {
      requireSequence(checksums, sha256Of('x'), receipt, floor);
    }).toThrow(expect.objectContaining({ code, exit: 5 }));
  });

  it.each([
    ['a lower one after an uninstall', given(4), sha256Of('x'), 'SEQUENCE_LOWER'],
    ['an equal one of another bundle after an uninstall', given(5), sha256Of('x'), 'SEQUENCE_EQUAL'],
  ])('refuses %s', (_, checksums, other_, code) => {
    expect(() => {
      requireSequence(checksums, other_, undefined, floor);
    }).toThrow(expect.objectContaining({ code, exit: 5 }));
  });

  it('accepts the last release again after an uninstall, and another product from its beginning', () => {
    requireSequence(given(5), digest, undefined, floor);
    requireSequence(given(1, 'other'), sha256Of('x'), undefined, floor);
    requireSequence(given(1, 'constructor'), sha256Of('x'), undefined, floor);
  });

  it('after a rollback accepts what is installed, what it went back from, and nothing between', () => {
    const back = {
      digest: sha256Of('old'),
      contents: { name: 'small', version: '1', sequence: 2 },
    } as Receipt;
    requireSequence(given(2), sha256Of('old'), back, floor);
    requireSequence(given(5), digest, back, floor);
    for (const sequence of [1, 2, 3, 4])
      expect(() => {
        requireSequence(given(sequence), sha256Of('x'), back, floor);
      }).toThrow(expect.objectContaining({ code: 'SEQUENCE_LOWER' }));
  });
});
