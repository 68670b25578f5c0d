import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { docker } from '../lab/docker.js';
import { pythonImage } from '../lab/images.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import type { MadeBundle } from '../install/bundle.js';
import type { Operator, Packer } from './install-lab.js';
import { operator, packer } from './install-lab.js';

interface Played {
  readonly exitCode: number;
  readonly changed: number;
  readonly failed: number;
  readonly text: string;
}

describe('the Ansible role', () => {
  let lab: Lab;
  let pack: Packer;
  let op: Operator;
  let made: MadeBundle;
  /** The control node's folder. */
  let desk: string;

  /** The role's variables. */
  const variables = (): Record<string, unknown> => ({
    airbundle_folder: made.folder,
    airbundle_site: path.join(desk, 'site.yaml'),
    airbundle_key: path.join(desk, 'key.pem'),
    airbundle_fingerprint: pack.key.fingerprint,
    airbundle_node: 'lb1',
  });
  const play = async (given: Record<string, unknown> = {}, ...words: string[]): Promise<Played> => {
    writeFileSync(path.join(desk, 'vars.json'), JSON.stringify({ ...variables(), ...given }));
    const done = await execa('ansible-playbook', ['-i', 'hosts', 'site.yml', '-e', '@vars.json', ...words], {
      cwd: desk,
      reject: false,
      all: true,
      env: { ANSIBLE_LOCAL_TEMP: path.join(desk, 'tmp') },
    });
    const text = done.all ?? '';
    const recap = /ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=(\d+)/.exec(text);
    return {
      exitCode: done.exitCode,
      changed: Number(recap?.[1] ?? NaN),
      failed: Number(recap?.[2] ?? NaN),
      text,
    };
  };
  const result = ({ exitCode, changed, failed }: Played): unknown[] => [exitCode, changed, failed];

  beforeAll(async () => {
    pack = await packer();
    desk = path.join(pack.work, 'control');
    mkdirSync(path.join(desk, 'roles'), { recursive: true });
    made = await pack.pack();
    lab = await startLab({ nodes: ['lb1'] });
    op = operator(lab, pack.key);
    const node = lab.nodes['lb1']!;

    execFileSync(process.execPath, [
      path.join(ROOT, 'build/cli.js'),
      ...['export', 'ansible', path.join(desk, 'roles/airbundle')],
    ]);
    writeFileSync(path.join(desk, 'key.pem'), pack.key.pem);
    writeFileSync(
      path.join(desk, 'site.yaml'),
      `airbundle-site: 1\nname: lab\nnodes: [{ name: lb1, address: ${node.address}, interface: eth0 }]\n`,
    );
    writeFileSync(path.join(desk, 'site.yml'), '- hosts: all\n  gather_facts: false\n  roles: [airbundle]\n');

    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path.join(desk, 'id')]);
    await op.sh(
      `umask 077; mkdir -p /root/.ssh; echo '${readFileSync(path.join(desk, 'id.pub'), 'utf8').trim()}' >/root/.ssh/authorized_keys`,
    );
    const hostKey = (await op.sh('cat /etc/ssh/ssh_host_ed25519_key.pub')).stdout
      .split(' ')
      .slice(0, 2)
      .join(' ');
    writeFileSync(path.join(desk, 'known_hosts'), `${node.address} ${hostKey}\n`);
    writeFileSync(
      path.join(desk, 'hosts'),
      `lb1 ansible_host=${node.address} ansible_user=root ansible_ssh_private_key_file=${path.join(desk, 'id')} ` +
        `ansible_ssh_common_args='-o UserKnownHostsFile=${path.join(desk, 'known_hosts')}' ansible_python_interpreter=/usr/bin/python3\n`,
    );
    const python = `airbundle-lab-python-${lab.runId}`;
    await docker(['create', '--name', python, await pythonImage()]);
    try {
      await docker(['cp', `${python}:/python.tar`, path.join(desk, 'python.tar')]);
    } finally {
      await docker(['rm', '-f', '-v', python]);
    }
    await lab.copyIn('lb1', path.join(desk, 'python.tar'), '/root');
    await op.sh('tar -C / -xf /root/python.tar && rm /root/python.tar');
    expect((await op.sh('python3 -c "import json, tempfile, hashlib"')).exitCode).toBe(0);
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });

  it('says in check mode that it would change something, and changes nothing that runs', async () => {
    const before = await op.sh('rpm -qa | sort; ls /etc/airbundle /usr/sbin/airbundle /usr/local/bin');
    expect(result(await play({}, '--check'))).toEqual([0, 1, 0]);
    expect((await op.sh('rpm -qa | sort; ls /etc/airbundle /usr/sbin/airbundle /usr/local/bin')).stdout).toBe(
      before.stdout,
    );
  });

  it('a bundle that was altered on its way is refused by the node: failed, not changed', async () => {
    const folder = path.join(desk, 'altered', path.basename(made.folder));
    mkdirSync(path.dirname(folder), { recursive: true });
    execFileSync('cp', ['-r', made.folder, folder]);
    appendFileSync(path.join(folder, `${made.stem}.tar`), 'x');
    const refused = await play({ airbundle_folder: folder });
    expect([...result(refused), refused.text]).toEqual([2, 0, 1, expect.stringContaining('error[')]);
    expect(refused.text).toMatch(/"rc": 4/);
  });

  it('installs once: changed, and then no more', async () => {
    const first = await play();
    expect(result(first), first.text).toEqual([0, 1, 0]);
    expect((await op.sh('airbundle status')).stdout).toContain('all is well');
    expect(result(await play())).toEqual([0, 0, 0]);
    expect(result(await play({}, '--check'))).toEqual([0, 0, 0]);
  });

  it('fails without "changed" when the node refuses before any change', async () => {
    const refused = await play({ airbundle_flags: ['--plan', '/root/nothing.json'] });
    expect([...result(refused), refused.text]).toEqual([
      2,
      0,
      1,
      expect.stringContaining('/root/nothing.json'),
    ]);
  });
});
