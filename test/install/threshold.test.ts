import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signChecksums } from '../../src/create/sign.js';
import { BundleError } from '../../src/errors.js';
import { trustStore, verifyChecksums } from '../../src/install/trust.js';
import { target } from '../../src/model/layout.js';
import { recordingReporter } from '../create/create-support.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import { examine, locate } from '../../src/review/verify.js';
import type { MadeBundle, TestKey } from './bundle.js';
import { makeBundle, makeKey } from './bundle.js';

const anna = makeKey();
const boris = makeKey();
const clara = makeKey();

describe('a threshold of signers', () => {
  let work: string;
  let made: MadeBundle;
  let host: Rooted;

  beforeAll(async () => {
    work = path.join(temporaryFolder(), '..', `airbundle-threshold-${process.pid}`);
    made = await makeBundle({ work, key: anna });
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));
  beforeEach(() => {
    host = rootedHost();
    cpSync(made.folder, path.join(host.root, 'm'), { recursive: true });
    for (const key of [anna, boris, clara]) trust(key);
    host.put(target.threshold, '2\n');
  });

  const trust = (key: TestKey, name = key.keyId): void => host.put(`${target.trust}/${name}.pem`, key.pem);
  const remove = (key: TestKey): void =>
    host.put(`${target.removedKeys}/${key.keyId}.pem`, `# removed here 2026-11-22T10:00:00Z\n${key.pem}`);
  const sums = (): string => path.join(host.root, 'm', `${made.stem}.sha256`);
  const sign = (key: TestKey): void =>
    writeFileSync(`${sums()}.${key.keyId}.sig`, signChecksums(readFileSync(sums(), 'utf8'), key.privateKey));
  const signers = async (): Promise<string[]> =>
    (await verifyChecksums(host, '/m', await trustStore(host))).signers.map(({ keyId }) => keyId).sort();
  const failure = async (): Promise<BundleError> => {
    const error: unknown = await signers().then(
      (found) => new Error(`it was accepted, signed by ${found.join()}`),
      (reason: unknown) => reason,
    );
    if (error instanceof BundleError) return error;
    throw error;
  };

  it('is reached by any two of three, and names all that signed', async () => {
    sign(boris);
    expect(await signers()).toEqual([anna.keyId, boris.keyId].sort());
    sign(clara);
    expect(await signers()).toEqual([anna.keyId, boris.keyId, clara.keyId].sort());
  });

  it('is not reached by one: the error says who signed, who did not, and how many are needed', async () => {
    const error = await failure();
    expect([error.code, error.exit]).toEqual(['TOO_FEW_SIGNERS', 4]);
    expect(error.message).toContain('1 of the 2 signatures');
    expect([...error.details].sort()).toEqual(
      [
        `signed by ${anna.keyId}`,
        `not signed by ${boris.keyId}: /m/${made.stem}.sha256.${boris.keyId}.sig: not there`,
        `not signed by ${clara.keyId}: /m/${made.stem}.sha256.${clara.keyId}.sig: not there`,
      ].sort(),
    );
  });

  it('counts a key once, however often it lies in the store', async () => {
    trust(anna, 'anna-again');
    trust(anna, '0');
    expect((await failure()).code).toBe('TOO_FEW_SIGNERS');
    const store = await trustStore(host);
    expect([store.trusted.length, store.idle.length]).toEqual([3, 2]);
  });

  it('is not reached by one signature under the names of others', async () => {
    for (const key of [boris, clara])
      copyFileSync(`${sums()}.${anna.keyId}.sig`, `${sums()}.${key.keyId}.sig`);
    const error = await failure();
    expect(error.code).toBe('TOO_FEW_SIGNERS');
    expect(
      error.details.filter((line) => line.endsWith('not a signature of this file by this key')),
    ).toHaveLength(2);
    renameSync(`${sums()}.${anna.keyId}.sig`, `${sums()}.0123456789abcdef.sig`);
    expect((await failure()).code).toBe('BAD_SIGNATURE');
  });

  it('does not count a key that nobody trusts', async () => {
    sign(makeKey());
    expect((await failure()).code).toBe('TOO_FEW_SIGNERS');
  });

  it('does not count a removed key, also when its file still lies among the trusted ones', async () => {
    sign(boris);
    remove(boris);
    const error = await failure();
    expect(error.code).toBe('TOO_FEW_SIGNERS');
    expect(error.details).toContain(
      `signed by ${boris.keyId}, which does not count: removed here on 2026-11-22T10:00:00Z`,
    );
  });

  it('says of a bundle that only a removed key has signed that this key was removed, and when', async () => {
    remove(anna);
    host.put(target.threshold, '1\n');
    const error = await failure();
    expect([error.code, error.exit]).toEqual(['SIGNER_REMOVED', 4]);
    expect(error.message).toContain(
      `${anna.keyId}, which was removed from this node's trusted keys on 2026-11-22T10:00:00Z`,
    );
  });

  it('more than the trusted keys refuses every bundle', async () => {
    sign(boris);
    sign(clara);
    host.put(target.threshold, '4\n');
    expect((await failure()).message).toContain('3 of the 4 signatures');
  });

  it.each([
    '',
    '0',
    '0\n',
    '-1',
    '1.5',
    '2 ',
    ' 2',
    '+2',
    '0x2',
    '2\n2',
    'two',
    '100',
    '1e1',
    '2\0',
    '2'.repeat(1000),
  ])('is no number in %j: refused, and never taken as 1', async (text) => {
    host.put(target.threshold, text);
    expect(await failure()).toMatchObject({ code: 'BAD_THRESHOLD', exit: 5, where: target.threshold });
  });

  it('is asked for by verify on the node too, from the same store', async () => {
    const store = await trustStore(host);
    const verify = async () =>
      examine(host, {
        place: await locate(host, '/m'),
        keys: store.trusted,
        signers: store.threshold,
        removed: store.removed,
        unsigned: false,
        reporter: recordingReporter(),
      });
    expect((await verify()).problems.map(({ code }) => code)).toEqual(['TOO_FEW_SIGNERS']);
    sign(clara);
    const { problems, bundle } = await verify();
    expect(problems).toEqual([]);
    expect(bundle?.signatures.map(({ state }) => state)).toEqual(['good', 'good']);
  });
});

