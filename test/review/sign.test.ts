import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
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
});
