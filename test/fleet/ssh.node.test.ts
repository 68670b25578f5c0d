import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { addSudo } from '../lab/sudo.js';
import type { Connecting, Cutter, SshLab } from './lab-ssh.js';
import { cutter, PASSPHRASE, PASSWORD, shellOn, sshLab, USER } from './lab-ssh.js';

/** Real sshd on three machines of the lab; `hop` and `hop2` stand between when a test says so. */
describe('a login over SSH', () => {
  let ssh: SshLab;
  let known: string;
  let fingerprints: Record<'ed25519' | 'rsa', string>;

  beforeAll(async () => {
    ssh = await sshLab(['lb1', 'hop', 'hop2']);
    known = `${ssh.address('lb1')} ${await ssh.hostKey('lb1')}\n`;
    fingerprints = { ed25519: await fingerprint('ed25519'), rsa: await fingerprint('rsa') };
  });
  afterAll(async () => {
    await ssh.down();
  });

  const fingerprint = async (type: 'ed25519' | 'rsa'): Promise<string> =>
    (await ssh.sh('lb1', `ssh-keygen -lf /etc/ssh/ssh_host_${type}_key.pub`)).stdout.split(' ')[1] ?? '';

  /** Whoever is asked here is asked too much. */
  const nobody = (question: string): Promise<string> => {
    throw new Error(`nobody should have been asked: ${question}`);
  };

  const hostName = async (given: Connecting): Promise<string> => {
    const shell = await shellOn(ssh, 'lb1', given);
    try {
      return (await shell.run(['hostname'])).stdout;
    } finally {
      shell.close();
    }
  };

  const refusal = async (given: Connecting): Promise<BundleError> => {
    const refused: unknown = await hostName(given).catch((error: unknown) => error);
    if (refused instanceof BundleError) return refused;
    throw new Error(`it was not refused: ${String(refused)}`);
  };

  it('runs a command in a clean environment, with its own output and exit code alone', async () => {
    const shell = await shellOn(ssh, 'lb1', { known });
    const done = await shell.run([
      'sh',
      '-c',
      'echo "out $1"; echo err >&2; env | sort; exit 3',
      'sh',
      "it's",
    ]);
    expect(done.exitCode).toBe(3);
    expect(done.stdout.split('\n').slice(0, 3)).toEqual(["out it's", 'HOME=/nonexistent', 'LC_ALL=C']);
    expect(done.stderr).toBe('err\n');
    expect((await shell.run(['cat'], { input: 'a\0b\n' })).stdout).toBe('a\0b\n');
    expect((await shell.run(['sh', '-c', 'kill -9 $$'])).exitCode).toBeNull();
    const fromMs = performance.now();
    expect((await shell.run(['sleep', '60'], { timeoutMs: 300 })).timedOut).toBe(true);
    expect(performance.now() - fromMs).toBeLessThan(30_000);
    shell.close();
  });

  it.each(['plain', 'rsa'] as const)('is taken with a %s key', async (identity) => {
    expect(await hostName({ known, identity })).toBe('lb1\n');
  });

  describe("the host's key", () => {
    it('that is not known is shown as ssh shows it, and nothing is sent', async () => {
      await ssh.logins('lb1');
      const refused = await refusal({ ask: nobody });
      expect(refused.code).toBe('UNKNOWN_HOST_KEY');
      expect(refused.exit).toBe(5);
      expect(refused.hint).toContain(`--host-key lb1=${fingerprints.ed25519}`);
      expect(await ssh.logins('lb1')).not.toMatch(/authenticating user|publickey|password|userauth/i);
    });

    it('that is another one than the known one: nothing is sent, no password is asked for', async () => {
      await ssh.logins('lb1');
      const other = `${ssh.address('lb1')} ${await ssh.hostKey('hop')}\n`;
      const refused = await refusal({ known: other, identity: 'none', ask: nobody, user: USER });
      expect(refused.code).toBe('WRONG_HOST_KEY');
      expect(refused.details.join()).toContain('known: ssh-ed25519 SHA256:');
      expect(await ssh.logins('lb1')).not.toMatch(/authenticating user|publickey|password|userauth/i);
    });

    it.each(['ed25519', 'rsa'] as const)('is taken by its %s fingerprint', async (type) => {
      expect(await hostName({ hostKeys: { lb1: fingerprints[type] } })).toBe('lb1\n');
    });

    it('has to be the one whose fingerprint is given, whatever else is known', async () => {
      const given = `SHA256:${'A'.repeat(43)}`;
      expect((await refusal({ known, hostKeys: { lb1: given }, ask: nobody })).code).toBe('WRONG_HOST_KEY');
    });

    it('is found in known hosts with hashed names', async () => {
      const file = ssh.file('to-hash', known);
      execFileSync('ssh-keygen', ['-q', '-H', '-f', file], { stdio: 'ignore' });
      const hashed = readFileSync(file, 'utf8');
      expect(hashed).not.toContain(ssh.address('lb1'));
      expect(await hostName({ known: hashed })).toBe('lb1\n');
    });

    it('is asked for by the kind that is known, so that another kind is no stranger', async () => {
      expect(await hostName({ known: `${ssh.address('lb1')} ${await ssh.hostKey('lb1', 'rsa')}\n` })).toBe(
        'lb1\n',
      );
    });

    it('that was revoked is refused, also when it is known', async () => {
      const revoked = `${known}@revoked ${known}`;
      expect((await refusal({ known: revoked, ask: nobody })).code).toBe('HOST_KEY_REVOKED');
    });

    it('that only an authority speaks for is not known, and it says why', async () => {
      const refused = await refusal({ known: `@cert-authority ${known}`, ask: nobody });
      expect(refused.code).toBe('UNKNOWN_HOST_KEY');
      expect(refused.details.join()).toContain('@cert-authority');
    });
  });

  describe('on another port, by the name in the ssh configuration', () => {
    let way: Cutter;
    beforeAll(async () => {
      way = await cutter(ssh.address('lb1'));
    });
    afterAll(async () => {
      await way.close();
    });
    const config = (): string => `Host lb1\n  HostName 127.0.0.1\n  Port ${String(way.port)}\n`;

    it('is known as [host]:port', async () => {
      const entry = `[127.0.0.1]:${String(way.port)} ${await ssh.hostKey('lb1')}\n`;
      expect(await hostName({ config: config(), known: entry })).toBe('lb1\n');
    });

    it('is not known as the host alone', async () => {
      const entry = `127.0.0.1 ${await ssh.hostKey('lb1')}\n`;
      expect((await refusal({ config: config(), known: entry, ask: nobody })).code).toBe('UNKNOWN_HOST_KEY');
    });

    it('says when nobody answers there', async () => {
      way.cutNow(true);
      const refused = await refusal({ config: config(), known });
      way.open();
      expect(refused.code).toBe('NODE_UNREACHABLE');
    });
  });

  describe('that asks', () => {
    /** Answers in turn; what was asked is kept. */
    const answering = (...answers: readonly string[]) => {
      const asked: string[] = [];
      const ask = (question: string): Promise<string | undefined> => {
        asked.push(question);
        return Promise.resolve(answers[asked.length - 1]);
      };
      return { ask, asked };
    };

    it('takes the agent, with nobody to be asked', async () => {
      const socket = path.join(ssh.home, 'agent');
      const started = execFileSync('ssh-agent', ['-a', socket], { encoding: 'utf8' });
      const pid = /SSH_AGENT_PID=(\d+)/.exec(started)?.[1] ?? '';
      try {
        execFileSync('ssh-add', ['-q', path.join(ssh.home, 'plain')], { env: { SSH_AUTH_SOCK: socket } });
        expect(await hostName({ known, identity: 'none', agent: socket, ask: nobody })).toBe('lb1\n');
        // With IdentitiesOnly, the agent's key is offered when the configuration names it, and only then.
        const config = 'Host *\n  IdentitiesOnly yes\n';
        const named = { known, agent: socket, config };
        expect((await refusal({ ...named, identity: 'none' })).code).toBe('LOGIN_REFUSED');
        execFileSync('cp', [path.join(ssh.home, 'plain.pub'), path.join(ssh.home, 'in-agent.pub')]);
        expect(await hostName({ ...named, identity: 'in-agent' })).toBe('lb1\n');
      } finally {
        process.kill(Number(pid));
      }
    });

    it('asks for the passphrase of an encrypted key, again when it was wrong', async () => {
      const { ask, asked } = answering('wrong', PASSPHRASE);
      expect(await hostName({ known, identity: 'encrypted', ask })).toBe('lb1\n');
      expect(asked).toHaveLength(2);
      expect(asked[0]).toContain('Passphrase of ');
    });

    it('asks for a password, again when it was wrong', async () => {
      const { ask, asked } = answering('wrong', PASSWORD);
      expect(await hostName({ known, identity: 'none', user: USER, ask })).toBe('lb1\n');
      expect(asked).toEqual(Array(2).fill(`Password of ${USER} on lb1 (${USER}@${ssh.address('lb1')}:22): `));
    });

    it('answers the questions of keyboard-interactive', async () => {
      const only = '/etc/ssh/sshd_config.d/0-only.conf';
      await ssh.sh(
        'lb1',
        `printf 'PasswordAuthentication no\\nChallengeResponseAuthentication yes\\n' >${only}; systemctl restart ssh`,
      );
      const { ask } = answering(PASSWORD);
      const done = await hostName({ known, identity: 'none', user: USER, ask });
      await ssh.sh('lb1', `rm ${only}; systemctl restart ssh`);
      expect(done).toBe('lb1\n');
    });

    it('is refused where nobody can be asked, and says what to try', async () => {
      const refused = await refusal({ known, identity: 'none', user: USER });
      expect(refused.code).toBe('LOGIN_REFUSED');
      expect(refused.hint).toContain(`ssh -p 22 ${USER}@${ssh.address('lb1')}`);
    });

    it('says with a refusal which keys were refused, and which were not tried and why', async () => {
      await ssh.sh('lb1', `mv /home/${USER}/.ssh/authorized_keys /home/${USER}/.ssh/away`);
      const at = (name: string): string => path.join(ssh.home, name);
      ssh.file('no-key', 'what somebody wrote\n');
      const config = ['plain', 'encrypted', 'absent'].map((name) => `IdentityFile ${at(name)}\n`).join('');
      const refused = await refusal({ known, config, identity: 'no-key', user: USER });
      await ssh.sh('lb1', `mv /home/${USER}/.ssh/away /home/${USER}/.ssh/authorized_keys`);
      expect(refused.code).toBe('LOGIN_REFUSED');
      expect(refused.details).toEqual([
        `tried: ${at('plain')}`,
        `not tried: ${at('no-key')} is no private key`,
        `not tried: ${at('encrypted')} is encrypted, and there is no terminal to ask for its passphrase on`,
        `not there: ${at('absent')}`,
      ]);
    });

    it('goes on without an agent that does not answer, and says so when nothing else was taken', async () => {
      const gone = { known, agent: path.join(ssh.home, 'gone') };
      expect(await hostName(gone)).toBe('lb1\n');
      const refused = await refusal({ ...gone, identity: 'none' });
      expect(refused.code).toBe('LOGIN_REFUSED');
      expect(refused.details).toContain(`tried: the agent at ${gone.agent}`);
      expect(refused.details).toContain('the agent did not do its part: Failed to connect to agent');
    });
  });

  describe('through a jump host', () => {
    const config = (): string =>
      `Host lb1\n  HostName ${ssh.address('lb1')}\n  ProxyJump root@${ssh.address('hop')}\n`;

    it('reaches the node from there', async () => {
      await ssh.logins('lb1');
      const both = `${known}${ssh.address('hop')} ${await ssh.hostKey('hop')}\n`;
      expect(await hostName({ known: both, config: config() })).toBe('lb1\n');
      expect(await ssh.logins('lb1')).toContain(`Accepted publickey for root from ${ssh.address('hop')}`);
    });

    it('and through another one before it, each with its own key', async () => {
      const both = `Host lb1\n  HostName ${ssh.address('lb1')}\n  ProxyJump root@${ssh.address('hop2')},root@${ssh.address('hop')}\n`;
      const keys = `${known}${ssh.address('hop')} ${await ssh.hostKey('hop')}\n`;
      await ssh.logins('lb1');
      await ssh.logins('hop');
      const all = `${keys}${ssh.address('hop2')} ${await ssh.hostKey('hop2')}\n`;
      expect(await hostName({ known: all, config: both })).toBe('lb1\n');
      expect(await ssh.logins('hop')).toContain(`Accepted publickey for root from ${ssh.address('hop2')}`);
      expect(await ssh.logins('lb1')).toContain(`Accepted publickey for root from ${ssh.address('hop')}`);
      // The first one's key is wrong: nothing reaches the second.
      const wrong = `${keys}${ssh.address('hop2')} ${await ssh.hostKey('hop')}\n`;
      const refused = await refusal({ known: wrong, config: both, ask: nobody });
      expect(refused.code).toBe('WRONG_HOST_KEY');
      expect(refused.where).toContain(`jump host ${ssh.address('hop2')}`);
      expect(await ssh.logins('hop')).not.toMatch(/Connection from|Accepted/);
    });

    it("is not begun when the jump host's own key is unknown", async () => {
      const refused = await refusal({ known, config: config(), ask: nobody });
      expect(refused.code).toBe('UNKNOWN_HOST_KEY');
      expect(refused.where).toContain('jump host');
    });

    it("is refused when the node's key behind it is wrong", async () => {
      const wrong = `${ssh.address('lb1')} ${await ssh.hostKey('hop')}\n`;
      const both = `${wrong}${ssh.address('hop')} ${await ssh.hostKey('hop')}\n`;
      expect((await refusal({ known: both, config: config(), ask: nobody })).code).toBe('WRONG_HOST_KEY');
    });
  });

  describe('with sudo', () => {
    const rule = (text: string): Promise<unknown> =>
      ssh.sh('lb1', `printf '%s\\n' '${text}' >/etc/sudoers.d/ops; chmod 440 /etc/sudoers.d/ops`);

    beforeAll(async () => {
      await addSudo(ssh.lab, 'lb1');
    });

    const asRoot = async (given: Connecting, input = 'what is sent\n') => {
      const shell = await shellOn(ssh, 'lb1', { known, user: USER, ...given });
      try {
        return await shell.run(['sh', '-c', 'id -u; cat; tr "\\0" " " </proc/self/environ'], {
          ...{ asRoot: true, input },
        });
      } finally {
        shell.close();
      }
    };

    it('becomes root without a password where that is allowed', async () => {
      await rule(`${USER} ALL=(root) NOPASSWD: ALL`);
      const done = await asRoot({ ask: nobody });
      expect(done.stdout).toMatch(/^0\nwhat is sent\n/);
      expect(done.stdout).not.toContain('SUDO_');
    });

    it('gives the password to sudo alone: not to the command, an environment, an argument or a log', async () => {
      await rule(`${USER} ALL=(root) ALL`);
      const done = await asRoot({ ask: () => Promise.resolve(PASSWORD) });
      expect(done.stdout).toMatch(/^0\nwhat is sent\n/);
      expect(`${done.stdout}${done.stderr}`).not.toContain(PASSWORD);
      // The pattern goes in on stdin: on the command line the journal and /proc would hold it.
      const found = await ssh.lab.exec(
        'lb1',
        ['sh', '-c', 'cat >/run/pattern; journalctl -o cat | grep -cFf /run/pattern'],
        {
          input: `${PASSWORD}\n`,
        },
      );
      expect(found.stdout.trim()).toBe('0');
    });

    it('is refused with a wrong password, before anything is done', async () => {
      const refused: unknown = await asRoot({ ask: () => Promise.resolve('wrong') }).catch((e: unknown) => e);
      expect(refused).toMatchObject({ code: 'SUDO_REFUSED', exit: 5 });
      expect(String(refused)).toContain('did not take the password');
    });

    it('is refused without a terminal to ask on', async () => {
      const refused: unknown = await asRoot({}).catch((e: unknown) => e);
      expect(String(refused)).toContain('there is no terminal to ask on');
    });

    it('is refused to who is not in sudoers, with the rule that is missing', async () => {
      await ssh.sh('lb1', 'rm /etc/sudoers.d/ops');
      const refused: unknown = await asRoot({ ask: () => Promise.resolve(PASSWORD) }).catch(
        (e: unknown) => e,
      );
      expect(refused).toMatchObject({ code: 'SUDO_REFUSED' });
      expect(String(refused)).toContain(`${USER} may not become root`);
    });
  });
});
