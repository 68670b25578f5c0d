import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from './install-lab.js';
import { DESK, operator, packer } from './install-lab.js';

const SECRET = 'kX7s3c-9';
const HOLD = '/var/tmp/hold';
const QUOTE = '/var/tmp/quote';
const CONFIG = '/etc/keepalived/keepalived.conf';
const RECEIPTS = '/var/lib/airbundle/receipts';

/** A stand-in for keepalived that can refuse a file and quote its secret; systemd and its unit are real. */
const STAND_IN = [
  '#!/bin/sh',
  'case $1 in',
  `  -t) while [ -e ${HOLD} ]; do sleep 0.1; done; [ ! -e ${QUOTE} ] || { grep auth_pass "$3" >&2; exit 4; } ;;`,
  '  --dont-fork) exec sleep infinity ;;',
  '  *) echo "Keepalived stand-in" ;;',
  'esac',
  '',
].join('\n');

interface Listed {
  readonly receipts: readonly {
    readonly number: number;
    readonly digest: string;
    readonly command: string;
    readonly outcome: string;
    readonly error: string | null;
  }[];
}

describe('receipts of a node', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let bundle: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    bundle = await pack.pack({
      source: { keepalived: STAND_IN },
      component: {
        name: 'keepalived',
        configuration: 'keepalived',
        build: [['true']],
        install: ['install', '-D', '-m', '755', 'keepalived', '{destdir}/usr/local/sbin/keepalived'],
        files: ['/usr/local/sbin/keepalived'],
      },
    });
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });
  beforeEach(async () => {
    await op.sh(
      `rm -f ${HOLD} ${QUOTE} /root/*.jsonl; systemctl stop keepalived; systemctl disable keepalived; rm -rf /etc/systemd/system/keepalived.service /etc/keepalived /usr/local/sbin/keepalived; systemctl daemon-reload; systemctl reset-failed`,
    );
    await op.reset();
    folder = await op.carry(bundle);
    await site(51);
    // Typed here only: a test's own words are among the processes too.
    await op.sh(
      `printf '%s\\n' '${SECRET}' >/root/pattern; install -m 600 /root/pattern ${DESK}/vrrp.secret`,
    );
  });

  const site = (routerId: number): Promise<Outcome> =>
    op.sh(
      `cat >${DESK}/site.yaml <<'EOT'\n${[
        'airbundle-site: 1',
        'name: lab',
        `nodes: [{ name: lb1, address: ${lab.nodes['lb1']!.address}, interface: eth0, role: primary }]`,
        `vips: [{ name: tts, address: ${lab.vip}/24 }]`,
        `vrrp: { virtualRouterId: ${routerId}, secretFile: vrrp.secret }`,
        'services: [{ name: tts, bind: tts, port: 50051, protocol: grpc, backends: [{ name: b1, address: 10.9.9.9, port: 1 }] }]',
      ].join('\n')}\nEOT`,
    );
  const words = (): string => `--site ${DESK}/site.yaml --node lb1`;
  const proof = (): string => `--key ${DESK}/key.pem --fingerprint ${pack.key.fingerprint}`;
  const first = (): Promise<Outcome> => op.sh(`cd ${folder} && sh install.sh ${proof()} ${words()} -y`);
  const again = (): Promise<Outcome> => op.sh(`airbundle install ${folder} ${words()} -y`);
  const listed = async (): Promise<Listed['receipts']> =>
    (JSON.parse((await op.sh('airbundle receipts -o json')).stdout) as Listed).receipts;
  const ends = async (): Promise<string[]> =>
    (await listed()).map(({ command, outcome, error }) =>
      [command, outcome, ...(error === null ? [] : [error])].join(' '),
    );
  const until = async (text: string): Promise<void> => {
    for (let round = 0; round < 200; round += 1) {
      if ((await op.sh(text)).exitCode === 0) return;
      await sleep(100);
    }
    throw new Error(`never true: ${text}`);
  };

  it('no secret is in what is said, written or shown among the processes, also when a program quotes it', async () => {
    await op.sh('rm -f /run/sample.stop /run/sampled');
    await op.sh(
      'setsid sh -c \'while [ ! -e /run/sample.stop ]; do cat /proc/[0-9]*/cmdline | tr "\\000" " " >>/run/sampled; echo >>/run/sampled; sleep 0.02; done\' >/dev/null 2>&1 &',
    );
    const said: Outcome[] = [];
    const run = async (work: Promise<Outcome>, exitCode: number): Promise<Outcome> => {
      const done = await work;
      said.push(done);
      expect([done.exitCode, done.stderr]).toEqual([exitCode, expect.any(String)]);
      return done;
    };
    await op.sh(`: >${QUOTE}`);
    const refused = await run(first(), 6);
    expect(refused.stderr).toContain('CONFIGURATION_REFUSED');
    expect(refused.stderr).toContain('auth_pass (hidden)');
    await op.sh(`rm ${QUOTE}`);
    await run(first(), 0);
    await site(52);
    await run(op.sh(`airbundle plan ${folder} ${words()}`), 0);
    await run(again(), 0);
    await run(op.sh('airbundle status'), 0);
    await op.sh(`: >${QUOTE}`);
    const old = await run(op.sh('airbundle rollback -y'), 5);
    expect(old.stderr).toContain('OLD_CONFIGURATION_REFUSED');
    expect(old.stderr).toContain('are not shown; to see them: ');
    await op.sh(`rm ${QUOTE}`);
    await run(op.sh('airbundle rollback -y'), 0);
    await run(op.sh('airbundle receipts show 1; airbundle receipts; airbundle receipts show 2 -o json'), 0);
    await op.sh('touch /run/sample.stop');

    expect(said.filter(({ stdout, stderr }) => `${stdout}${stderr}`.includes(SECRET))).toEqual([]);
    expect((await op.sh(`grep -c auth_pass ${CONFIG}; grep -cFf /root/pattern ${CONFIG}`)).stdout).toBe(
      '1\n1',
    );
    const files = await op.sh(
      "find /var/lib/airbundle /var/log/airbundle /etc/airbundle -type f ! -path '*/backup/*/etc/keepalived/*' -exec grep -lFf /root/pattern {} +",
    );
    expect(files.stdout).toBe('');
    const sampled = await op.sh('grep -c installer.cjs /run/sampled; grep -cFf /root/pattern /run/sampled');
    const [seen, secrets] = sampled.stdout.split('\n');
    expect(Number(seen)).toBeGreaterThan(0);
    expect(secrets).toBe('0');
  });

  it('are one a run, hold what it did, and are checked here and elsewhere', async () => {
    const done = await first();
    expect(done.stderr).toMatch(/receipt 1: [0-9a-f]{64}/);
    const noted = /receipt 1: ([0-9a-f]{64})/.exec(done.stderr)?.[1] ?? '';
    expect((await again()).stdout).toContain('nothing was changed');
    expect((await op.sh('airbundle trust require 1 -y; airbundle trust require 2 -y')).exitCode).toBe(5);
    await site(52);
    expect((await again()).exitCode).toBe(0);
    await op.sh('airbundle rollback -y');
    expect(await ends()).toEqual(['install done', 'install done', 'rollback done']);
    const shown = JSON.parse((await op.sh('airbundle receipts show 2 -o json')).stdout) as {
      files: Record<string, { before: { sha256: string } | null; after: { sha256: string } | null }>;
      commands: { list: readonly { argv: readonly string[]; exitCode: number }[] };
      services: Record<string, { before: { active: string }; after: { active: string } }>;
      program: { sha256: string };
      packages: { before: { count: number }; after: { count: number } };
    };
    const after = await op.sh(`sha256sum ${CONFIG} | cut -d ' ' -f 1`);
    expect(shown.files[CONFIG]?.before?.sha256).toBe(after.stdout);
    expect(shown.files[CONFIG]?.after?.sha256).not.toBe(after.stdout);
    expect(shown.commands.list.map(({ argv }) => argv.slice(0, 2).join(' '))).toContain(
      '/usr/local/sbin/keepalived -t',
    );
    expect(shown.services['keepalived.service']?.after.active).toBe('active');
    const program = await op.sh("sha256sum /usr/libexec/airbundle/installer.cjs | cut -d ' ' -f 1");
    expect(shown.program.sha256).toBe(program.stdout);
    expect(shown.packages.before.count).toBe(shown.packages.after.count);

    expect((await op.sh(`airbundle receipts check --noted ${noted.slice(0, 12)}`)).stdout).toContain(
      '3 receipts, the chain is whole',
    );
    expect(
      (await op.sh('airbundle receipts export /root/r.jsonl && stat -c %a /root/r.jsonl')).stdout,
    ).toContain('600');
    expect((await op.sh('airbundle receipts export /root/r.jsonl')).exitCode).toBe(2);
    expect((await op.sh(`stat -c %a ${RECEIPTS} ${RECEIPTS}/*`)).stdout).toBe('700\n600\n600\n600');
    await op.sh(`sed -i 's/"rollback"/"unknown_"/' ${RECEIPTS}/000003-*; rm ${RECEIPTS}/000001-*`);
    const broken = await op.sh('airbundle receipts check');
    expect([broken.exitCode, broken.stderr]).toEqual([
      4,
      expect.stringContaining('number 1 is missing before it'),
    ]);
    expect((await op.sh(`airbundle receipts check /root/r.jsonl --noted ${noted}`)).exitCode).toBe(0);
  });

  it('tell of a run that was killed, and outlive an uninstall', async () => {
    await op.sh(`: >${HOLD}`);
    const begun = op.sh(
      `setsid -w sh -c 'echo $$ >/run/group; cd ${folder} && exec sh install.sh ${proof()} ${words()} -y'`,
    );
    await until(`grep -q '"displaced".*${CONFIG}' /var/lib/airbundle/journal.ndjson`);
    await op.sh('kill -9 -- -$(cat /run/group)');
    expect((await begun).exitCode).not.toBe(0);
    await op.sh(`rm ${HOLD}`);
    expect((await first()).exitCode).toBe(0);
    expect(await ends()).toEqual(['install killed', 'install done']);
    expect((await op.sh('airbundle uninstall -y')).exitCode).toBe(0);
    expect((await op.sh(`ls ${RECEIPTS} | cut -c 1-6`)).stdout).toBe('000001\n000002\n000003');
    expect((await first()).exitCode).toBe(0);
    expect(await ends()).toEqual(['install killed', 'install done', 'uninstall done', 'install done']);
    expect((await op.sh('airbundle receipts check')).exitCode).toBe(0);
    expect((await op.sh('airbundle uninstall --purge -y; ls -d /var/lib/airbundle')).stdout).not.toContain(
      '/var/lib/airbundle\n',
    );
    expect((await op.sh('ls -d /var/lib/airbundle')).exitCode).not.toBe(0);
  });
});
