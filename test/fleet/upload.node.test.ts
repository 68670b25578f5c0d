import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Consignment, FileToSend } from '../../src/fleet/local-bundle.js';
import type { Patience } from '../../src/fleet/patience.js';
import type { RemoteNode } from '../../src/fleet/remote-node.js';
import { connectNode } from '../../src/fleet/remote-node.js';
import type { FollowedRun } from '../../src/fleet/agent.js';
import type { Cutter, SshLab } from './lab-ssh.js';
import { cutter, settingFor, sshLab } from './lab-ssh.js';

const STEM = 'small-1.0.0-el7.x86_64';
const INCOMING = `/var/lib/airbundle/incoming/${STEM}`;
const MIB = 1024 * 1024;
const SIZE = 3 * MIB + 4321;
const QUICK: Patience = { totalMs: 20_000, firstPauseMs: 20, longestPauseMs: 200 };

/** One node of the lab, whose sshd is reached through a way that breaks where a test says. */
describe('a node behind a bad line', () => {
  let ssh: SshLab;
  let way: Cutter;
  let payload: Buffer;
  let known: string;
  let lost: number;

  beforeAll(async () => {
    ssh = await sshLab(['lb1']);
    way = await cutter(ssh.address('lb1'));
    known = `[127.0.0.1]:${String(way.port)} ${await ssh.hostKey('lb1')}\n`;
  });
  afterAll(async () => {
    await way.close();
    await ssh.down();
  });
  beforeEach(async () => {
    payload = randomBytes(SIZE);
    lost = 0;
    await ssh.sh('lb1', 'umount /var/lib/airbundle; rm -rf /var/lib/airbundle');
  });

  const sent = (name: string, bytes: Buffer): FileToSend => ({
    name,
    path: ssh.file(name, bytes),
    sizeBytes: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });

  const connect = (patience = QUICK, bytes = payload): Promise<RemoteNode> =>
    connectNode({
      node: { name: 'lb1', address: ssh.address('lb1') },
      setting: settingFor(ssh, {
        known,
        config: `Host lb1\n  HostName 127.0.0.1\n  Port ${String(way.port)}\n`,
      }),
      consignment: consignmentOf(bytes),
      log: undefined,
      onLost: () => {
        lost += 1;
      },
      patience,
    });

  /** Only what an upload looks at: the rest is a bundle's, which test/e2e/deploy.test.ts sends. */
  const consignmentOf = (bytes: Buffer): Consignment => {
    return {
      stem: STEM,
      files: [sent(`${STEM}.tar`, bytes)],
      siteName: 'site.yaml',
      key: { name: 'key.pem', fingerprint: '' },
      desk: [
        { name: 'site.yaml', bytes: Buffer.from('a site\n') },
        { name: 'vrrp.secret', bytes: Buffer.from('s3cret\n') },
      ],
    } as unknown as Consignment;
  };

  const arrived = async (): Promise<string> => (await ssh.sh('lb1', `cd ${INCOMING} && sha256sum *`)).stdout;
  const expected = (): string => `${createHash('sha256').update(payload).digest('hex')}  ${STEM}.tar`;

  it('gets the bundle into a folder that only root can enter, with the secrets beside it', async () => {
    const node = await connect();
    const result = await node.upload(() => undefined);
    expect(result).toMatchObject({ folder: INCOMING, sentBytes: SIZE, keptBytes: 0 });
    const [, desk = ''] = /^(.*\/desk\/[0-9a-f]{16})\/site\.yaml$/.exec(result.site) ?? [];
    expect(desk).toContain(`${INCOMING}/desk/`);
    const modes = await ssh.sh('lb1', `stat -c '%a %U' ${INCOMING}/.. ${INCOMING} ${desk}/vrrp.secret`);
    expect(modes.stdout).toBe('700 root\n700 root\n600 root');
    expect((await ssh.sh('lb1', `cat ${desk}/vrrp.secret`)).stdout).toBe('s3cret');
    await node.close();
  });

  it('is sent nothing that is there already and is what it should be', async () => {
    const first = await connect();
    await first.upload(() => undefined);
    await first.close();
    const again = await connect();
    expect(await again.upload(() => undefined)).toMatchObject({ sentBytes: 0, keptBytes: SIZE });
    await ssh.sh('lb1', `printf x | dd of=${INCOMING}/${STEM}.tar bs=1 seek=2000000 conv=notrunc`);
    expect(await again.upload(() => undefined)).toMatchObject({ sentBytes: SIZE, keptBytes: 0 });
    await again.close();
    expect(await arrived()).toContain(expected());
  });

  it('gets it whole, wherever the connection is cut, and is sent the beginning only once', async () => {
    for (const cutAt of [1, 2000, 6000, 100_000, MIB, 2 * MIB + 17, 3 * MIB]) {
      payload = randomBytes(SIZE);
      const node = await connect();
      way.cutNow();
      way.cutAfter(cutAt);
      const result = await node.upload(() => undefined);
      expect(lost, `cut after ${String(cutAt)} bytes`).toBeGreaterThan(0);
      expect(result.sentBytes + result.keptBytes).toBe(SIZE);
      // What had arrived is not sent again; the last of it may have been under way.
      if (cutAt >= 2 * MIB) expect(result.keptBytes).toBeGreaterThan(0);
      expect(await arrived(), `cut after ${String(cutAt)} bytes`).toContain(expected());
      await node.close();
    }
  });

  it('is not given up while it takes what it gets, however slowly', async () => {
    // What waits to be sent keeps a question of the connection waiting for longer than a dead node is given.
    payload = randomBytes(2 * MIB + 400_000);
    const node = await connect();
    way.cutNow();
    way.slowDown(85_000);
    const fromMs = performance.now();
    const result = await node.upload(() => undefined);
    expect(performance.now() - fromMs).toBeGreaterThan(25_000);
    // The connection that was cut at the beginning, and no other.
    expect(lost).toBeLessThanOrEqual(1);
    expect(result).toMatchObject({ sentBytes: payload.length, keptBytes: 0 });
    expect(await arrived()).toContain(expected());
    await node.close();
  });

  it('is noticed when it goes silent, and the upload goes on over another connection', async () => {
    const node = await connect();
    way.cutNow();
    way.silenceAfter(MIB);
    const fromMs = performance.now();
    const result = await node.upload(() => undefined);
    expect(performance.now() - fromMs).toBeGreaterThan(15_000);
    expect(lost).toBeGreaterThan(0);
    expect(result.sentBytes + result.keptBytes).toBe(SIZE);
    expect(await arrived()).toContain(expected());
    await node.close();
  });

  it('is not believed about a beginning that was damaged meanwhile', async () => {
    const node = await connect({ ...QUICK, totalMs: 5000 });
    way.cutNow();
    way.cutAfter(2 * MIB, true);
    await expect(node.upload(() => undefined)).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' });
    way.open();
    const part = `${INCOMING}/*.part`;
    // Between two programs of that shell no dd runs.
    await ssh.sh('lb1', "while pgrep -f 'node-side[ ]receive'; do sleep 0.05; done");
    expect(Number((await ssh.sh('lb1', `stat -c %s ${part}`)).stdout)).toBeGreaterThan(1000);
    await ssh.sh('lb1', `printf x | dd of="$(echo ${part})" bs=1 seek=1000 conv=notrunc`);
    expect(await node.upload(() => undefined)).toMatchObject({ sentBytes: SIZE, keptBytes: 0 });
    expect(await arrived()).toContain(expected());
    await node.close();
  });

  it('is refused before anything is sent when there is no room for it', async () => {
    await ssh.sh(
      'lb1',
      'mkdir -p /var/lib/airbundle; mount -t tmpfs -o size=70m,mode=755 none /var/lib/airbundle',
    );
    const node = await connect();
    await expect(node.upload(() => undefined)).rejects.toMatchObject({ code: 'NO_ROOM', exit: 5 });
    expect((await ssh.sh('lb1', `find ${INCOMING} -type f`)).stdout).toBe('');
    await node.close();
  });

  it('says so when the disk fills up on the way, and goes on when there is room again', async () => {
    const other = '/var/lib/airbundle/other';
    await ssh.sh(
      'lb1',
      'mkdir -p /var/lib/airbundle; mount -t tmpfs -o size=90m,mode=755 none /var/lib/airbundle',
    );
    const node = await connect();
    way.cutNow();
    way.pauseAfter(MIB, () =>
      ssh.sh('lb1', `fallocate -l $(($(stat -f -c '%a * %S' /var/lib/airbundle) - ${String(MIB)})) ${other}`),
    );
    const refused: unknown = await node.upload(() => undefined).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'NO_ROOM', message: 'the disk of the node is full' });
    await ssh.sh('lb1', `rm ${other}`);
    expect((await node.upload(() => undefined)).keptBytes).toBeGreaterThan(0);
    expect(await arrived()).toContain(expected());
    await node.close();
  });

  describe('while something runs there', () => {
    const script = (seconds: number, code = 0): string[] => [
      '/bin/sh',
      '-c',
      `i=0; while [ $i -lt ${String(seconds * 10)} ]; do i=$((i + 1)); echo line $i; sleep 0.1; done; exit ${String(code)}`,
    ];
    const wholeLog = (seconds: number): string =>
      Array.from({ length: seconds * 10 }, (_, index) => `line ${String(index + 1)}\n`).join('');
    const follow = (node: RemoteNode, argv: string[], onLine = (): void => undefined): Promise<FollowedRun> =>
      node.follow('test-run', argv as [string, ...string[]], onLine);

    it('follows it to its end, with everything that it said and its exit code', async () => {
      const node = await connect();
      expect(await follow(node, script(1, 3))).toEqual({ exitCode: 3, log: wholeLog(1), wasRunning: false });
      await node.close();
    });

    it('loses nothing of it, however often the line is cut', async () => {
      const node = await connect();
      let lines = 0;
      const run = await follow(node, script(4), () => {
        lines += 1;
        if (lines % 9 === 0) way.cutNow();
      });
      expect(lost).toBeGreaterThan(2);
      expect(run).toMatchObject({ exitCode: 0, log: wholeLog(4) });
      expect(lines).toBe(40);
      await node.close();
    });

    it('lets it go on when nobody can follow, and picks it up later', async () => {
      const node = await connect({ ...QUICK, totalMs: 300 });
      const left = follow(node, script(5), () => {
        way.cutNow(true);
      });
      await expect(left).rejects.toMatchObject({ code: 'RUN_OUT_OF_SIGHT' });
      way.open();
      const later = await connect();
      expect(await follow(later, script(5))).toEqual({ exitCode: 0, log: wholeLog(5), wasRunning: true });
      await later.close();
    });

    it('is followed by several at once, and started by one', async () => {
      const nodes = await Promise.all([connect(), connect(), connect()]);
      const runs = await Promise.all(nodes.map((node) => follow(node, script(2))));
      expect(runs.map(({ log }) => log)).toEqual(Array(3).fill(wholeLog(2)));
      expect(runs.filter(({ wasRunning }) => !wasRunning)).toHaveLength(1);
      for (const node of nodes) await node.close();
    });

    it('refuses to take another command for it', async () => {
      const node = await connect();
      const first = follow(node, script(2));
      const other = await connect();
      await ssh.sh('lb1', 'until ls /var/lib/airbundle/deploy/test-run/1/pid; do sleep 0.05; done');
      await expect(follow(other, script(1))).rejects.toMatchObject({ code: 'OTHER_RUN' });
      await first;
      await node.close();
      await other.close();
    });

    it('never takes its sudden death for a success', async () => {
      const node = await connect();
      const killed = follow(node, script(30));
      await ssh.sh(
        'lb1',
        'cd /; run=/var/lib/airbundle/deploy/test-run/1; until [ -s $run/pid ]; do sleep 0.05; done; kill -9 -$(cat $run/pid)',
      );
      expect((await killed).exitCode).toBeNull();
      expect((await follow(node, ['/bin/sh', '-c', 'kill -9 $$'])).exitCode).toBeNull();
      expect(await follow(node, script(1))).toMatchObject({ exitCode: 0, wasRunning: false });
      await node.close();
    });
  });
});
