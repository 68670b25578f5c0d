import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import { makeKey } from '../install/bundle.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

const HOSTILE = {
  NODE_OPTIONS: '--require /root/evil/evil.js',
  LD_PRELOAD: '/root/evil/none.so',
  LC_ALL: 'ko_KR.UTF-8',
  TZ: 'Asia/Seoul',
  HOME: '/root/evil',
  PATH: '/root/evil:/usr/sbin:/usr/bin:/sbin:/bin',
  POSIXLY_CORRECT: '1',
  TAR_OPTIONS: '--to-command=/root/evil/openssl',
  OPENSSL_CONF: '/root/evil/openssl.cnf',
  TMPDIR: '/root/evil/none',
  CDPATH: '/usr:/',
  IFS: '/',
};

describe('install.sh on a node', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  /** Fails before anything of it runs; small, since nothing of it needs to run. */
  let light: MadeBundle;
  let real: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    light = await pack.pack({ runtime: '/bin/true' });
    real = await pack.pack({ version: '1.0.1', sequence: 2 });
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.reset();
    folder = await op.carry(light);
  });

  /** Runs a shell text that must end with this exit code and word, and leave the node as it was. */
  const refused = async (
    run: () => ReturnType<Operator['sh']>,
    exit: number,
    word: string,
  ): Promise<string> => {
    const before = await op.fingerprint();
    const done = await run();
    expect(done.stderr).toContain(word);
    expect(done.exitCode).toBe(exit);
    const left = await op.sh(
      'ls -A /var/lib/airbundle/stage 2>/dev/null; rmdir /var/lib/airbundle/stage /var/lib/airbundle/build /var/lib/airbundle/backup /var/lib/airbundle /var/log/airbundle 2>/dev/null',
    );
    expect(left.stdout).toBe('');
    expect(await op.fingerprint()).toBe(before);
    return done.stderr;
  };

  it('refuses whoever is not root', () =>
    refused(
      () =>
        op.sh(
          `chmod 755 /media/usb; cd ${folder} && setpriv --reuid 65534 --clear-groups sh install.sh --key k`,
        ),
      5,
      'NOT_ROOT',
    ));

  it('names a tool that is missing', async () => {
    await op.sh('mv /usr/bin/openssl /usr/bin/openssl.away');
    try {
      const done = await op.first(folder);
      expect(done.stderr).toContain('error[TOOL_MISSING]: openssl');
      expect(done.exitCode).toBe(5);
    } finally {
      await op.sh('mv /usr/bin/openssl.away /usr/bin/openssl');
    }
  });

  it('asks for a key and for its fingerprint', async () => {
    await refused(() => op.sh(`sh ${folder}/install.sh -y`), 2, 'NO_TRUST');
    await refused(() => op.sh(`sh ${folder}/install.sh --key ${DESK}/none.pem -y`), 2, 'NO_KEY');
    await refused(() => op.sh(`sh ${folder}/install.sh -y --key=${DESK}/key.pem`), 2, 'NO_FINGERPRINT');
  });

  it('refuses a key whose fingerprint is another', async () => {
    const told = await refused(
      () => op.sh(`sh ${folder}/install.sh --key ${DESK}/key.pem --fingerprint ${'0'.repeat(64)} -y`),
      4,
      'WRONG_FINGERPRINT',
    );
    expect(told).toContain(pack.key.fingerprint);
  });

  const files = (): Record<string, string> => ({
    payload: `${light.stem}.tar`,
    checksums: `${light.stem}.sha256`,
    signature: `${light.stem}.sha256.${pack.key.keyId}.sig`,
    'install.sh itself': 'install.sh',
  });

  it.each(['payload', 'checksums', 'signature', 'install.sh itself'])(
    'refuses a missing, an altered, a cut and a linked %s',
    async (which) => {
      const name = files()[which]!;
      const run = `sh /root/install.sh.copy/install.sh --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y`;
      // install.sh is run from a copy of the folder, so that its own loss is seen by a whole one.
      // In a comment of the script: it has to run to find that out.
      const middle = name === 'install.sh' ? '40' : `$(( $(stat -c %s ${name}) / 2 ))`;
      const changes = {
        missing: `rm ${name}`,
        altered: `printf X | dd of=${name} bs=1 seek=${middle} conv=notrunc status=none`,
        cut: `truncate -s -1 ${name}`,
        linked: `mv ${name} ../moved; ln -s ../moved ${name}`,
      };
      for (const [how, change] of Object.entries(changes)) {
        await op.carry(light);
        await op.sh(
          `rm -rf /root/install.sh.copy; cp -r ${folder} /root/install.sh.copy; cd /root/install.sh.copy && ${change}; [ -f install.sh ] || cp ${folder}/install.sh /root/spare.sh`,
        );
        const started =
          name === 'install.sh' && how === 'missing'
            ? 'cd /root/install.sh.copy && cat /root/spare.sh >install.sh && echo >>install.sh && '
            : '';
        const done = await op.sh(`${started}${run}`);
        if (name === 'install.sh' && how === 'altered' && done.exitCode === 2) continue; // no longer a shell script
        expect([how, done.stderr]).toEqual([
          how,
          expect.stringMatching(/error\[(MISSING|BAD_SIGNATURE|BAD_CHECKSUM|NO_BUNDLE)\]/),
        ]);
        expect([how, done.exitCode]).toEqual([how, 4]);
      }
      await op.sh('rm -rf /root/install.sh.copy /root/spare.sh /root/moved');
    },
  );

  it('refuses files of another bundle, and a good bundle of another signer', async () => {
    const other = await pack.pack({ key: makeKey(), runtime: '/bin/true' });
    await op.sh(`rm -rf ${folder}`);
    await lab.copyIn('lb1', other.folder, '/media/usb');
    await refused(() => op.first(folder), 4, 'BAD_SIGNATURE');
    const newer = await pack.pack({ runtime: '/bin/true', source: { extra: 'x' } });
    for (const [from, code] of [
      [`${light.stem}.tar`, 'BAD_CHECKSUM'],
      [`${light.stem}.sha256`, 'BAD_SIGNATURE'],
    ] as const) {
      await op.carry(light);
      await lab.copyIn('lb1', `${newer.folder}/${from}`, folder);
      await refused(() => op.first(folder), 4, code);
    }
  });

  it('goes its way in a hostile environment, with odd names beside it', async () => {
    folder = await op.carry(real);
    await op.sh(
      [
        'mkdir -p /root/evil',
        "echo \"require('fs').writeFileSync('/root/evil/ran', 'node')\" >/root/evil/evil.js",
        'for tool in openssl sha256sum tar rpm cp env; do printf "#!/bin/sh\\necho $0 >>/root/evil/ran\\nexit 0\\n" >/root/evil/$tool; chmod 755 /root/evil/$tool; done',
        'printf "%%_topdir /root/evil\\n%%__post_trap touch /root/evil/ran\\n%%_dbpath /root/evil/db\\n" >/root/evil/.rpmmacros',
        'cp /root/evil/.rpmmacros /root/.rpmmacros',
        `cp ${DESK}/key.pem '/root/desk/-k e y.pem'`,
        `: >${folder}/-x; : >'${folder}/a b'`,
      ].join('; '),
    );
    const done = await op.sh(
      `umask 077; cd ${folder}; sh install.sh --key '${DESK}/-k e y.pem' --fingerprint '${pack.key.fingerprint.toUpperCase()}' -y`,
      { env: HOSTILE },
    );
    const seen = await op.sh(
      'ls /root/evil/ran; stat -c %a /usr/local/bin/hello /usr/local/share/hello /usr/libexec/airbundle /etc/airbundle; hello; rm -rf /root/evil /root/.rpmmacros',
    );
    expect([done.exitCode, done.stderr]).toEqual([0, expect.stringContaining('put what was built in place')]);
    expect(seen.stdout).toBe('755\n755\n755\n755\nhello');
  });

  it('goes on where a key is trusted, with the same --key or none; another --key is refused', async () => {
    folder = await op.carry(real);
    expect((await op.first(folder)).exitCode).toBe(0);
    expect((await op.first(folder)).stdout).toContain('nothing was changed');
    expect((await op.sh(`sh ${folder}/install.sh -y`)).stdout).toContain('nothing was changed');
    // The command is lost: install.sh verifies with the trust store.
    await op.sh('rm /usr/sbin/airbundle');
    const again = await op.sh(`sh ${folder}/install.sh -y`);
    expect([again.exitCode, again.stdout]).toEqual([0, expect.stringContaining('installed small 1.0.1')]);
    const other = makeKey();
    await op.sh(`cat >${DESK}/other.pem <<'EOT'\n${other.pem}EOT`);
    const refusedKey = await op.sh(
      `sh ${folder}/install.sh --key ${DESK}/other.pem --fingerprint ${other.fingerprint} -y`,
    );
    expect([refusedKey.exitCode, refusedKey.stderr]).toEqual([5, expect.stringContaining('TRUST_EXISTS')]);
  });

  it('says so when programs cannot run from its folder, or when it is full', async () => {
    await op.sh('mkdir -p /var/lib/airbundle && mount -t tmpfs -o noexec,mode=755 tmpfs /var/lib/airbundle');
    const noexec = await op.first(folder);
    await op.sh('umount /var/lib/airbundle && mount -t tmpfs -o size=48m,mode=755 tmpfs /var/lib/airbundle');
    folder = await op.carry(real);
    const full = await op.first(folder);
    const left = await op.sh('ls -A /var/lib/airbundle/stage; umount /var/lib/airbundle');
    expect([noexec.exitCode, noexec.stderr]).toEqual([5, expect.stringContaining('NOEXEC')]);
    expect([full.exitCode, full.stderr]).toEqual([5, expect.stringContaining('NO_ROOM')]);
    expect(full.stderr).toContain('df -h /var/lib/airbundle');
    expect(left.stdout).toBe('');
  });

  it('lets the second of two wait its turn with a message', async () => {
    folder = await op.carry(real);
    const both = await Promise.all([op.first(folder), op.first(folder)]);
    const codes = both.map((done) => done.exitCode).sort();
    expect(codes).toEqual([0, 5]);
    expect(both.find((done) => done.exitCode === 5)?.stderr).toContain('error[BUSY]');
    expect((await op.sh('ls -A /var/lib/airbundle/stage; hello')).stdout).toBe('hello');
  });
});
