import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BundleError } from '../../src/errors.js';
import { collectRuntime } from '../../src/create/runtime.js';
import { collectSources } from '../../src/create/sources.js';
import { openStore } from '../../src/create/store.js';
import { timeoutSecondsOf, whileMoving } from '../../src/create/timeout.js';
import type { Manifest } from '../../src/model/manifest.js';
import {
  failureOf,
  makeRepository,
  packagerEnv,
  recordingReporter,
  temporaryFolder,
} from './create-support.js';

/* Real servers on this machine that stall; AIRBUNDLE_TIMEOUT shortens the limit. */

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** Writes the first half at once; then nothing, or a byte every 50 ms. */
function half(bytes: Buffer, out: ServerResponse | Socket, goOn: 'nothing' | 'drips'): void {
  let at = Math.floor(bytes.length / 2);
  out.write(bytes.subarray(0, at));
  if (goOn === 'nothing') return;
  const timer = setInterval(() => {
    out.write(bytes.subarray(at, at + 1));
    at += 1;
    if (at >= bytes.length) clearInterval(timer);
  }, 50);
  out.on('close', () => {
    clearInterval(timer);
  });
}

/** The first line of git's own protocol; it may come in pieces. Nothing follows it before the answer. */
function onceAsked(socket: Socket, answer: () => void): void {
  let asked = '';
  const listen = (bytes: Buffer): void => {
    asked += bytes.toString('latin1');
    if (asked.length < 4 || asked.length < Number.parseInt(asked.slice(0, 4), 16)) return;
    socket.off('data', listen);
    answer();
  };
  socket.on('data', listen);
}

/** Command lines of this machine that hold the text. */
function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')];
      } catch {
        return [];
      }
    })
    .filter((line) => line.includes(text));
}

describe('a git remote that stalls', () => {
  let folder = '';
  beforeEach(() => {
    folder = temporaryFolder();
  });

  const failed = async (git: string, env: Record<string, string> = {}): Promise<BundleError> => {
    const cacheDir = path.join(folder, 'cache');
    const component = { name: 'thing', source: { git, ref: 'v1.0' } };
    const failure = await failureOf(
      collectSources({
        manifest: { components: [component] } as unknown as Manifest,
        manifestFolder: folder,
        lock: undefined,
        store: await openStore({ directory: cacheDir }),
        cacheDir,
        env: packagerEnv({ AIRBUNDLE_TIMEOUT: '1', ...env }),
        reporter: recordingReporter(),
        trustHttp: ['thing'],
      }),
    );
    expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
    expect(readdirSync(path.join(cacheDir, 'sha256'))).toEqual([]);
    return failure;
  };
  const expectStalled = async (failure: BundleError, git: string, port: number): Promise<void> => {
    expect([failure.exit, failure.code], [failure.message, ...failure.details].join('\n')).toEqual([
      6,
      'STALLED',
    ]);
    expect(failure.message).toBe(`${git} stalled: for 1 s nothing came, or next to nothing`);
    expect(failure.hint).toContain('AIRBUNDLE_TIMEOUT=4');
    // They are killed by then; a busy machine takes its time to bury them.
    await expect.poll(() => processesWith(`:${String(port)}/`), { timeout: 10_000 }).toEqual([]);
  };

  it.each([
    ['http', 'takes the connection and says nothing', 'x.git'],
    ['git', 'takes the connection and says nothing', 'x.git'],
  ])('over %s: %s', async (protocol, _, name) => {
    const port = await listen(createTcpServer(() => undefined));
    const git = `${protocol}://127.0.0.1:${String(port)}/${name}`;
    await expectStalled(await failed(git), git, port);
  });

  it.each(['nothing', 'drips'] as const)('over http, half of the list of refs and then: %s', async (goOn) => {
    const refs = Buffer.from(`${'0'.repeat(40)}\trefs/heads/x\n`.repeat(40));
    const port = await listen(
      createServer((_, response) => {
        response.writeHead(200, { 'content-type': 'text/plain', 'content-length': refs.length });
        half(refs, response, goOn);
      }),
    );
    const git = `http://127.0.0.1:${String(port)}/x.git`;
    await expectStalled(await failed(git), git, port);
  });

  it.each(['nothing', 'drips'] as const)('over dumb http, half of an object and then: %s', async (goOn) => {
    const upstream = makeRepository(path.join(folder, 'upstream'));
    upstream.commit({ big: Buffer.alloc(60_000, 'abcdefghij').toString() });
    upstream.git('tag', 'v1.0');
    upstream.git('gc', '--quiet');
    upstream.git('update-server-info');
    const port = await listen(
      createServer((request, response) => {
        const file = path.join(upstream.folder, '.git', new URL(request.url ?? '', 'http://x').pathname);
        if (!existsSync(file)) response.writeHead(404).end();
        else if (file.endsWith('.pack')) half(readFileSync(file), response, goOn);
        else response.end(readFileSync(file));
      }),
    );
    const git = `http://127.0.0.1:${String(port)}/`;
    await expectStalled(await failed(git), git, port);
  });

  it.each(['nothing', 'drips'] as const)(
    'over git://, the refs, half of the pack and then: %s',
    async (goOn) => {
      const upstream = makeRepository(path.join(folder, 'upstream'));
      const noise = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * at * 31 + at * 17) % 251));
      upstream.commit({ big: noise.toString('base64') });
      upstream.git('tag', 'v1.0');
      upstream.git('config', 'core.compression', '0');
      // Between git and a real upload-pack: only the first 100 000 bytes of an answer go through at once.
      const port = await listen(
        createTcpServer((socket) => {
          onceAsked(socket, () => {
            const pack = spawn('git', ['upload-pack', upstream.folder], {
              env: {
                PATH: process.env['PATH'] ?? '',
                HOME: '/nonexistent',
                GIT_CONFIG_COUNT: '1',
                GIT_CONFIG_KEY_0: 'safe.directory',
                GIT_CONFIG_VALUE_0: '*',
              },
              stdio: ['pipe', 'pipe', 'ignore'],
            });
            socket.pipe(pack.stdin).on('error', () => undefined);
            let sent = 0;
            let held = false;
            let timer: NodeJS.Timeout | undefined;
            pack.stdout.on('data', (bytes: Buffer) => {
              sent += bytes.length;
              let at = 0;
              if (!held && sent <= 100_000) socket.write(bytes);
              else if (!held && goOn === 'drips')
                // The right bytes, one by one: anything else may be refused before it counts as slow.
                timer = setInterval(() => socket.write(bytes.subarray(at, (at += 1))), 50);
              held ||= sent > 100_000;
            });
            pack.stdout.on('end', () => {
              if (!held) socket.end();
            });
            socket.on('close', () => {
              clearInterval(timer);
              pack.kill();
            });
          });
        }),
      );
      const git = `git://127.0.0.1:${String(port)}/x`;
      const failure = await failed(git);
      await expectStalled(failure, git, port);
      expect(failure.where).toBe('git fetch');
    },
  );

  it('over ssh: takes the connection and says nothing', async () => {
    const port = await listen(createTcpServer(() => undefined));
    const git = `ssh://git@127.0.0.1:${String(port)}/x.git`;
    await expectStalled(await failed(git), git, port);
    await expect.poll(() => processesWith(`-p ${String(port)} `), { timeout: 10_000 }).toEqual([]);
  });
});

