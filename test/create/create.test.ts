import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createBundle, lockManifest } from '../../src/create/create.js';
import type { CreateRequest, CreateResult } from '../../src/create/create.js';
import { keygen } from '../../src/create/keys.js';
import { openStore } from '../../src/create/store.js';
import { refusedError } from '../../src/errors.js';
import { parseChecksums } from '../../src/model/checksums.js';
import { parseContents } from '../../src/model/contents.js';
import { formatLock, parseLock } from '../../src/model/lock.js';
import { twoRpms } from './create-child.js';
import { manifestText } from './create-manifest.js';
import {
  chunks,
  failureOf,
  makeRepository,
  packagerEnv,
  recordingReporter,
  sha256Of,
  temporaryFolder,
} from './create-support.js';

const STEM = 'thing-ha-1.2.0-el7.x86_64';
const CHILD = fileURLToPath(new URL('create-child.ts', import.meta.url));
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface Setting {
  readonly folder: string;
  readonly out: string;
  readonly request: CreateRequest & { readonly keyPath: string };
  readonly publicKeyPath: string;
  /** The same request for create-child.ts. */
  readonly child: (changes?: Partial<CreateRequest>) => string;
}

async function setting(): Promise<Setting> {
  const folder = temporaryFolder();
  const upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({ 'src/a.c': 'int a;\n', configure: '#!/bin/sh\n' });
  upstream.git('tag', 'v1.0');
  const { keyPath, publicKeyPath } = await keygen({ prefix: path.join(folder, 'keys', 'packager') });
  const files = {
    manifestPath: path.join(folder, 'thing.yaml'),
    out: path.join(folder, 'dist'),
    keyPath,
    cacheDir: path.join(folder, 'cache'),
    installerPath: path.join(folder, 'installer.cjs'),
    deployPath: path.join(folder, 'deploy.cjs'),
    installShPath: path.join(folder, 'install.sh'),
  };
  writeFileSync(files.manifestPath, manifestText());
  writeFileSync(files.installerPath, 'console.log("installer");\n');
  writeFileSync(files.deployPath, 'console.log("deploy");\n');
  writeFileSync(files.installShPath, '#!/bin/sh\n');
  await (await openStore({ directory: files.cacheDir })).put(chunks('node'), sha256Of('node'));
  return {
    folder,
    out: files.out,
    publicKeyPath,
    request: { ...files, env: packagerEnv(), reporter: recordingReporter() },
    child: (changes = {}) => JSON.stringify({ ...files, ...changes }),
  };
}

const create = (request: CreateRequest): Promise<CreateResult> => createBundle(request, twoRpms);

