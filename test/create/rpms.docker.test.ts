import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { tmpdir } from 'node:os';
import { connect, createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readContext } from '../../src/create/collector-image.js';
import { findEngine } from '../../src/create/engine.js';
import type { Engine } from '../../src/create/engine.js';
import { owner } from '../../src/create/owner.js';
import { readPublicKey } from '../../src/create/openpgp.js';
import { collectRpms } from '../../src/create/rpms.js';
import type { Collected, CollectRequest } from '../../src/create/rpms.js';
import { openStore } from '../../src/create/store.js';
import type { Store } from '../../src/create/store.js';
import { Sha256 } from '../../src/model/grammar.js';
import { requestOf } from '../../src/model/lock.js';
import type { Lock, LockedRpm } from '../../src/model/lock.js';
import { parseManifest } from '../../src/model/manifest.js';
import type { Manifest } from '../../src/model/manifest.js';
import { compareNevra, rpmFileName } from '../../src/model/nevra.js';
import { createReporter } from '../../src/report.js';
import { collectorImage } from '../lab/images.js';
import { labRepository } from '../lab/repository.js';
import { serveRepository } from '../lab/serve.js';
import type { ServedFolder } from '../lab/serve.js';
import { skipUnless } from '../support/skip.js';

/* The whole of it, against the lab's signed repository; dnf 4 stands in for yum 3.4.3. */

const LABEL = `airbundle.test=${String(process.pid)}`;
const env = {
  PATH: process.env['PATH'] ?? '',
  HOME: process.env['HOME'] ?? '/',
  AIRBUNDLE_ENGINE_ARGS: `--label ${LABEL}`,
};
const engine = await findEngine({ env, engine: 'docker' }).catch(() => undefined);
const CENTOS_KEY = fileURLToPath(new URL('../../../shared/el7-rpms/RPM-GPG-KEY-CentOS-7', import.meta.url));

