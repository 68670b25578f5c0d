import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MadeBundle } from '../install/bundle.js';
import { node16 } from '../lab/backend-image.js';
import type { Outcome } from '../lab/docker.js';
import { LAB } from '../lab/paths.js';
import { addSudo } from '../lab/sudo.js';
import type { Fleet } from './deploy-lab.js';
import { DESK, fleet, JUMP } from './deploy-lab.js';

const NODES = ['lb1', 'lb2', 'lb3', 'lb4', 'lb5', 'lb6'];
const BAD = 'lb4';
const OTHERS = NODES.filter((node) => node !== BAD);
/** Node lies on the machines already, and the bundle's runtime is a line that starts it: 80 MB less to send, each time. */
const RUNTIME = '/opt/node';
/** The build of the bundle fails, or does not end, where these lie. */
const FAILS = '/opt/fails-here';
const WAITS = '/opt/waits-here';

/** A busy machine may need minutes for what takes seconds: a limit, no measure. */
const LONG_MS = 900_000;

/** Real machines: what one of six does wrong, at each stage, is not another one's matter. */
describe('a deploy to six nodes of which one fails', { timeout: LONG_MS }, () => {
  let site: Fleet;
  let work: string;
  let bundle: MadeBundle;
  let folder: string;

  beforeAll(async () => {
    site = await fleet(NODES);
    work = mkdtempSync(path.join(LAB, 'six-'));
    const node = await node16();
    await Promise.all([...NODES, JUMP].map((machine) => site.lab.copyIn(machine, node, RUNTIME)));
    const runtime = path.join(work, 'node');
    writeFileSync(runtime, `#!/bin/sh\nexec ${RUNTIME} "$@"\n`);
    bundle = await site.pack({
      runtime,
      source: {
        'build.sh': [
          `if [ -e ${FAILS} ]; then echo 'the compiler said no' >&2; exit 1; fi`,
          `if [ -e ${WAITS} ]; then sleep 600; fi`,
          "printf '#!/bin/sh\\necho hello\\n' >hello",
          '',
        ].join('\n'),
      },
    });
    folder = await site.carry(bundle);
    const { fingerprint } = site.key;
    const tools = await site.sh(
      JUMP,
      `cd ${folder} && sh install.sh --tools-only --key ${DESK}/key.pem --fingerprint ${fingerprint}`,
      LONG_MS,
    );
    expect(tools.exitCode, tools.stderr).toBe(0);
  });
  afterAll(async () => {
    await site.down();
    rmSync(work, { recursive: true, force: true });
  });

  /** Which of the nodes have something, as a shell's test says. */
  const nodesWith = async (test: string): Promise<string[]> => {
    const seen = await Promise.all(NODES.map((node) => site.sh(node, test)));
    return NODES.filter((_node, index) => seen[index]?.exitCode === 0);
  };
  const installed = (): Promise<string[]> => nodesWith('hello');
  const sentTo = (): Promise<string[]> => nodesWith('ls /var/lib/airbundle/incoming/*/*.tar');
  /** Breaks something on a machine, deploys, mends it. */
  const deployWith = async (machine: string, breaks: string, mends: string, extra = ''): Promise<Outcome> => {
    const broken = await site.sh(machine, breaks);
    expect(broken.exitCode, broken.stderr).toBe(0);
    const done = await site.deploy(folder, extra);
    const mended = await site.sh(machine, mends);
    expect(mended.exitCode, mended.stderr).toBe(0);
    return done;
  };
  /** A deploy that is refused: nobody has anything of it. */
  const refusedWith = async (code: string, ...given: Parameters<typeof deployWith>): Promise<string> => {
    const done = await deployWith(...given);
    expect(done.exitCode, done.stderr).toBe(5);
    expect(done.stderr).toContain(`error[${code}]`);
    expect(await installed()).toEqual([]);
    return done.stderr;
  };

  it('is refused before any connection for a key that is not there', async () => {
    const done = await site.deploy(folder, '--identity /root/.ssh/absent');
    expect(done.exitCode, done.stderr).toBe(2);
    expect(done.stderr).toContain('error[NO_IDENTITY]: this private key is not there');
    expect(done.stderr).toContain('/root/.ssh/absent');
    expect(done.stderr).not.toContain('log in to');
    const status = await site.sh(
      JUMP,
      `cd ${DESK} && airbundle status --site site.yaml --identity /root/.ssh/absent </dev/null`,
    );
    expect([status.exitCode, status.stderr]).toEqual([2, expect.stringContaining('NO_IDENTITY')]);
  });

  it('by another host key: nothing is sent to anybody', async () => {
    const { address = '' } = site.lab.nodes[BAD] ?? {};
    const other = `ssh-keygen -q -t ed25519 -N '' -f other && sed -i '/^${address} /d' known_hosts && echo "${address} $(cut -d ' ' -f 1,2 other.pub)" >>known_hosts`;
    const said = await refusedWith(
      'WRONG_HOST_KEY',
      JUMP,
      `cd /root/.ssh && cp known_hosts good && ${other}`,
      'cd /root/.ssh && mv good known_hosts',
    );
    expect(said).toContain(`${BAD} (root@${address}:22)`);
    expect(said).toContain('Nothing was sent.');
    expect(await sentTo()).toEqual([]);
  });

  it('by not answering', async () => {
    const said = await refusedWith('NODE_UNREACHABLE', BAD, 'systemctl stop ssh', 'systemctl start ssh');
    expect(said).toContain(BAD);
    expect(await sentTo()).toEqual([]);
  });

  it('by refusing the login', async () => {
    const said = await refusedWith(
      ...(['LOGIN_REFUSED', BAD] as const),
      'mv /root/.ssh/authorized_keys /root/.ssh/away',
      'mv /root/.ssh/away /root/.ssh/authorized_keys',
    );
    expect(said).toContain('| tried: /root/.ssh/id_ed25519');
    expect(said).toContain('| not there: /root/.ssh/id_rsa');
    expect(await sentTo()).toEqual([]);
  });

  it('by giving no right to become root, with or without sudo', async () => {
    const own = `${DESK}/ssh_config`;
    const asOps = `printf 'Host ${BAD}\\n  User ops\\n' >${own}`;
    await site.sh(
      BAD,
      'useradd -m -s /bin/bash ops; install -d -m 700 -o ops /home/ops/.ssh; install -m 600 -o ops /root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys',
    );
    const given = ['SUDO_REFUSED', JUMP, asOps, 'true', `--ssh-config ${own}`] as const;
    expect(await refusedWith(...given)).toContain('there is no sudo on the node');
    await addSudo(site.lab, BAD);
    expect(await refusedWith(...given)).toContain('sudo wants the password of ops');
    expect(await sentTo()).toEqual([]);
  });

  it('by having no room: the others are sent to and planned, and nobody is changed', async () => {
    const said = await refusedWith(
      ...(['PREFLIGHT_FAILED', BAD] as const),
      'mkdir -p /var/lib/airbundle && mount -t tmpfs -o size=40m,mode=755 none /var/lib/airbundle',
      'umount /var/lib/airbundle',
    );
    expect(said).toMatch(new RegExp(`${BAD}: error\\[NO_ROOM\\]: .* are needed there`));
    for (const node of OTHERS) expect(said).not.toContain(`| ${node}:`);
    expect(await sentTo()).toEqual(OTHERS);
  });

  it('in its build: it has what it had, those before it have the release, those after it are not begun', async () => {
    const done = await deployWith(BAD, `touch ${FAILS}`, `rm ${FAILS}`);
    expect(done.exitCode, done.stderr).toBe(7);
    expect(done.stderr).toContain(`install on ${BAD} ended with exit code 6`);
    expect(await installed()).toEqual(['lb1', 'lb2', 'lb3']);
  });

  it('by the death of its installer: that is no success, and the rest stays as it is', async () => {
    const [done] = await Promise.all([
      deployWith(BAD, `touch ${WAITS}`, `rm ${WAITS}`),
      site.sh(
        BAD,
        'cd /var/lib/airbundle/deploy; until pgrep -f "^sleep 600"; do sleep 0.1; done; kill -9 -- -"$(cat "$(ls -d */[0-9]* | sort -V | tail -n 1)/pid")"; pkill -f "^sleep 600"',
        LONG_MS,
      ),
    ]);
    expect(done.exitCode, done.stderr).toBe(7);
    expect(done.stderr).toContain(`install on ${BAD} was ended before its end`);
    expect(await installed()).toEqual(['lb1', 'lb2', 'lb3']);
  });

  it('and with the same command, once it is mended, all six have it, each by one installation', async () => {
    const done = await site.deploy(folder);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(await installed()).toEqual(NODES);
    expect(await nodesWith('test "$(airbundle receipts list -o json | grep -c \'"number"\')" = 1')).toEqual(
      OTHERS,
    );
    expect((await site.sh(BAD, 'airbundle status -o json')).stdout).toContain('"unfinished": null');
  });
});