describe('bundle create', () => {
  it('writes a folder that openssl and sha256sum accept, and GNU tar reads', async () => {
    const { request, out, publicKeyPath } = await setting();
    const result = await create(request);
    expect(result).toMatchObject({
      stem: STEM,
      folder: path.join(out, STEM),
      state: 'written',
      rpms: 2,
      sources: 1,
      lockWritten: true,
    });
    const signature = `${STEM}.sha256.${result.keyId}.sig`;
    expect(readdirSync(result.folder).sort()).toEqual([
      'install.sh',
      `${STEM}.sha256`,
      signature,
      `${STEM}.tar`,
    ]);
    const verified = execFileSync(
      'sh',
      [
        '-c',
        'openssl dgst -sha256 -verify "$1" -signature "$2" "$3" && sha256sum --strict -c "$3"',
        'sh',
        publicKeyPath,
        signature,
        `${STEM}.sha256`,
      ],
      { cwd: result.folder, encoding: 'utf8' },
    );
    expect(verified).toBe(`Verified OK\n${STEM}.tar: OK\ninstall.sh: OK\n`);
    const commit = execFileSync('git', ['rev-parse', 'v1.0'], {
      cwd: path.join(path.dirname(request.manifestPath), 'upstream'),
      encoding: 'utf8',
    });
    expect(
      execFileSync('tar', ['-tf', path.join(result.folder, `${STEM}.tar`)], { encoding: 'utf8' })
        .trim()
        .split('\n'),
    ).toEqual([
      'bundle.json',
      'installer.cjs',
      'deploy.cjs',
      'runtime/node',
      'rpms/openssl-devel-1.0-1.el7.x86_64.rpm',
      'rpms/zlib-devel-1.0-1.el7.x86_64.rpm',
      `sources/thing-${commit.slice(0, 12)}.tar`,
    ]);
    expect(readdirSync(out)).toEqual([STEM]);
  });

  it('describes itself: checksums, bundle.json and lock read back in their strict forms', async () => {
    const { request } = await setting();
    const result = await create(request);
    const checksums = parseChecksums(readFileSync(path.join(result.folder, `${STEM}.sha256`), 'utf8'), 'x');
    expect(checksums).toMatchObject({
      name: 'thing-ha',
      version: '1.2.0',
      sequence: 3,
      target: 'el7.x86_64',
    });
    expect(checksums.files[0]?.sha256).toBe(result.payloadSha256);
    const json = execFileSync('tar', ['-xOf', path.join(result.folder, `${STEM}.tar`), 'bundle.json'], {
      encoding: 'utf8',
    });
    const contents = parseContents(json, 'bundle.json');
    expect(contents.members.map((member) => [member.path, member.mode])).toContainEqual([
      'runtime/node',
      0o755,
    ]);
    expect(contents.members).toHaveLength(6);
    expect(json).not.toContain('mirror.example');
    expect(json).not.toContain(path.dirname(request.manifestPath));
    const lock = parseLock(readFileSync(result.lockPath, 'utf8'), 'lock');
    expect(lock.rpms.map((rpm) => rpm.nevra.name)).toEqual(['openssl-devel', 'zlib-devel']);
  });

  it(
    'gives the same bytes under another umask, time zone, locale, folder, git configuration and date',
    { timeout: 60_000 },
    async () => {
      const { request, folder, child, out } = await setting();
      const first = await create(request);
      const home = path.join(folder, 'home');
      mkdirSync(home);
      writeFileSync(
        path.join(home, '.gitconfig'),
        '[core]\n\tautocrlf = true\n\tabbrev = 4\n[tar]\n\tumask = 0077\n',
      );
      const run = (
        umask: string,
        env: Record<string, string>,
        changes: Partial<CreateRequest>,
      ): CreateResult => {
        const ended = spawnSync(
          'sh',
          [
            '-c',
            `umask ${umask}; cd "$1"; exec "$2" --import "$3" "$4" "$5"`,
            'sh',
            home,
            process.execPath,
            path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs'),
            CHILD,
            child(changes),
          ],
          { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', ...env } },
        );
        expect(ended.stderr).toBe('');
        return JSON.parse(ended.stdout) as CreateResult;
      };
      const cold = path.join(folder, 'cold');
      await (await openStore({ directory: cold })).put(chunks('node'));
      const odd = {
        HOME: home,
        TZ: 'Asia/Seoul',
        LC_ALL: 'ko_KR.UTF-8',
        LANG: 'tr_TR',
        SOURCE_DATE_EPOCH: '1',
      };
      const second = run('077', odd, { out: path.join(folder, 'second'), cacheDir: cold });
      rmSync(first.lockPath);
      const third = run('000', { HOME: '/', TZ: 'America/Lima' }, { out: path.join(folder, 'third') });
      for (const [other, umask] of [
        [second, 0o077],
        [third, 0],
      ] as const) {
        expect(other.payloadSha256).toBe(first.payloadSha256);
        for (const name of [`${STEM}.tar`, `${STEM}.sha256`, 'install.sh']) {
          expect(sha256Of(readFileSync(path.join(other.folder, name)))).toBe(
            sha256Of(readFileSync(path.join(out, STEM, name))),
          );
          expect(statSync(path.join(other.folder, name)).mode & 0o777).toBe(0o644 & ~umask);
        }
        expect(statSync(other.folder).mode & 0o777).toBe(0o755 & ~umask);
      }
    },
  );

  it('fetches a source and a runtime again that were damaged in the cache', async () => {
    const { request } = await setting();
    const runtime = createServer((_, response) => response.end('node'));
    await new Promise<void>((resolve) => runtime.listen(0, '127.0.0.1', resolve));
    try {
      const runtimeUrl = `http://127.0.0.1:${String((runtime.address() as AddressInfo).port)}/node`;
      writeFileSync(request.manifestPath, manifestText({ runtimeUrl }));
      const first = await create(request);
      const store = await openStore({ directory: request.cacheDir });
      const lock = parseLock(readFileSync(first.lockPath, 'utf8'), 'lock');
      for (const { sha256 } of [...lock.sources, lock.runtime]) {
        chmodSync(store.path(sha256), 0o644);
        writeFileSync(store.path(sha256), 'damaged');
      }
      expect((await create(request)).payloadSha256).toBe(first.payloadSha256);
      for (const { sha256 } of [...lock.sources, lock.runtime])
        expect(sha256Of(readFileSync(store.path(sha256)))).toBe(sha256);
    } finally {
      runtime.close();
    }
  });

  it('leaves a folder with the same bytes as it is, and adds the signature of another key', async () => {
    const { request, out, folder } = await setting();
    const first = await create(request);
    const before = readFileSync(path.join(first.folder, `${STEM}.sha256.${first.keyId}.sig`));
    expect((await create(request)).state).toBe('same');
    expect(readFileSync(path.join(first.folder, `${STEM}.sha256.${first.keyId}.sig`)).equals(before)).toBe(
      true,
    );
    const other = await keygen({ prefix: path.join(folder, 'keys', 'second') });
    expect((await create({ ...request, keyPath: other.keyPath })).state).toBe('signed');
    expect(readdirSync(first.folder)).toHaveLength(5);
    expect(readdirSync(out)).toEqual([STEM]);
  });

  it('writes a folder that nobody has signed yet, which a key signs later without another byte', async () => {
    const { request } = await setting();
    const unsigned = await create({ ...request, keyPath: undefined });
    expect([unsigned.state, unsigned.keyId]).toEqual(['written', undefined]);
    const files = ['install.sh', `${STEM}.sha256`, `${STEM}.tar`];
    expect(readdirSync(unsigned.folder).sort()).toEqual(files);
    const bytes = files.map((file) => sha256Of(readFileSync(path.join(unsigned.folder, file))));
    expect((await create({ ...request, keyPath: undefined })).state).toBe('same');
    const signed = await create(request);
    expect(signed.state).toBe('signed');
    expect(readdirSync(unsigned.folder).sort()).toEqual(
      [...files, `${STEM}.sha256.${signed.keyId ?? ''}.sig`].sort(),
    );
    expect(files.map((file) => sha256Of(readFileSync(path.join(unsigned.folder, file))))).toEqual(bytes);
    // Whoever signs nothing leaves others' signatures where they are.
    await create({ ...request, keyPath: undefined });
    expect(readdirSync(unsigned.folder)).toHaveLength(4);
  });

  it('refuses a folder with other bytes, and replaces it only by force', async () => {
    const { request, out } = await setting();
    const first = await create(request);
    writeFileSync(request.installerPath, 'console.log("another");\n');
    const failure = await failureOf(create(request));
    expect([failure.exit, failure.code]).toEqual([5, 'FOLDER_DIFFERS']);
    expect(sha256Of(readFileSync(path.join(first.folder, `${STEM}.tar`)))).toBe(first.payloadSha256);
    expect(readdirSync(out)).toEqual([STEM]);
    const forced = await create({ ...request, force: true });
    expect(forced.state).toBe('replaced');
    expect(sha256Of(readFileSync(path.join(first.folder, `${STEM}.tar`)))).toBe(forced.payloadSha256);
    expect(readdirSync(out)).toEqual([STEM]);
  });

  it('notices that the payload in the folder is damaged although its checksums are the same', async () => {
    const { request } = await setting();
    const first = await create(request);
    writeFileSync(path.join(first.folder, 'install.sh'), 'rm -rf /\n');
    expect((await failureOf(create(request))).message).toContain('its install.sh is damaged');
  });

  it('says so when a file cannot grow, and leaves nothing', { timeout: 60_000 }, async () => {
    const { child, out, folder } = await setting();
    const cold = path.join(folder, 'other-cache');
    await (await openStore({ directory: cold })).put(chunks('node'));
    // The two RPMs have 2 MB each and fit the limit of 2.5 MB; the payload does not.
    const ended = spawnSync(
      'sh',
      [
        '-c',
        'trap "" XFSZ; ulimit -f 5000; exec "$@"',
        'sh',
        process.execPath,
        '--import',
        path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs'),
        CHILD,
        child({ cacheDir: cold }),
      ],
      { encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', TSX_DISABLE_CACHE: '1' } },
    );
    expect(JSON.parse(ended.stdout)).toMatchObject({
      code: 'CANNOT_WRITE',
      exit: 6,
      message: expect.stringContaining('may not be that large') as string,
    });
    expect(readdirSync(out)).toEqual([]);
  });

  it('says so when a disk is full, of the cache or of the output, and leaves nothing', async ({ skip }) => {
    if (process.getuid?.() !== 0) skip('only root may mount a small disk');
    const { request, folder } = await setting();
    const disk = path.join(folder, 'disk');
    mkdirSync(disk);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk], { stdio: 'pipe' });
    } catch {
      skip('this machine lets nobody mount a small disk');
    }
    try {
      await (await openStore({ directory: disk })).put(chunks('node'));
      const collecting = await failureOf(create({ ...request, cacheDir: disk }));
      expect([collecting.exit, collecting.code]).toEqual([6, 'CANNOT_WRITE']);
      expect(collecting.message).toContain('the disk is full');
      expect(readdirSync(path.join(disk, 'tmp'))).toEqual([]);
      const packing = await failureOf(create({ ...request, out: path.join(disk, 'dist') }));
      expect([packing.exit, packing.code]).toEqual([5, 'NO_ROOM']);
      expect(readdirSync(path.join(disk, 'dist'))).toEqual([]);
    } finally {
      execFileSync('umount', [disk]);
    }
    const odd = await failureOf(create({ ...request, out: path.join(request.keyPath, 'dist') }));
    expect([odd.exit, odd.code]).toEqual([6, 'CANNOT_WRITE']);
  });

  it('shows no folder, or a whole one, when it is killed', { timeout: 120_000 }, async () => {
    const { child, out, folder, request } = await setting();
    const whole = await create(request);
    rmSync(out, { recursive: true });
    for (const delayMs of [0, 30, 60, 120]) {
      const started = spawn(
        process.execPath,
        ['--import', path.join(ROOT, 'node_modules/tsx/dist/esm/index.mjs'), CHILD, child()],
        { env: { PATH: process.env['PATH'] ?? '' }, stdio: 'ignore' },
      );
      const ended = new Promise((resolve) => {
        started.on('close', resolve);
      });
      while (!existsSync(out) && started.exitCode === null)
        await new Promise((resolve) => setTimeout(resolve, 2));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      started.kill('SIGKILL');
      await ended;
      if (existsSync(path.join(out, STEM)))
        expect(sha256Of(readFileSync(path.join(out, STEM, `${STEM}.tar`)))).toBe(whole.payloadSha256);
      rmSync(out, { recursive: true, force: true });
    }
    expect((await create(request)).payloadSha256).toBe(whole.payloadSha256);
    expect(existsSync(folder)).toBe(true);
  });

  it('looks at key, manifest, lock and installer before it fetches anything', async () => {
    const { request } = await setting();
    const never = (): never => {
      throw new Error('it has begun to fetch');
    };
    const failing = async (changes: Partial<CreateRequest>): Promise<string> =>
      (await failureOf(createBundle({ ...request, ...changes }, never))).code;
    expect(await failing({ manifestPath: '/nonexistent' })).toBe('NO_MANIFEST');
    expect(await failing({ keyPath: '/nonexistent' })).toBe('NO_KEY');
    expect(await failing({ installerPath: '/nonexistent' })).toBe('NO_INSTALLER');
    expect(await failing({ deployPath: '/nonexistent' })).toBe('NO_INSTALLER');
    expect(await failing({ installShPath: '/nonexistent' })).toBe('NO_INSTALLER');
    writeFileSync(request.manifestPath.replace('.yaml', '.lock.json'), '{');
    expect(await failing({})).toBe('BAD_LOCK');
  });

  it('ends sources and runtime when the RPMs fail, and writes neither lock nor folder', async () => {
    const { request, out } = await setting();
    const failing = (): Promise<never> =>
      Promise.reject(refusedError({ code: 'NO_ENGINE', message: 'no engine' }));
    expect((await failureOf(createBundle(request, failing))).code).toBe('NO_ENGINE');
    expect(existsSync(request.manifestPath.replace('.yaml', '.lock.json'))).toBe(false);
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(path.join(request.cacheDir, 'tmp'))).toEqual([]);
  });

  it('keeps to a lock, and brings it to a manifest that has changed, saying how', async () => {
    const { request } = await setting();
    const first = await create(request);
    expect(await create(request)).toMatchObject({ lockWritten: false, lockChanges: [] });
    writeFileSync(request.manifestPath, manifestText({ ref: 'main' }));
    const second = await create({ ...request, force: true });
    expect(second.lockWritten).toBe(true);
    expect(second.lockChanges).toEqual([expect.stringMatching(/^source thing: v1\.0 .* → main /)]);
    const lock = parseLock(readFileSync(first.lockPath, 'utf8'), 'lock');
    expect(lock.sources.map(({ ref }) => ref)).toEqual(['main']);
    expect(lock.rpms).toHaveLength(2);
  });

  it('with --locked wants a lock that fits, and says what would change', async () => {
    const { request, out } = await setting();
    const never = (): never => {
      throw new Error('it has begun to fetch');
    };
    const locked = { ...request, locked: true };
    const missing = await failureOf(createBundle(locked, never));
    expect([missing.exit, missing.code]).toEqual([3, 'LOCK_MISSING']);
    const first = await create(request);
    const before = readFileSync(first.lockPath);
    expect((await create(locked)).payloadSha256).toBe(first.payloadSha256);
    writeFileSync(request.manifestPath, manifestText({ packages: ['zlib-devel', 'make'] }));
    const stale = await failureOf(createBundle(locked, never));
    expect([stale.exit, stale.code]).toEqual([3, 'LOCK_OUT_OF_DATE']);
    expect(stale.details).toEqual([
      'package make: only in the manifest',
      'package openssl-devel: only in the lock',
    ]);
    expect(readFileSync(first.lockPath).equals(before)).toBe(true);
    expect(readdirSync(out)).toEqual([STEM]);
  });

  it('with --locked never writes the lock: another order is no difference, another licence is one', async () => {
    const { request, out } = await setting();
    const locked = { ...request, locked: true };
    const { lockPath, payloadSha256 } = await create(request);
    const lock = parseLock(readFileSync(lockPath, 'utf8'), 'lock');
    const turned = formatLock({
      ...lock,
      requested: { ...lock.requested, packages: [...lock.requested.packages].reverse() },
      rpms: [...lock.rpms].reverse(),
    });
    writeFileSync(lockPath, turned);
    expect(await create(locked)).toMatchObject({ lockWritten: false, lockChanges: [], payloadSha256 });
    expect(readFileSync(lockPath, 'utf8')).toBe(turned);

    const [first, ...others] = lock.rpms;
    if (first === undefined) throw new Error('no RPM is locked');
    const edited = formatLock({ ...lock, rpms: [{ ...first, licence: 'Other\u001b[2J' }, ...others] });
    writeFileSync(lockPath, edited);
    const stale = await failureOf(create({ ...locked, force: true }));
    expect([stale.exit, stale.code]).toEqual([3, 'LOCK_OUT_OF_DATE']);
    expect(stale.details).toEqual([
      expect.stringMatching(
        new RegExp(
          `^RPM ${first.nevra.name}-.*: licence: locked "Other\\\\u001b\\[2J", now "${first.licence}"$`,
        ),
      ),
    ]);
    expect(readFileSync(lockPath, 'utf8')).toBe(edited);
    expect(readdirSync(out)).toEqual([STEM]);
  });

  it('notices another pin of the runtime under the same version', async () => {
    const { request } = await setting();
    await create(request);
    writeFileSync(request.manifestPath, manifestText().replace(sha256Of('node'), sha256Of('another')));
    const stale = await failureOf(create({ ...request, locked: true }));
    expect(stale.details.join()).toContain('runtime: sha256: locked');
    expect((await failureOf(create(request))).code).toBe('RUNTIME_UNREACHABLE');
  });

  it('changes only the part of the lock that a component added or removed asks for', async () => {
    const { request, folder } = await setting();
    const other = makeRepository(path.join(folder, 'other'));
    const kept = other.commit({ 'b.c': 'int b;\n' });
    other.git('branch', 'moving');
    const second = [
      '  - name: other',
      '    version: "1.0"',
      '    licence: MIT',
      '    packages: []',
      '    source: { git: ./other, ref: moving }',
      '    build: [[make]]',
      '    install: [make, install]',
      '    files: [/usr/local/sbin/other]',
      '',
    ].join('\n');
    const { lockPath } = await lockManifest(request, twoRpms);
    const one = parseLock(readFileSync(lockPath, 'utf8'), 'lock');
    writeFileSync(request.manifestPath, manifestText() + second);
    expect((await lockManifest(request, twoRpms)).lockChanges).toEqual([
      expect.stringMatching(`^source other: added moving ${kept}`),
    ]);
    // Its branch moves on: the lock does not, until it is told to.
    other.git('switch', '--quiet', 'moving');
    const moved = other.commit({ 'b.c': 'int c;\n' });
    expect((await lockManifest(request, twoRpms)).lockWritten).toBe(false);
    expect((await lockManifest({ ...request, update: ['thing'] }, twoRpms)).lockChanges).toEqual([]);
    expect((await lockManifest({ ...request, update: ['other'] }, twoRpms)).lockChanges.join()).toContain(
      moved,
    );
    expect((await failureOf(lockManifest({ ...request, update: ['none'] }, twoRpms))).code).toBe(
      'UNKNOWN_COMPONENT',
    );
    writeFileSync(request.manifestPath, manifestText());
    expect((await lockManifest(request, twoRpms)).lockChanges).toEqual(['source other: removed']);
    expect(parseLock(readFileSync(lockPath, 'utf8'), 'lock')).toEqual(one);
  });

  it('does not depend on where manifest and cache are', async () => {
    const one = await setting();
    const first = await create(one.request);
    const moved = temporaryFolder();
    cpSync(one.folder, path.join(moved, 'deeper'), { recursive: true });
    rmSync(path.join(moved, 'deeper', 'dist'), { recursive: true });
    const there = (file: string): string => file.replace(one.folder, path.join(moved, 'deeper'));
    const { manifestPath, out, keyPath, cacheDir, installerPath, deployPath, installShPath } = one.request;
    const second = await create({
      ...one.request,
      manifestPath: there(manifestPath),
      out: there(out),
      keyPath: there(keyPath),
      cacheDir: there(cacheDir),
      installerPath: there(installerPath),
      deployPath: there(deployPath),
      installShPath: there(installShPath),
    });
    expect(second.payloadSha256).toBe(first.payloadSha256);
  });
});
