import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

/** Somebody on the node who is not root, and the number that the first build gets. */
const OTHER = 65_534;
const SECRET = 'only root knows this';

describe('a node on which somebody else is at work', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    await op.sh(`umask 077; mkdir -p /root/secrets; echo '${SECRET}' >/root/secrets/greeting`);
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(() => op.reset());

  const install = async (made: MadeBundle): ReturnType<Operator['first']> => op.first(await op.carry(made));
  /** Whatever of the build's users still runs. */
  const builders = async (): Promise<string> =>
    (await op.sh("grep -lE '^Uid:.*478[0-9][0-9]' /proc/[0-9]*/status 2>/dev/null")).stdout;

  it('takes nothing from a build that leaves processes to exchange what it made', async () => {
    const swap = [
      'cd "$1/usr/local/share"; while :; do',
      '  ln -sfn /root/secrets/greeting g.x; mv -f g.x hello/greeting',
      '  mv hello away && ln -s /root/secrets hello && rm hello && mv away hello',
      '  echo hello >g.y; mv -f g.y hello/greeting',
      'done',
    ].join('\n');
    const made = await pack.pack({
      source: {
        'swap.sh': swap,
        'install.sh': [
          'set -e; mkdir -p "$1/usr/local/bin" "$1/usr/local/share/hello"',
          'install -m 755 hello "$1/usr/local/bin/hello"; echo greeting >"$1/usr/local/share/hello/greeting"',
          'chmod -R a+rwx "$1" "$PWD"',
          'setsid sh -c "(sh swap.sh \\"$1\\" &) &" sh "$1" >/dev/null 2>&1 &',
          '(setsid sh swap.sh "$1" >/dev/null 2>&1 &) &',
          '',
        ].join('\n'),
      },
    });
    for (let round = 0; round < 4; round += 1) {
      await op.reset();
      const done = await install(made);
      // The exchange stopped in the middle of it, or not.
      if (done.exitCode !== 0) expect(done.stderr).toMatch(/error\[BUILD_OUTPUT\]/);
      expect((await op.sh('grep -rsl "only root" /usr/local /etc /var/log')).stdout).toBe('');
      expect(await builders()).toBe('');
      expect((await op.sh('cat /root/secrets/greeting; ls /root/secrets')).stdout).toBe(
        `${SECRET}\ngreeting`,
      );
    }
  });

  it('lets no other user win a race for the build folder, the stage or the medium', async () => {
    const racer = [
      'while :; do',
      '  for d in /var/lib/airbundle/build/hello/destdir /var/lib/airbundle/build/hello/source; do',
      '    ln -sfn /root/secrets "$d/usr/local/share/hello"; mv "$d/usr/local/share/hello" "$d/usr/local/share/x"',
      '    rm -rf "$d/usr/local/bin"; ln -sfn /etc "$d/usr/local/bin"; echo evil >"$d/hello"',
      '  done',
      '  for f in /var/lib/airbundle/stage/*/* /var/lib/airbundle/journal.ndjson /var/lib/airbundle/.receipt.json.airbundle-new; do',
      '    ln -sfn /root/secrets/greeting "$f"; echo evil >>"$f"',
      '  done',
      'done',
    ].join('\n');
    await op.sh(`cat >/tmp/racer.sh <<'EOT'\n${racer}\nEOT`);
    const { stdout } = await op.sh(
      `setpriv --reuid ${String(OTHER)} --regid ${String(OTHER)} --clear-groups sh /tmp/racer.sh >/dev/null 2>&1 & echo $!`,
    );
    try {
      // A build that helps: everything that it has is open to all.
      const made = await pack.pack({
        source: { 'build.sh': "chmod -R a+rwx . ../destdir\nprintf '#!/bin/sh\\necho hello\\n' >hello\n" },
      });
      for (let round = 0; round < 3; round += 1) {
        await op.reset();
        const done = await install(made);
        if (done.exitCode !== 0) expect(done.stderr).toMatch(/error\[BUILD_(OUTPUT|FAILED)\]/);
        expect(
          (await op.sh('grep -rsl "only root\\|^evil" /usr/local/share /etc/hosts /var/lib/airbundle'))
            .stdout,
        ).toBe('');
      }
      expect((await op.sh('cat /root/secrets/greeting; ls /root/secrets')).stdout).toContain(
        `${SECRET}\ngreeting`,
      );
      expect((await op.sh(`kill -0 ${stdout.trim()}`)).exitCode).toBe(0);
    } finally {
      await op.sh(`kill -KILL ${stdout.trim()}`);
    }
  });

  it.each([
    [
      'the state folder, open to others',
      'mkdir -p /var/lib/airbundle && chmod 777 /var/lib/airbundle',
      '/var/lib/airbundle',
    ],
    [
      'the state folder as a link',
      'mkdir -p /srv/x && ln -s /srv/x /var/lib/airbundle',
      '/var/lib/airbundle',
    ],
    [
      "somebody's stage",
      `mkdir -p /var/lib/airbundle/stage && chown ${String(OTHER)} /var/lib/airbundle/stage`,
      '/var/lib/airbundle/stage',
    ],
    ['a parent, open to others', 'chmod g+w /var/lib', '/var/lib'],
    [
      'the trust store, open to others',
      'mkdir -p /etc/airbundle && chmod 777 /etc/airbundle',
      '/etc/airbundle',
    ],
    [
      "the program's own folder, open to others",
      'mkdir -p /usr/libexec/airbundle && chmod 777 /usr/libexec/airbundle',
      '/usr/libexec/airbundle',
    ],
  ])('refuses %s, before any change', async (_, change, place) => {
    const made = await pack.pack();
    const folder = await op.carry(made);
    await op.sh(change);
    try {
      const done = await op.first(folder);
      expect(done.stderr).toMatch(/error\[(PLACE_NOT_PRIVATE|BAD_TRUST)\]/);
      expect(done.stderr).toContain(place);
      expect(done.exitCode).toBe(5);
      expect((await op.sh('ls /usr/sbin/airbundle /usr/local/bin/hello')).stdout).toBe('');
    } finally {
      await op.sh('chmod 755 /var/lib; rm -rf /srv/x');
    }
  });

  it('is not held up by a FIFO or a device on the medium', async () => {
    const made = await pack.pack();
    for (const put of ['mkfifo "$f"', 'mknod "$f" c 1 5', 'ln -s /dev/zero "$f"', 'mkdir "$f"'])
      for (const name of [
        `${made.stem}.tar`,
        `${made.stem}.sha256`,
        `${made.stem}.sha256.${pack.key.keyId}.sig`,
      ]) {
        const folder = await op.carry(made);
        await op.sh(`f='${folder}/${name}'; rm -rf "$f"; ${put}`);
        const done = await op.sh(
          `cd '${folder}' && timeout 60 sh install.sh --key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint} -y`,
        );
        expect([put, name, done.exitCode, done.stderr]).toEqual([
          put,
          name,
          4,
          expect.stringContaining('error['),
        ]);
      }
  });

  describe('and an rpm that cannot be believed', () => {
    const small = (): { file: string; nevra: MadeBundle['contents']['rpms'][number]['nevra'] } =>
      pack.rpm({ name: 'other', post: 'exit 0' });

    it.each([
      ['cut in half', 'truncate -s $(( $(stat -c %s Packages) / 2 )) Packages', 'RPMDB_DAMAGED'],
      ['empty', ': >Packages', 'RPMDB_'],
      ['gone', 'rm Packages', 'RPMDB_DAMAGED'],
      [
        'overwritten in its middle',
        'head -c 100000 /dev/urandom | dd of=Packages bs=4096 seek=90 conv=notrunc status=none',
        'RPMDB_',
      ],
    ])('refuses before any change: its database is %s', async (_, damage, code) => {
      const folder = await op.carry(await pack.pack({ rpms: [small()] }));
      await op.sh(
        `rm -rf /root/rpmdb; cp -a /var/lib/rpm /root/rpmdb; cd /var/lib/rpm && rm -f __db.* && ${damage}`,
      );
      try {
        const done = await op.first(folder);
        expect(done.stderr).toContain(`error[${code}`);
        expect(done.stderr).toContain('rpm --rebuilddb');
        expect(done.exitCode).toBe(5);
        expect((await op.sh('ls /usr/sbin/airbundle /usr/local/bin/hello')).stdout).toBe('');
      } finally {
        await op.sh('rm -rf /var/lib/rpm; mv /root/rpmdb /var/lib/rpm');
      }
    });

    it('names a package that is there twice, with what to do', async () => {
      const old = pack.rpm({ name: 'other', version: '0.9', files: { '/usr/share/other-0.9': 'x' } });
      const now = small();
      for (const one of [old, now]) {
        await lab.copyIn('lb1', one.file, '/root/one.rpm');
        await op.sh('rpm -i --force --nodeps /root/one.rpm');
      }
      const done = await install(await pack.pack({ rpms: [now] }));
      expect(done.stderr).toContain(
        'the rpm database holds other-0.9-1.el7.noarch and other-1.0-1.el7.noarch',
      );
      expect(done.exitCode).toBe(5);
      await op.sh('rpm -e --justdb --noscripts --nodeps other-0.9-1.el7.noarch');
      expect((await install(await pack.pack({ rpms: [now] }))).exitCode).toBe(0);
    });

    it('says which packages went in when one of them did not, and goes on when it is mended', async () => {
      const bad = pack.rpm({ name: 'other', pre: '[ -e /root/mended ] || exit 7' });
      const good = pack.rpm({ name: 'slow' });
      const folder = await op.carry(await pack.pack({ rpms: [bad, good] }));
      const done = await op.first(folder);
      expect(done.exitCode).toBe(6);
      expect(done.stderr).toContain('error[RPM_FAILED]');
      expect(done.stderr).toContain('in the rpm database now: slow-1.0-1.el7.noarch');
      expect(done.stderr).toContain('not in it: other-1.0-1.el7.noarch');
      await op.sh('touch /root/mended');
      const again = await op.first(folder);
      expect(again.exitCode).toBe(0);
      expect((await op.sh('rm -f /root/mended; rpm -q other slow')).stdout).toBe(
        'other-1.0-1.el7.noarch\nslow-1.0-1.el7.noarch',
      );
    });

    it('refuses a page that was saved as an RPM', async () => {
      const page = small();
      writeFileSync(page.file, '<html>404</html>\n');
      const done = await install(await pack.pack({ rpms: [page] }));
      expect(done.stderr).toContain('error[PLAN_REFUSED]');
      expect(done.exitCode).toBe(5);
    });
  });
});