describe("npm's registry that stalls", () => {
  it.each(['nothing', 'drips'] as const)(
    'sends half of the package and then: %s',
    { timeout: 60_000 },
    async (goOn) => {
      const folder = temporaryFolder();
      mkdirSync(path.join(folder, 'package'));
      writeFileSync(path.join(folder, 'package', 'package.json'), '{"name":"thing","version":"1.0.0"}');
      const archive = execFileSync('tar', ['-czf', '-', '-C', folder, 'package']);
      const port = await listen(
        createServer((request, response) => {
          const base = `http://${request.headers.host ?? ''}`;
          if (request.url?.endsWith('.tgz') === true) {
            response.writeHead(200, { 'content-length': archive.length });
            half(archive, response, goOn);
            return;
          }
          const dist = { tarball: `${base}/thing-1.0.0.tgz`, integrity: `sha512-${'A'.repeat(86)}==` };
          const versions = { '1.0.0': { name: 'thing', version: '1.0.0', dist } };
          response.setHeader('content-type', 'application/json');
          response.end(JSON.stringify({ name: 'thing', 'dist-tags': { latest: '1.0.0' }, versions }));
        }),
      );
      const cacheDir = path.join(folder, 'cache');
      const failure = await failureOf(
        collectRuntime({
          runtime: { npm: 'thing@1.0.0', integrity: `sha512-${'A'.repeat(86)}==`, path: 'bin/node' },
          lock: undefined,
          store: await openStore({ directory: cacheDir }),
          cacheDir,
          env: packagerEnv({
            AIRBUNDLE_TIMEOUT: '1',
            npm_config_registry: `http://127.0.0.1:${String(port)}/`,
            npm_config_cache: path.join(folder, 'npm-cache'),
          }),
          reporter: recordingReporter(),
        }),
      );
      expect([failure.exit, failure.code, failure.where]).toEqual([6, 'STALLED', 'runtime: npm']);
      expect(failure.message).toContain('thing@1.0.0');
      expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
      await expect.poll(() => processesWith('npm pack thing@1.0.0'), { timeout: 10_000 }).toEqual([]);
    },
  );
});

describe('the limit', () => {
  it('is on what comes, not on how long the whole takes', async () => {
    let bytes = 0;
    const timer = setInterval(() => (bytes += 20), 50);
    const slow = whileMoving({ seconds: 1, moved: () => bytes }, async (signal) => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      return signal.aborted;
    });
    expect(
      await slow.finally(() => {
        clearInterval(timer);
      }),
    ).toBe(false);
  });

  it('is AIRBUNDLE_TIMEOUT in seconds, and 120 when that is no whole number', () => {
    expect(
      ['7', '', '0', '-1', '1.5', 'x'].map((text) => timeoutSecondsOf({ AIRBUNDLE_TIMEOUT: text })),
    ).toEqual([7, 120, 120, 120, 120, 120]);
    expect(timeoutSecondsOf({})).toBe(120);
  });
});
