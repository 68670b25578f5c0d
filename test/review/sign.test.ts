import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { keygen } from '../../src/create/keys.js';
import { signBundle } from '../../src/create/sign-folder.js';
import type { SignResult } from '../../src/create/sign-folder.js';
import { localHost } from '../../src/host/local.js';
import { readKey } from '../../src/review/keys.js';
import { failureOf, recordingReporter, sha256Of, temporaryFolder } from '../create/create-support.js';
import { examined, makeBundle, makeSigner } from './bundle.js';

const signer = makeSigner();

async function makeKey(): Promise<Awaited<ReturnType<typeof keygen>>> {
  return keygen({ prefix: path.join(temporaryFolder(), 'security') });
}

const signed = (folder: string, keyPath: string): Promise<SignResult> =>
  signBundle(localHost(), { bundle: folder, keyPath, reporter: recordingReporter() });

describe('one more signer', () => {
  it('adds a signature that is verified beside the first, and says what it is over', async () => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    const result = await signed(made.folder, key.keyPath);
    expect(result).toMatchObject({
      state: 'signed',
      keyId: key.keyId,
      digest: sha256Of(readFileSync(made.sums)),
    });
    expect(result.checksums.files.map(({ sha256 }) => sha256)).toEqual(
      [made.tar, made.installSh].map((file) => sha256Of(readFileSync(file))),
    );
    const second = readKey(readFileSync(key.publicKeyPath, 'utf8'), key.publicKeyPath);
    const { bundle } = await examined(made.folder, [signer.trusted, second]);
    expect(bundle?.signatures.map(({ state }) => state)).toEqual(['good', 'good']);
    expect(bundle?.others).toEqual([]);
  });

  it('signs once: a good signature stays, a damaged one is made anew', async () => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    const { signaturePath } = await signed(made.folder, key.keyPath);
    const bytes = readFileSync(signaturePath);
    expect((await signed(made.folder, key.keyPath)).state).toBe('same');
    expect(readFileSync(signaturePath)).toEqual(bytes);
    writeFileSync(signaturePath, 'damaged');
    expect((await signed(made.folder, key.keyPath)).state).toBe('signed');
    const second = readKey(readFileSync(key.publicKeyPath, 'utf8'), key.publicKeyPath);
    expect((await examined(made.folder, [second])).problems).toEqual([]);
  });

  it.each(['tar', 'installSh', 'sums'] as const)('signs nothing when %s was altered', async (file) => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    const bytes = readFileSync(made[file]);
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    writeFileSync(made[file], bytes);
    const before = readdirSync(made.folder);
    expect(await failureOf(signed(made.folder, key.keyPath))).toMatchObject({ exit: 4 });
    expect(readdirSync(made.folder)).toEqual(before);
  });

  it('signs a folder, not a payload', async () => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    expect(await failureOf(signed(made.tar, key.keyPath))).toMatchObject({ exit: 2, code: 'NO_BUNDLE' });
  });

  it('may be on another machine: the .sha256 alone is signed, and what was not checked is named', async () => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    const away = temporaryFolder();
    const carried = path.join(away, path.basename(made.sums));
    cpSync(made.sums, carried);
    const result = await signed(carried, key.keyPath);
    expect(result).toMatchObject({
      state: 'signed',
      checksums: { name: 'demo', version: '1.2.3', sequence: 7, target: 'el7.x86_64' },
      digest: sha256Of(readFileSync(made.sums)),
      unchecked: [`${made.stem}.tar`, 'install.sh'],
    });
    expect((await signed(carried, key.keyPath)).state).toBe('same');
    // Only the signature file goes back.
    cpSync(result.signaturePath, path.join(made.folder, path.basename(result.signaturePath)));
    const second = readKey(readFileSync(key.publicKeyPath, 'utf8'), key.publicKeyPath);
    expect((await examined(made.folder, [signer.trusted, second])).problems).toEqual([]);
  });

  it('of the .sha256 with its files beside it is as good as of the folder', async () => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    expect((await signed(made.sums, key.keyPath)).unchecked).toEqual([]);
    writeFileSync(made.installSh, 'altered');
    const other = await makeKey();
    expect(await failureOf(signed(made.sums, other.keyPath))).toMatchObject({ code: 'ALTERED', exit: 4 });
  });

  it.each<[string, (text: string) => string]>([
    ['another form', (text) => text.replace('sequence=7', 'sequence=07')],
    ['one more line', (text) => `${text}${'0'.repeat(64)}  more\n`],
    ['another name than its own', (text) => text.replaceAll('1.2.3', '1.2.4')],
    ['nothing in it', () => ''],
  ])('signs no .sha256 with %s', async (_, change) => {
    const made = await makeBundle(signer);
    const key = await makeKey();
    const carried = path.join(temporaryFolder(), path.basename(made.sums));
    writeFileSync(carried, change(readFileSync(made.sums, 'utf8')));
    expect(await failureOf(signed(carried, key.keyPath))).toMatchObject({ exit: 4 });
    expect(readdirSync(path.dirname(carried))).toEqual([path.basename(carried)]);
  });
});