describe('a trust store that others could have written', () => {
  let host: Rooted;
  const at = (name: string): string => path.join(host.root, name);
  const file = `${target.trust}/${anna.keyId}.pem`;

  beforeEach(() => {
    host = rootedHost();
    host.put(file, anna.pem);
    host.put(`${target.removedKeys}/${boris.keyId}.pem`, boris.pem);
    host.put(target.threshold, '1\n');
  });

  it("is read when it is only root's", async () => {
    const store = await trustStore(host);
    expect([store.trusted.map(({ keyId }) => keyId), store.removed.map(({ keyId }) => keyId)]).toEqual([
      [anna.keyId],
      [boris.keyId],
    ]);
  });

  it.each([
    ['/etc/airbundle', 0o775],
    [target.trust, 0o777],
    [target.trust, 0o1777],
    [target.removedKeys, 0o757],
    [target.threshold, 0o664],
    [file, 0o646],
  ])('is refused with advice: %s with mode %o', async (where, mode) => {
    chmodSync(at(where), mode);
    await expect(trustStore(host)).rejects.toMatchObject({
      code: 'BAD_TRUST',
      exit: 5,
      where,
      hint: expect.stringContaining(`chmod go-w ${where}`) as string,
    });
  });

  it.each(['/etc/airbundle', target.trust, target.removedKeys, target.threshold, file])(
    'is refused where %s is a link',
    async (where) => {
      mkdirSync(at('/elsewhere'), { mode: 0o755 });
      renameSync(at(where), at('/elsewhere/it'));
      symlinkSync(at('/elsewhere/it'), at(where));
      await expect(trustStore(host)).rejects.toMatchObject({ code: 'BAD_TRUST', exit: 5, where });
    },
  );

  it('is refused when a removed key does not have the name of its id', async () => {
    host.put(`${target.removedKeys}/old.pem`, clara.pem);
    await expect(trustStore(host)).rejects.toMatchObject({
      code: 'BAD_TRUST',
      hint: expect.stringContaining(`${clara.keyId}.pem`) as string,
    });
  });

  it.each<[string, string]>([
    ['two keys', anna.pem + boris.pem],
    ['something after the key', `${anna.pem}x\n`],
    ['something before the key', `x\n${anna.pem}`],
    ['the line of a removed key twice', `# removed here 1\n# removed here 2\n${anna.pem}`],
    ['nothing', ''],
  ])('is not read with a file that holds %s', async (_, text) => {
    host.put(`${target.trust}/x.pem`, text);
    await expect(trustStore(host)).rejects.toMatchObject({ code: 'BAD_PUBLIC_KEY', exit: 4 });
  });

  it('is not read with a file that is too large for a key', async () => {
    host.put(`${target.trust}/x.pem`, `${anna.pem}${'\n'.repeat(20_000)}`);
    await expect(trustStore(host)).rejects.toMatchObject({ code: 'BAD_FILE', exit: 4 });
  });
});
