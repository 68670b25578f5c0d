import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { CHECK_HAPROXY } from '../../src/configure/check-haproxy.js';
import { noProgram, realProgram } from './fixtures.js';

const SCRIPT = fileURLToPath(new URL('../../src/configure/check-haproxy.sh', import.meta.url));
const MODULE = fileURLToPath(new URL('../../src/configure/check-haproxy.ts', import.meta.url));

if (process.env['UPDATE_CHECK_SCRIPT'] === '1') {
  const escaped = readFileSync(SCRIPT, 'utf8')
    .replace(/\\/g, '\\\\')
    .replace(/`/g, '\\`')
    .replace(/\$\{/g, '\\${');
  const before = readFileSync(MODULE, 'utf8').split('export const')[0] ?? '';
  writeFileSync(MODULE, `${before}export const CHECK_HAPROXY = \`${escaped}\`;\n`);
}

const INFO = (node: string): string => `Name: HAProxy\nVersion: 2.3.21\nnode: ${node}\nStopping: 0\n\n`;
const STAT = (status: string): string =>
  `# pxname,svname,qcur\ntts,FRONTEND,,,0,0,10,0,0,0,0,0,0,,,,,${status},,,\n\n`;

interface Verdict {
  readonly exit: number;
  readonly reason: string;
  readonly tookMs: number;
}

/** The real script, asking a server that answers (or not) as `serve` does. */
async function check(serve: (socket: Socket) => void): Promise<Verdict> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await run((server.address() as AddressInfo).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function run(port: number): Promise<Verdict> {
  const from = performance.now();
  return new Promise((resolve) => {
    execFile('bash', [SCRIPT, String(port), 'lb1'], { timeout: 10_000 }, (error, _, stderr) => {
      resolve({
        exit: error === null ? 0 : Number(error.code ?? 99),
        reason: stderr,
        tookMs: performance.now() - from,
      });
    });
  });
}

const answering =
  (text: string) =>
  (socket: Socket): void => {
    socket.once('data', () => socket.end(text));
  };

describe('the check script', () => {
  it('is the same in the .sh and in the module that carries it', () => {
    expect(CHECK_HAPROXY).toBe(readFileSync(SCRIPT, 'utf8'));
  });

  const shellcheck = realProgram('shellcheck', 'AIRBUNDLE_TEST_SHELLCHECK');
  it('passes shellcheck', ({ skip }) => {
    if (shellcheck === undefined) skip(noProgram('shellcheck', 'AIRBUNDLE_TEST_SHELLCHECK'));
    execFileSync(shellcheck ?? '', ['-'], { input: CHECK_HAPROXY });
  });

  it('is content with a worker that names itself and has its services open, or full', async () => {
    expect(await check(answering(INFO('lb1') + STAT('OPEN')))).toMatchObject({ exit: 0, reason: '' });
    expect(await check(answering(INFO('lb1') + STAT('FULL')))).toMatchObject({ exit: 0 });
  });

  it('fails when nothing listens', async () => {
    const verdict = await run(1);
    expect(verdict.exit).toBe(1);
    expect(verdict.reason).toContain('nothing listens on 127.0.0.1:1');
  });

  it('fails within two seconds when the worker takes the connection and says nothing', async () => {
    const verdict = await check(() => undefined);
    expect(verdict.exit).toBe(1);
    expect(verdict.tookMs).toBeLessThan(2000);
  });

  it.each([
    ['closes at once', (socket: Socket) => socket.destroy(), 'no answer'],
    ['is another program', answering('HTTP/1.0 200 OK\r\n\r\n'), 'no answer'],
    ['belongs to another node', answering(INFO('lb2') + STAT('OPEN')), 'another haproxy: node: lb2'],
    ['is stopping', answering(INFO('lb1').replace('Stopping: 0', 'Stopping: 1') + STAT('OPEN')), 'stopping'],
    ['has a stopped service', answering(INFO('lb1') + STAT('STOP')), 'service tts is STOP'],
    ['has no service', answering(INFO('lb1') + '# pxname,svname\n\n'), 'no open service'],
    ['breaks off', answering('Name: HAProxy\nno'), 'no answer'],
  ])('fails when what answers %s', async (_, serve, reason) => {
    const verdict = await check(serve);
    expect(verdict.exit).toBe(1);
    expect(verdict.reason).toContain(reason);
  });
});
