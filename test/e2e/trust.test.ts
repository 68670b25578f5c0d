import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signChecksums } from '../../src/create/sign.js';
import type { MadeBundle, TestKey } from '../install/bundle.js';
import { makeKey } from '../install/bundle.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

/** One more signer, as `bundle sign` adds one. */
function sign(bundle: MadeBundle, key: TestKey): void {
  const sums = path.join(bundle.folder, `${bundle.stem}.sha256`);
  writeFileSync(`${sums}.${key.keyId}.sig`, signChecksums(readFileSync(sums, 'utf8'), key.privateKey));
}

describe('the trust store of a node, from the first release to the next packager', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let anna: TestKey;
  /** What the second packager alone has signed. */
  let four: MadeBundle;
  const boris = makeKey();

  beforeAll(async () => {
    pack = await packer();
    anna = pack.key;
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, anna);
    await op.reset();
    await op.sh(`mkdir -p ${DESK}`);
    for (const [name, key] of Object.entries({ anna, boris }))
      await op.sh(`cat >${DESK}/${name}.pem <<'EOT'\n${key.pem}EOT`);
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });

  /** A release; without a runtime when it is to be refused before anything of it is opened. */
  const release = (sequence: number, ...keys: readonly [TestKey, ...TestKey[]]): Promise<MadeBundle> =>
    made(sequence, keys, {});
  const refusedRelease = (sequence: number, ...keys: readonly [TestKey, ...TestKey[]]): Promise<MadeBundle> =>
    made(sequence, keys, { runtime: '/bin/true', installer: '/bin/true' });
  const made = async (
    sequence: number,
    [first, ...others]: readonly [TestKey, ...TestKey[]],
    given: { readonly runtime?: string; readonly installer?: string },
  ): Promise<MadeBundle> => {
    const version = `1.0.${String(sequence)}`;
    const bundle = await pack.pack({ key: first, sequence, version, ...given });
    for (const key of others) sign(bundle, key);
    return bundle;
  };
  const airbundle = (words: string): ReturnType<Operator['sh']> => op.sh(`airbundle ${words}`);
  const installed = async (bundle: MadeBundle): Promise<string> => {
    const done = await airbundle(`install ${await op.carry(bundle)} -y`);
    expect([done.exitCode, done.stderr]).toEqual([0, expect.stringContaining('verify the signature')]);
    return done.stdout;
  };
  /** The command says this, with this exit code, and the node is as it was. */
  const refused = async (words: string, exit: number, code: string): Promise<string> => {
    const before = await state();
    const done = await op.sh(words);
    expect([done.exitCode, done.stderr]).toEqual([exit, expect.stringContaining(`error[${code}]`)]);
    expect(await state()).toBe(before);
    return done.stderr;
  };
  /** All that a refused command could have changed; the rest of the node is looked at in other tests. */
  const state = async (): Promise<string> => {
    const places = '/etc/airbundle /var/lib/airbundle /usr/local /usr/sbin /usr/libexec/airbundle';
    const found = await op.sh(`find ${places} -printf '%p %m %U:%G %s %l %y\\n' | sort; rpm -qa | sort`);
    const sums = await op.sh('find /etc/airbundle /var/lib/airbundle -type f -exec sha256sum {} + | sort');
    return found.stdout + sums.stdout;
  };
  const install = async (bundle: MadeBundle): Promise<string> =>
    `airbundle install ${await op.carry(bundle)} -y`;
  const floor = async (): Promise<unknown> =>
    JSON.parse(
      (await op.sh('stat -c %a /var/lib/airbundle/floor.json >&2; cat /var/lib/airbundle/floor.json')).stdout,
    );

  it('begins with one key, and remembers what was installed', async () => {
    const one = await release(1, anna);
    const folder = await op.carry(one);
    expect((await op.first(folder)).exitCode).toBe(0);
    const listed = JSON.parse((await airbundle('trust list -o json')).stdout) as unknown;
    expect(listed).toMatchObject({
      threshold: 1,
      keys: [{ keyId: anna.keyId, fingerprint: anna.fingerprint, state: 'trusted' }],
    });
    expect(await floor()).toMatchObject({ small: { sequence: 1 } });
  });

  it('trusts a second key only with its fingerprint, and the same again changes nothing', async () => {
    await refused(`airbundle trust add ${DESK}/boris.pem -y`, 2, 'NO_FINGERPRINT');
    await refused(
      `airbundle trust add ${DESK}/boris.pem --fingerprint ${anna.fingerprint} -y`,
      4,
      'WRONG_FINGERPRINT',
    );
    await refused(
      `airbundle trust add ${DESK}/boris.pem --fingerprint ${boris.fingerprint} </dev/null`,
      2,
      'NO_TERMINAL',
    );
    const add = `trust add ${DESK}/boris.pem --fingerprint ${boris.fingerprint} -y`;
    expect((await airbundle(add)).stdout).toContain('1 of 2 trusted keys must sign a release\ndone');
    expect((await airbundle(add)).stdout).toContain('it is like that already; nothing was changed');
    expect((await airbundle('trust require 2 -y')).stdout).toContain(
      '2 of 2 trusted keys must sign a release',
    );
    await refused('airbundle trust require 3 -y', 5, 'TOO_FEW_KEYS');
    await refused(`airbundle trust remove ${anna.keyId} -y`, 5, 'TOO_FEW_KEYS');
  });

  it('with two required signers, refuses one and takes two', async () => {
    const lonely = await refusedRelease(2, anna);
    const said = await refused(await install(lonely), 4, 'TOO_FEW_SIGNERS');
    expect(said).toContain(`signed by ${anna.keyId}`);
    expect(said).toContain(`not signed by ${boris.keyId}`);
    await refused(`airbundle verify ${await op.carry(lonely)}`, 4, 'TOO_FEW_SIGNERS');
    const two = await release(2, anna, boris);
    expect(await installed(two)).toContain('installed small 1.0.2');
    expect((await airbundle(`verify ${await op.carry(two)}`)).stdout).toContain('verified: small 1.0.2');
    expect(await floor()).toMatchObject({ small: { sequence: 2 } });
  });

  it('is asked by install.sh alone too, when the command is lost', async () => {
    await op.sh('mv /usr/sbin/airbundle /root/airbundle.away');
    const sh = async (bundle: MadeBundle): Promise<string> => `sh ${await op.carry(bundle)}/install.sh -y`;
    try {
      const lonely = await sh(await refusedRelease(3, anna));
      const said = await refused(lonely, 4, 'TOO_FEW_SIGNERS');
      expect(said).toContain('1 of the 2 signatures that this node requires are there');
      expect(said).toMatch(new RegExp(`${anna.keyId}.sig: good(?:; |$)`, 'm'));
      expect(said).toMatch(new RegExp(`${boris.keyId}.sig: not there(?:; |$)`, 'm'));
      // The same key under another name is still one key.
      await op.sh(`install -m 644 ${DESK}/anna.pem /etc/airbundle/trust/0.pem`);
      await refused(lonely, 4, 'TOO_FEW_SIGNERS');
      await op.sh('rm /etc/airbundle/trust/0.pem; echo some >/etc/airbundle/trust/threshold');
      await refused(lonely, 5, 'BAD_THRESHOLD');
      await op.sh('echo 2 >/etc/airbundle/trust/threshold; chmod 777 /etc/airbundle/trust');
      await refused(lonely, 5, 'BAD_TRUST');
      await op.sh('chmod 755 /etc/airbundle/trust');
      const done = await op.sh(await sh(await release(3, anna, boris)));
      expect([done.exitCode, done.stdout]).toEqual([0, expect.stringContaining('installed small 1.0.3')]);
    } finally {
      await op.sh('[ -e /usr/sbin/airbundle ] || mv /root/airbundle.away /usr/sbin/airbundle');
    }
  });

  it('gives up the first key, remembers that, and goes on with the second alone', async () => {
    expect((await airbundle('trust require 1 -y')).exitCode).toBe(0);
    const gone = await airbundle(`trust remove ${anna.keyId.slice(0, 8)} -y`);
    expect([gone.exitCode, gone.stdout]).toEqual([0, expect.stringContaining(`removed  ${anna.keyId}`)]);
    expect((await airbundle(`trust remove ${anna.keyId} -y`)).stdout).toContain('nothing was changed');
    await refused(`airbundle trust remove ${boris.keyId} -y`, 5, 'LAST_KEY');

    const old = await refusedRelease(9, anna);
    const said = await refused(await install(old), 4, 'SIGNER_REMOVED');
    expect(said).toMatch(new RegExp(`${anna.keyId}, which was removed .* on \\d{4}-`));
    await refused(`airbundle verify ${await op.carry(old)} --key ${DESK}/anna.pem`, 5, 'KEY_REMOVED');
    const add = `airbundle trust add ${DESK}/anna.pem --fingerprint ${anna.fingerprint} -y`;
    await refused(add, 5, 'KEY_REMOVED');
    await refused(
      `airbundle install ${await op.carry(old)} --key ${DESK}/anna.pem --fingerprint ${anna.fingerprint} -y`,
      5,
      'KEY_REMOVED',
    );
    four = await release(4, boris);
    expect(await installed(four)).toContain('installed small 1.0.4');
    expect(await floor()).toMatchObject({ small: { sequence: 4 } });
  });

  it('does not begin anew with a removed key by install.sh, when every key was lost', async () => {
    await op.sh('mkdir /root/kept; mv /etc/airbundle/trust/*.pem /root/kept/');
    const old = await op.carry(await refusedRelease(9, anna));
    await refused(
      `sh ${old}/install.sh --key ${DESK}/anna.pem --fingerprint ${anna.fingerprint} -y`,
      5,
      'KEY_REMOVED',
    );
    await op.sh('mv /root/kept/*.pem /etc/airbundle/trust/; rmdir /root/kept');
  });

  it('keeps the sequence floor without the receipt, and says what to do when it is damaged', async () => {
    await op.sh('mv /var/lib/airbundle/receipt.json /root/');
    await refused(await install(await refusedRelease(3, boris)), 5, 'SEQUENCE_LOWER');
    await refused(await install(await refusedRelease(4, boris)), 5, 'SEQUENCE_EQUAL');
    await op.sh('cp -p /var/lib/airbundle/floor.json /root/; echo x >/var/lib/airbundle/floor.json');
    const said = await refused(await install(await refusedRelease(5, boris)), 5, 'BAD_FLOOR');
    expect(said).toContain('restore it from a backup');
    await op.sh('mv /root/floor.json /root/receipt.json /var/lib/airbundle/');
    expect(await installed(four)).toContain('small 1.0.4 is installed already');
  });
});
