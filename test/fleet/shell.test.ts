import { spawn, spawnSync } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Link } from '../../src/fleet/connect.js';
import { credentials } from '../../src/fleet/credentials.js';
import { NODE_SIDE } from '../../src/fleet/node-side.js';
import { nodeShell } from '../../src/fleet/shell.js';
import { askNode } from '../../src/fleet/upload.js';
import type { RemoteEnd, RemoteProcess } from '../../src/host/remote.js';

/** A connection on which commands are started so. */
const linkThat = (exec: (command: string) => Promise<RemoteProcess>): Link => ({
  ...{ where: 'lb1 (ops@192.0.2.11:22)', user: 'ops', close: () => undefined },
  session: async () => ({
    ...{ isOpen: true, exec, close: () => undefined },
    forward: () => Promise.reject(new Error('nothing is forwarded here')),
  }),
});

/** A login shell of this machine, as sshd starts it. */
const here =
  (program: string) =>
  async (command: string): Promise<RemoteProcess> => {
    const process = spawn(program, ['-c', command]);
    const { stdin, stdout, stderr } = process;
    return {
      ...{ stdin, stdout, stderr, abandon: () => undefined },
      ended: new Promise<RemoteEnd>((resolve) => {
        process.on('close', (exitCode: number | null) => {
          resolve({ exitCode, signal: undefined });
        });
      }),
    };
  };

/** A command that was taken and never says anything. */
const silent = async (): Promise<RemoteProcess> => {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  let giveUp: () => void = () => undefined;
  const ended = new Promise<RemoteEnd>((_resolve, reject) => {
    giveUp = () => {
      reject(new Error('the connection was lost'));
    };
  });
  ended.catch(() => undefined);
  return { stdin: new PassThrough(), stdout, stderr, ended, abandon: giveUp };
};

const nobody = credentials(undefined);

describe('the shell of a node', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it.each([
    ['starts no command', () => new Promise<RemoteProcess>(() => undefined)],
    ['starts a command that says nothing', silent],
  ])('that %s is given up after a minute, with what to look at', async (_what, exec) => {
    vi.useFakeTimers();
    const shell = nodeShell(linkThat(exec), nobody);
    const refused = expect(shell.run(['true'], { asRoot: true })).rejects.toMatchObject({
      ...{ code: 'NODE_UNREACHABLE', exit: 5, where: 'lb1 (ops@192.0.2.11:22)' },
      message: 'the node took the login, but did not answer "id -u" within 60 s',
      hint: expect.stringContaining('getent passwd ops') as string,
    });
    await vi.advanceTimersByTimeAsync(61_000);
    await refused;
  });

  it('whose sudo says nothing is given up too', async () => {
    vi.useFakeTimers();
    const exec = (command: string): Promise<RemoteProcess> =>
      command.includes('sudo') ? silent() : answering('1000\n');
    const refused = expect(
      nodeShell(linkThat(exec), nobody).run(['true'], { asRoot: true }),
    ).rejects.toMatchObject({
      code: 'NODE_UNREACHABLE',
      message: 'the node took the login, but did not answer "sudo true" within 60 s',
    });
    await vi.advanceTimersByTimeAsync(61_000);
    await refused;
  });

  it('whose root says nothing to the first question is given up too', async () => {
    vi.useFakeTimers();
    const exec = (command: string): Promise<RemoteProcess> =>
      command.includes('node-side') ? silent() : answering('0\n');
    const refused = expect(
      askNode(nodeShell(linkThat(exec), nobody), ['facts'], { timeoutMs: 60_000 }),
    ).rejects.toMatchObject({
      code: 'NODE_UNREACHABLE',
      message: 'the node took the login, but did not answer "facts" as root within 60 s',
    });
    await vi.advanceTimersByTimeAsync(61_000);
    await refused;
  });
});

/** Prints what it is given and ends. */
async function answering(text: string): Promise<RemoteProcess> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  stdout.end(`airbundle-begins-here\n${text}`);
  return {
    ...{ stdin: new PassThrough(), stdout, stderr, abandon: () => undefined },
    ended: Promise.resolve({ exitCode: 0, signal: undefined }),
  };
}

/** Those that this machine has; a csh is no shell of POSIX. */
const SHELLS = ['sh', 'bash', 'dash', 'ksh', 'zsh', 'csh', 'tcsh'].filter(
  (program) => spawnSync(program, ['-c', 'true']).status === 0,
);
const HARD = ['printf', '%s\\n', 'two\nlines', "it's! !x", 'a\\nb\\\\', '$HOME `id` "q"', '', '-n'];
const PRINTED = 'two\nlines\nit\'s! !x\na\\nb\\\\\n$HOME `id` "q"\n\n-n\n';

describe('a command for the shell of a login', () => {
  it('has no line end and no "!", which a csh does not take inside quotes', async () => {
    const seen: string[] = [];
    const exec = async (command: string): Promise<RemoteProcess> => {
      seen.push(command);
      return here('sh')(command);
    };
    const shell = nodeShell(linkThat(exec), nobody);
    expect((await shell.run(HARD)).stdout).toBe(PRINTED);
    expect((await shell.run(['cat'], { input: 'a\0b!\n' })).stdout).toBe('a\0b!\n');
    expect(seen.filter((command) => /[\n!]/.test(command))).toEqual([]);
  });

  it.each(SHELLS)('is understood by %s', async (program) => {
    const shell = nodeShell(linkThat(here(program)), nobody);
    expect(await shell.run(HARD)).toMatchObject({ exitCode: 0, stdout: PRINTED, stderr: '' });
    expect((await shell.run(['sh', '-c', 'exit 3 # !\n'])).exitCode).toBe(3);
    const facts = await shell.run(['/bin/sh', '-c', NODE_SIDE, 'node-side', 'facts']);
    expect(facts).toMatchObject({ exitCode: 0, stderr: '' });
    expect(['bare\n', 'installed\n']).toContain(facts.stdout);
  });
});
