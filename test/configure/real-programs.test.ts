import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp2 } from 'node:http2';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHECK_HAPROXY } from '../../src/configure/check-haproxy.js';
import { skipUnless } from '../support/skip.js';
import { configured, contentOf, example, noProgram, realProgram, siteOf } from './fixtures.js';

/*
 * The generated text against the real programs. What a test machine does not have (the haproxy
 * user, /etc/keepalived, the site's interfaces) is replaced in the text; nothing else is.
 */

const haproxy = realProgram('haproxy', 'AIRBUNDLE_TEST_HAPROXY');
const keepalived = realProgram('keepalived', 'AIRBUNDLE_TEST_KEEPALIVED');
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'airbundle-configure-'));
  chmodSync(folder, 0o755);
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly exit: number;
  readonly output: string;
}

function run(program: string, argv: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, argv, { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ exit: error === null ? 0 : Number(error.code ?? 99), output: stdout + stderr });
    });
  });
}

function write(name: string, content: string, mode = 0o644): string {
  const file = join(folder, name);
  writeFileSync(file, content);
  chmodSync(file, mode);
  return file;
}

const withoutUsers = (config: string): string =>
  config.replace(/^ {4}(?:user|group|chroot) .*\n/gm, '').replace(' user root group haproxy', '');

describe('haproxy -c', () => {
  skipUnless(haproxy !== undefined, noProgram('haproxy', 'AIRBUNDLE_TEST_HAPROXY'));

  it.each(['tts-pair', 'tts-full'] as const)(
    'takes the configuration of %s without a warning',
    async (name) => {
      const key = join(folder, 'key.pem');
      const certificate = join(folder, 'certificate.pem');
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-subj',
          '/CN=tts',
          '-keyout',
          key,
          '-out',
          certificate,
        ],
        { stdio: 'ignore' },
      );
      const pem = write('tts.pem', readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'));
      const config = withoutUsers(
        contentOf(configured(siteOf(example(name))), '/etc/haproxy/haproxy.cfg'),
      ).replace('/etc/haproxy/tls/tts.pem', pem);
      const outcome = await run(haproxy ?? '', ['-c', '-f', write(`${name}.cfg`, config)]);
      expect(outcome.output).not.toMatch(/WARNING|ALERT/);
      expect(outcome.exit).toBe(0);
    },
  );
});

describe('keepalived -t', () => {
  skipUnless(keepalived !== undefined, noProgram('keepalived', 'AIRBUNDLE_TEST_KEEPALIVED'));
  const device = Object.keys(networkInterfaces()).find((name) => name !== 'lo');

  skipUnless(device !== undefined, 'this machine has no interface but lo');

  it('takes the configuration of the pair, and refuses it when the script is missing', async () => {
    const site = siteOf(example('tts-pair').replaceAll('interface: eth0', `interface: ${device ?? ''}`));
    const script = write('check-haproxy', CHECK_HAPROXY, 0o755);
    const config = contentOf(configured(site), '/etc/keepalived/keepalived.conf')
      .replace('/etc/keepalived/check-haproxy', script)
      .replace('keepalived_script', 'nobody');
    const file = write('keepalived.conf', config, 0o600);
    expect(await run(keepalived ?? '', ['-t', '-f', file])).toMatchObject({ exit: 0 });
    rmSync(script);
    expect((await run(keepalived ?? '', ['-t', '-f', file])).exit).not.toBe(0);
  });
});

describe('a running haproxy', () => {
  skipUnless(haproxy !== undefined, noProgram('haproxy', 'AIRBUNDLE_TEST_HAPROXY'));

  it.each(['grpc', 'grpc-serving'] as const)(
    'with the %s check keeps its worker, finds the backend up, and the check script sees a stopped worker',
    async (kind) => {
      const backend = createHttp2();
      backend.on('stream', (stream) => {
        stream.on('error', () => undefined);
        stream.on('end', () => {
          stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
          stream.end(Buffer.from('00000000020801', 'hex'));
        });
        stream.resume();
      });
      await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
      const backendPort = (backend.address() as AddressInfo).port;
      const [bindPort, checkPort] = [await freePort(), await freePort()];
      const text = example('tts-pair')
        .replace('protocol: grpc', `protocol: grpc\n    check: { kind: ${kind}, interval: 200ms }`)
        .replace('    port: 50051\n', `    port: ${String(bindPort)}\n`);
      const site = siteOf(`${text}haproxy: { checkPort: ${String(checkPort)}, maxConnections: 100 }\n`);
      const config = withoutUsers(contentOf(configured(site), '/etc/haproxy/haproxy.cfg'))
        .replace(/10\.20\.0\.2[12]:50051/g, `127.0.0.1:${String(backendPort)}`)
        .replace('bind 10.20.0.10', 'bind 127.0.0.1')
        .replace('/run/haproxy/admin.sock', join(folder, `${kind}.sock`));
      const script = write('check', CHECK_HAPROXY, 0o755);
      const check = (): Promise<Outcome> => run('bash', [script, String(checkPort), 'lb1']);

      const master = spawn(haproxy ?? '', ['-W', '-f', write(`${kind}.cfg`, config)], {
        stdio: ['ignore', 'ignore', 'ignore'],
      });
      const exited = new Promise<void>((resolve) => master.on('exit', () => resolve()));
      try {
        await sleep(2500);
        expect(await check()).toEqual({ exit: 0, output: '' });
        expect(await ask(checkPort, 'show stat -1 4 -1')).toMatch(/^tts,tts1,.*,UP,/m);

        const worker = Number(/^Pid: (\d+)$/m.exec(await ask(checkPort, 'show info'))?.[1]);
        process.kill(worker, 'SIGSTOP');
        expect((await check()).exit).toBe(1);
        process.kill(worker, 'SIGCONT');
        expect((await check()).exit).toBe(0);
        process.kill(worker, 'SIGKILL');
        await exited;
        expect((await check()).exit).toBe(1);
      } finally {
        master.kill('SIGTERM');
        await Promise.race([exited, sleep(3000)]);
        backend.close();
      }
    },
    30_000,
  );
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** One command to the loopback stats socket, through bash as the check script does. */
async function ask(port: number, command: string): Promise<string> {
  const outcome = await run('bash', [
    '-c',
    `exec 3<>/dev/tcp/127.0.0.1/${String(port)}; echo "$1" >&3; cat <&3`,
    'ask',
    command,
  ]);
  return outcome.output;
}
