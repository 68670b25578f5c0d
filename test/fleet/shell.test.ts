import { PassThrough } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Link } from '../../src/fleet/connect.js';
import { credentials } from '../../src/fleet/credentials.js';
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