describe('collectRpms', () => {
  skipUnless(engine !== undefined, 'docker does not answer');

  let folder = '';
  let repository = '';
  let keyFile = '';
  let fingerprint = '';
  let image = '';
  let served: ServedFolder;
  let store: Store;
  let collected: Collected;
  let said: string[] = [];

  beforeAll(async () => {
    if (engine === undefined) return;
    folder = await mkdtemp(path.join(tmpdir(), 'collect-'));
    const lab = await labRepository();
    repository = lab.dir;
    keyFile = lab.keyFile;
    fingerprint = readPublicKey(await readFile(keyFile), keyFile).fingerprint;
    image = await collectorImage();
    served = await serveRepository({ dir: lab.dir });
    store = await openStore({ directory: path.join(folder, 'store') });
    collected = await collectRpms(request());
  });
  afterAll(async () => {
    if (engine === undefined) return;
    await served.close();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    if (engine === undefined) return;
    const left = await engine.command(['ps', '-a', '--filter', `label=${LABEL}`, '--format', '{{.Names}}']);
    expect(left.stdout, 'a container stayed behind').toBe('');
  });

  const manifest = (
    given: { packages?: string[]; url?: string; keys?: string; collector?: string } = {},
  ): Manifest =>
    parseManifest(
      Buffer.from(
        [
          'airbundle: 1',
          'name: it',
          'version: "1"',
          'sequence: 1',
          'target: { os: el7, arch: x86_64 }',
          `collector: { ${given.collector ?? `image: "${image}"`} }`,
          `repositories: [{ id: lab, url: "${given.url ?? served.url}" }]`,
          `keys: [{ fingerprint: "${fingerprint}", ${given.keys ?? `file: "${keyFile}"`} }]`,
          `runtime: { npm: "x@1.0.0", integrity: "sha512-${'A'.repeat(86)}==" }`,
          'components:',
          '  - name: c',
          '    version: "1"',
          '    licence: MIT',
          `    packages: [${(given.packages ?? ['zlib-devel', 'make']).join(', ')}]`,
          '    source: { git: "https://x.example/c.git", ref: v1 }',
          '    build: [[make]]',
          '    install: [make, install]',
          '    files: [/usr/bin/c]',
        ].join('\n'),
      ),
      'it.yaml',
    );
  const request = (given: Partial<CollectRequest> = {}): CollectRequest => {
    said = [];
    const stream = { write: (text: string) => said.push(text) };
    const reporter = createReporter({
      format: 'text',
      quiet: false,
      color: false,
      stream,
      now: () => performance.now(),
    });
    return {
      manifest: manifest(),
      manifestDir: folder,
      lock: undefined,
      store,
      cacheDir: path.join(folder, 'store'),
      reporter,
      env,
      ...given,
    };
  };
  const lockOf = (rpms: readonly LockedRpm[] = collected.rpms): Lock => ({
    airbundleLock: 1,
    requested: requestOf(manifest()),
    rpms: [...rpms],
    sources: [],
    runtime: {
      origin: 'npm:x@1.0.0',
      version: '1.0.0',
      pinned: '',
      path: '',
      sha256: Sha256.parse('0'.repeat(64)),
      sizeBytes: 0,
    },
  });
  const first = (): LockedRpm => collected.rpms[0] ?? expect.fail('nothing was collected');
  const requestsDuring = async (work: () => Promise<unknown>): Promise<string[]> => {
    const before = served.requests.length;
    await work();
    return served.requests.slice(before).filter((url) => url.endsWith('.rpm'));
  };
  const changedRepository = async (change: (packages: string) => Promise<void>): Promise<ServedFolder> => {
    const copy = await mkdtemp(path.join(folder, 'repository-'));
    await promisify(execFile)('cp', ['-a', `${repository}/.`, copy]);
    await change(path.join(copy, 'Packages'));
    return serveRepository({ dir: copy });
  };

  it('brings the closure: signed, sorted, in the store, with its place in the repository', async () => {
    const { rpms } = collected;
    const names = rpms.map(({ nevra }) => nevra.name);
    expect(names).toEqual(expect.arrayContaining(['zlib-devel', 'zlib', 'make', 'glibc']));
    expect(rpms).toEqual([...rpms].sort((a, b) => compareNevra(a.nevra, b.nevra)));
    for (const rpm of rpms) {
      expect(rpm).toMatchObject({
        signer: fingerprint,
        repository: 'lab',
        path: `Packages/${rpmFileName(rpm.nevra)}`,
      });
      expect(rpm.nevra.arch).not.toMatch(/i.86/);
      expect(await store.has(rpm.sha256)).toBe(true);
    }
    // The name as it was given; what this host calls the image stays out of the bundle.
    expect(collected.collector).toEqual({ image, contextSha256: null });
    expect(collected.imageId).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  it('reports what it does, with counts', async () => {
    await collectRpms(request());
    expect(said.join('')).toMatch(
      /download 2 packages and what they need: \d+ RPMs[^]*prove signatures and closure: \d+ RPMs/,
    );
  });

  it('gives the same from a lock, asking the repository for nothing when the store has it all', async () => {
    let again: Collected | undefined;
    const asked = await requestsDuring(async () => {
      again = await collectRpms(request({ lock: lockOf() }));
    });
    expect(asked).toEqual([]);
    expect(again).toEqual(collected);
    expect(said.join('')).toContain('prove signatures and closure');
  });

  it('downloads only what the store lacks, or holds damaged', async () => {
    const [lost, damaged] = collected.rpms.slice(-2);
    if (lost === undefined || damaged === undefined) expect.fail('nothing was collected');
    await unlink(store.path(lost.sha256));
    await rm(store.path(damaged.sha256));
    await writeFile(store.path(damaged.sha256), 'damaged');
    let again: Collected | undefined;
    const asked = await requestsDuring(async () => {
      again = await collectRpms(request({ lock: lockOf() }));
    });
    expect(asked.map((url) => decodeURIComponent(path.posix.basename(url))).sort()).toEqual(
      [rpmFileName(damaged.nevra), rpmFileName(lost.nevra)].sort(),
    );
    expect(again).toEqual(collected);
    expect((await readFile(store.path(damaged.sha256))).length).toBe(damaged.sizeBytes);
  });

  it('resolves anew without downloading again what the cache has, metadata or packages', async () => {
    let again: Collected | undefined;
    const before = served.requests.length;
    const asked = await requestsDuring(async () => {
      again = await collectRpms(request());
    });
    expect(asked).toEqual([]);
    expect(served.requests.slice(before).map((url) => path.posix.basename(url))).toEqual(['repomd.xml']);
    expect(again).toEqual(collected);
    expect(said.join('')).toContain(
      `${String(collected.rpms.length)} RPMs, ${String(collected.rpms.length)} of them from the cache`,
    );
    // Fewer packages: what is at hand and not wanted does not slip in.
    const less = await collectRpms(request({ manifest: manifest({ packages: ['zlib'] }) }));
    const fresh = await collectRpms(
      request({ manifest: manifest({ packages: ['zlib'] }), cacheDir: path.join(folder, 'fresh') }),
    );
    expect(less).toEqual(fresh);
    expect(less.rpms.length).toBeLessThan(collected.rpms.length);
  });

  it('takes nothing from the cache that is damaged in it', async () => {
    const damaged = first();
    await rm(store.path(damaged.sha256));
    await writeFile(store.path(damaged.sha256), 'damaged');
    const asked = await requestsDuring(async () => {
      expect(await collectRpms(request())).toEqual(collected);
    });
    expect(asked.map((url) => decodeURIComponent(path.posix.basename(url)))).toEqual([
      rpmFileName(damaged.nevra),
    ]);
  });

  it('resolves without the list of what yum chose: then it begins again with an empty folder', async () => {
    // An image whose yum does not take our plugin.
    const context = path.join(folder, 'no-plugin');
    await mkdir(context);
    await writeFile(
      path.join(context, 'Dockerfile'),
      `FROM ${image}\nRUN mv /usr/bin/yum /usr/bin/yum-real && printf '#!/bin/sh\\nexec yum-real --noplugins "$@"\\n' >/usr/bin/yum && chmod 755 /usr/bin/yum\n`,
    );
    const { sha256 } = await readContext(context);
    try {
      const given = { manifest: manifest({ collector: 'dockerfile: no-plugin' }) };
      expect((await collectRpms(request(given))).rpms).toEqual(collected.rpms);
      const asked = await requestsDuring(async () => {
        expect((await collectRpms(request(given))).rpms).toEqual(collected.rpms);
      });
      expect(asked.length).toBe(collected.rpms.length);
      expect(said.join('')).toContain('yum did not say which packages it chose');
    } finally {
      await (engine as Engine).command(['image', 'rm', `airbundle-collector:${sha256.slice(0, 16)}`]);
    }
  });

  it('keeps the versions of an old lock where the set is complete with them', async () => {
    const zlib = collected.rpms.find(({ nevra }) => nevra.name === 'zlib') ?? first();
    // Another package under its name: what an older release in the lock looks like, and not complete.
    const old = { ...first(), nevra: { ...zlib.nevra, version: '0.1' } };
    const without = await collectRpms(
      request({ pins: [...collected.rpms.filter((rpm) => rpm !== zlib), old] }),
    );
    expect(without.rpms).toEqual(collected.rpms);
    expect(said.join('')).toContain('all RPMs are resolved anew');
    const gone = {
      ...zlib,
      sha256: Sha256.parse('0'.repeat(64)),
      nevra: { ...zlib.nevra, version: '0.0.1' },
    };
    expect((await collectRpms(request({ pins: [gone] }))).rpms).toEqual(collected.rpms);
    expect(said.join('')).toContain('cannot be had any more');
  });

  it('names what the repository no longer has as the lock says', async () => {
    const gone = {
      ...first(),
      sha256: Sha256.parse('0'.repeat(64)),
      nevra: { ...first().nevra, version: '0.0.1' },
    };
    await expect(
      collectRpms(request({ lock: lockOf([gone, ...collected.rpms.slice(1)]) })),
    ).rejects.toMatchObject({
      code: 'LOCK_NOT_REPRODUCED',
      exit: 4,
      details: [expect.stringMatching(/^missing: .*0\.0\.1/) as string],
    });
    const changed = { ...first(), sha256: Sha256.parse('0'.repeat(64)) };
    await expect(
      collectRpms(request({ lock: lockOf([changed, ...collected.rpms.slice(1)]) })),
    ).rejects.toMatchObject({
      code: 'LOCK_NOT_REPRODUCED',
      exit: 4,
      details: [expect.stringMatching(/^changed: .*in the repository$/) as string],
    });
  });

  it('refuses a lock that is short of something which the rest needs', async () => {
    const short = collected.rpms.filter(({ nevra }) => nevra.name !== 'zlib');
    await expect(collectRpms(request({ lock: lockOf(short) }))).rejects.toMatchObject({
      code: 'CLOSURE_BROKEN',
      exit: 6,
      details: expect.arrayContaining([expect.stringContaining('zlib')]) as string[],
    });
  });

  it('names a package that no repository has', async () => {
    await expect(
      collectRpms(request({ manifest: manifest({ packages: ['make', 'no-such-thing'] }) })),
    ).rejects.toMatchObject({
      code: 'PACKAGE_UNKNOWN',
      exit: 3,
      message: expect.stringContaining('no-such-thing') as string,
    });
  });

  it('refuses a package that was altered on the server, and one that is not served', async () => {
    const victim = collected.rpms.find(({ nevra }) => nevra.name === 'make') ?? first();
    const altered = await changedRepository(async (packages) => {
      const file = path.join(packages, rpmFileName(victim.nevra));
      const bytes = await readFile(file);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      await writeFile(file, bytes);
    });
    await expect(collectRpms(request({ manifest: manifest({ url: altered.url }) }))).rejects.toMatchObject({
      code: 'DOWNLOAD_ALTERED',
      exit: 4,
    });
    await altered.close();
    const partial = await changedRepository((packages) =>
      unlink(path.join(packages, rpmFileName(victim.nevra))),
    );
    await expect(collectRpms(request({ manifest: manifest({ url: partial.url }) }))).rejects.toMatchObject({
      code: 'PACKAGE_NOT_SERVED',
      exit: 6,
      message: expect.stringContaining(rpmFileName(victim.nevra)) as string,
    });
    await partial.close();
  });

  it('says that a repository cannot be reached', async () => {
    const closed = await serveRepository({ dir: repository });
    await closed.close();
    await expect(collectRpms(request({ manifest: manifest({ url: closed.url }) }))).rejects.toMatchObject({
      code: 'REPOSITORY_UNREACHABLE',
      exit: 6,
      message: expect.stringContaining('lab') as string,
    });
  });

  it.each([
    ['half of a package and then nothing', /^(?!.*repodata).*\.rpm$/, 'nothing'],
    ['half of a package and then a byte now and then', /^(?!.*repodata).*\.rpm$/, 'drips'],
    ['no metadata', /repomd\.xml$/, 'silent'],
  ])('gives up a repository that sends %s, and names it', async (_, stalls, how) => {
    // Between yum and the lab's server: what is asked for by a path that `stalls` names comes so.
    const address = new URL(served.url).hostname;
    const relay = createHttpServer((asked, answer) => {
      void fetch(new URL((asked.url ?? '/').slice(1), served.url)).then(async (got) => {
        const bytes = Buffer.from(await got.arrayBuffer());
        answer.writeHead(got.status, { 'content-length': bytes.length });
        if (!stalls.test(asked.url ?? '')) answer.end(bytes);
        else if (how !== 'silent') {
          answer.write(bytes.subarray(0, bytes.length / 2));
          const timer = setInterval(() => how === 'drips' && answer.write('x'), 200);
          answer.on('close', () => {
            clearInterval(timer);
          });
        }
      });
    });
    await new Promise<void>((resolve) => relay.listen(0, address, resolve));
    const url = `http://${address}:${String((relay.address() as AddressInfo).port)}/`;
    try {
      const given = { manifest: manifest({ url }), cacheDir: path.join(folder, `stalls-${how}`) };
      const startedMs = performance.now();
      await expect(
        collectRpms(
          request({
            ...given,
            store: await openStore({ directory: given.cacheDir }),
            env: { ...env, AIRBUNDLE_TIMEOUT: '4' },
          }),
        ),
      ).rejects.toMatchObject({
        code: 'STALLED',
        exit: 6,
        message: expect.stringContaining(url) as string,
        hint: expect.stringContaining('AIRBUNDLE_TIMEOUT') as string,
      });
      expect(performance.now() - startedMs).toBeLessThan(120_000);
      expect(await readdir(path.join(given.cacheDir, 'sha256'))).toEqual([]);
    } finally {
      relay.close();
      relay.closeAllConnections();
    }
  });

  it('refuses a key file with another key than the pinned one, before anything is downloaded', async () => {
    const other = fingerprint;
    fingerprint = 'A'.repeat(40);
    const asked = await requestsDuring(() =>
      expect(collectRpms(request())).rejects.toMatchObject({ code: 'KEY_MISMATCH', exit: 4 }),
    ).finally(() => {
      fingerprint = other;
    });
    expect(asked).toEqual([]);
  });

  it('refuses packages that the pinned key has not signed', async (context) => {
    if (!existsSync(CENTOS_KEY)) context.skip('the real CentOS key is not here');
    const other = fingerprint;
    fingerprint = '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5';
    const refused = manifest({ keys: `file: "${CENTOS_KEY}"` });
    fingerprint = other;
    // dnf refuses them itself, which yum 3.4.3 does not; from the store they come past neither.
    await expect(collectRpms(request({ manifest: refused }))).rejects.toMatchObject({
      code: 'YUM_KEY_REFUSED',
      exit: 4,
    });
    await expect(collectRpms(request({ manifest: refused, lock: lockOf() }))).rejects.toMatchObject({
      code: 'RPM_OTHER_KEY',
      exit: 4,
      message: `${String(collected.rpms.length)} of ${String(collected.rpms.length)} RPMs are refused`,
    });
  });

  it("builds the manifest's image once, and reads a pinned key out of it", async () => {
    const context = path.join(folder, 'image');
    await mkdir(context);
    await cp(keyFile, path.join(context, 'key'));
    await writeFile(path.join(context, 'Dockerfile'), `FROM ${image}\nCOPY key /etc/pki/key\n`);
    const { sha256 } = await readContext(context);
    try {
      const built = await collectRpms(
        request({ manifest: manifest({ collector: 'dockerfile: image', keys: 'image: /etc/pki/key' }) }),
      );
      expect(built).toMatchObject({ rpms: collected.rpms, collector: { image, contextSha256: sha256 } });
      await writeFile(path.join(context, 'Dockerfile'), 'FROM scratch\nRUN nothing\n');
      await expect(
        collectRpms(request({ manifest: manifest({ collector: 'dockerfile: image' }) })),
      ).rejects.toMatchObject({ code: 'IMAGE_BUILD_FAILED', exit: 6 });
    } finally {
      await (engine as Engine).command(['image', 'rm', `airbundle-collector:${sha256.slice(0, 16)}`]);
    }
  });

  it('says that a named image cannot be had', async () => {
    await expect(collectRpms(request({ image: 'localhost:1/no/such:image' }))).rejects.toMatchObject({
      code: 'IMAGE_MISSING',
      exit: 5,
    });
  });

  it('removes the containers of runs that were killed on this machine, and of no others', async () => {
    const docker = (...args: string[]): Promise<string> =>
      (engine as Engine).command(args).then(({ stdout }) => stdout.trim());
    const [machine, boot] = owner.split('-');
    const make = (who: string): Promise<string> =>
      docker('create', '--label', LABEL, '--label', `airbundle.owner=${who}`, image, 'true');
    const dead = await make(`${machine ?? ''}-${boot ?? ''}-999999999-1`);
    const alive = await make(owner);
    const elsewhere = await make('00000000-00000000-1-1');
    try {
      await collectRpms(request({ lock: lockOf() }));
      const left = (await docker('ps', '-a', '-q', '--no-trunc', '--filter', `label=${LABEL}`)).split('\n');
      expect(left.sort()).toEqual([alive, elsewhere].sort());
    } finally {
      await docker('rm', '-f', '-v', dead, alive, elsewhere);
    }
  });

  it('works with an engine on another machine: nothing but its API is used', async () => {
    const relay = createTcpServer((socket) => {
      const up = connect('/var/run/docker.sock');
      socket.pipe(up).on('error', () => socket.destroy());
      up.pipe(socket).on('error', () => up.destroy());
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    const { port } = relay.address() as AddressInfo;
    try {
      const away = { ...env, DOCKER_HOST: `tcp://127.0.0.1:${String(port)}`, DOCKER_CONTEXT: '' };
      expect(await collectRpms(request({ env: away }))).toEqual(collected);
    } finally {
      relay.close();
    }
  });

  it('stops when it is told to, at any time, and leaves no container behind', async () => {
    for (const afterMs of [1, 150, 400, 1000, 2500]) {
      const signal = AbortSignal.timeout(afterMs);
      await expect(
        collectRpms(request({ signal, manifest: manifest({ packages: ['gcc', 'openssl-devel'] }) })),
      ).rejects.toMatchObject({ code: 'INTERRUPTED', exit: 6 });
      const left = await (engine as Engine).command([
        'ps',
        '-a',
        '--filter',
        `label=${LABEL}`,
        '--format',
        '{{.Names}}',
      ]);
      expect(left.stdout).toBe('');
    }
  });
});
