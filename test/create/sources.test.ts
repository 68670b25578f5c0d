import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { listRemote } from '../../src/create/git.js';
import { collectSources } from '../../src/create/sources.js';
import type { SourcesRequest } from '../../src/create/sources.js';
import { openStore } from '../../src/create/store.js';
import type { Store } from '../../src/create/store.js';
import type { Lock, LockedSource } from '../../src/model/lock.js';
import type { Manifest } from '../../src/model/manifest.js';
import {
  failureOf,
  makeRepository,
  packagerEnv,
  recordingReporter,
  temporaryFolder,
} from './create-support.js';
import type { Recorded, Repository } from './create-support.js';

/** Everything that export-subst can fill in from a repository rather than from the commit. */
const SUBST = '$Format:%H %h %d %D %P %p %(describe) %G? %ci$\n';

interface Setting {
  readonly folder: string;
  readonly upstream: Repository;
  readonly store: Store;
  readonly reporter: Recorded;
  readonly collect: (
    source: { git?: string; ref?: string; commit?: string },
    more?: Partial<SourcesRequest>,
  ) => Promise<LockedSource>;
}

async function setting(): Promise<Setting> {
  const folder = temporaryFolder();
  const upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({ '.gitattributes': 'VERSION export-subst\n', VERSION: SUBST, 'run.sh': '#!/bin/sh\r\n' });
  upstream.git('tag', '-a', 'v0.9', '-m', 'annotated');
  upstream.commit({ 'src/a.c': 'int a;\n' });
  upstream.git('tag', '-a', 'v1.0', '-m', 'annotated');
  const cacheDir = path.join(folder, 'cache');
  const store = await openStore({ directory: cacheDir });
  const reporter = recordingReporter();
  return {
    folder,
    upstream,
    store,
    reporter,
    async collect({ git = './upstream', ref = 'v1.0', commit }, more = {}) {
      const component = { name: 'thing', source: { git, ref, ...(commit === undefined ? {} : { commit }) } };
      const manifest = { components: [component] } as unknown as Manifest;
      const [source] = await collectSources({
        manifest,
        manifestFolder: folder,
        lock: undefined,
        store,
        cacheDir,
        env: packagerEnv(),
        reporter,
        ...more,
      });
      return source as LockedSource;
    },
  };
}

const lockOf = (source: LockedSource): Lock => ({ sources: [source] }) as unknown as Lock;

describe('collecting a source', () => {
  it("exports the tag's commit below the component's name, as GNU tar reads it", async () => {
    const { collect, upstream, store } = await setting();
    const source = await collect({});
    expect(source).toMatchObject({
      component: 'thing',
      url: './upstream',
      ref: 'v1.0',
      commit: upstream.git('rev-parse', 'v1.0^{commit}'),
      tree: upstream.git('rev-parse', 'v1.0^{tree}'),
    });
    const list = execFileSync('tar', ['-tvf', store.path(source.sha256)], { encoding: 'utf8' });
    expect(list).toContain('thing/src/a.c');
    expect(list).toMatch(/-rw-r--r-- root\/root .* thing\/run\.sh/);
    const version = execFileSync('tar', ['-xOf', store.path(source.sha256), 'thing/VERSION'], {
      encoding: 'utf8',
    });
    expect(version).toContain(`${source.commit} ${source.commit} `);
  });

  it("gives the same bytes whatever the upstream's other refs, the remote's kind and the user's git configuration are", async () => {
    const { collect, upstream, folder, store } = await setting();
    const first = await collect({});

    const home = path.join(folder, 'home');
    execFileSync('mkdir', ['-p', path.join(home, '.config', 'git')]);
    writeFileSync(
      path.join(home, '.gitconfig'),
      '[core]\n\tautocrlf = true\n\teol = crlf\n\tabbrev = 5\n[tar]\n\tumask = 0077\n[log]\n\tdate = relative\n',
    );
    writeFileSync(path.join(home, '.config', 'git', 'attributes'), '* text eol=crlf\nsrc/** export-ignore\n');
    upstream.git('branch', 'another', 'v1.0');
    upstream.git('tag', 'v1.0-again', 'v1.0^{commit}');
    upstream.commit({ later: 'later\n' });
    const env = packagerEnv({
      HOME: home,
      TZ: 'Asia/Seoul',
      LC_ALL: 'C.UTF-8',
      GIT_DIR: '/nowhere',
      GIT_INDEX_FILE: '/nowhere',
    });
    const again = async (git: string, ref = 'v1.0'): Promise<string> => {
      rmSync(store.path(first.sha256), { force: true });
      return (await collect({ git, ref }, { env })).sha256;
    };
    expect(await again('./upstream')).toBe(first.sha256);
    expect(await again(`file://${upstream.folder}`)).toBe(first.sha256);
    expect(await again('./upstream', first.commit)).toBe(first.sha256);
    expect(await again('./upstream', 'another')).toBe(first.sha256);

    upstream.git('update-server-info');
    const server = createServer((request, response) => {
      const file = path.join(
        upstream.folder,
        '.git',
        decodeURIComponent(new URL(request.url ?? '', 'http://x').pathname),
      );
      if (existsSync(file) && !file.endsWith('/')) response.end(readFileSync(file));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    try {
      const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
      rmSync(store.path(first.sha256), { force: true });
      const over = await collect({ git: url }, { env, trustHttp: ['thing'] });
      expect(over.sha256).toBe(first.sha256);
      rmSync(store.path(first.sha256), { force: true });
      const pinned = await collect({ git: url, ref: first.commit, commit: first.commit }, { env });
      expect(pinned.sha256).toBe(first.sha256);
    } finally {
      server.close();
    }
  });

  it("needs no remote and no git when the lock's export is in the store", async () => {
    const { collect, upstream } = await setting();
    const source = await collect({});
    rmSync(upstream.folder, { recursive: true });
    expect(await collect({}, { lock: lockOf(source), env: { PATH: '/nonexistent' } })).toEqual(source);
  });

  it('makes a lost export again from the lock, with the same digest', async () => {
    const { collect, store } = await setting();
    const source = await collect({});
    rmSync(store.path(source.sha256), { force: true });
    expect(await collect({}, { lock: lockOf(source) })).toEqual(source);
    expect(await store.has(source.sha256)).toBe(true);
  });

  it('names both commits when a tag has moved away from the manifest or the lock', async () => {
    const { collect, upstream, store } = await setting();
    const source = await collect({});
    const moved = upstream.commit({ 'src/a.c': 'int evil;\n' });
    upstream.git('tag', '-f', 'v1.0');
    rmSync(store.path(source.sha256), { force: true });
    for (const work of [
      () => collect({ commit: source.commit }),
      () => collect({}, { lock: lockOf(source) }),
    ]) {
      const failure = await failureOf(work());
      expect(failure.exit).toBe(4);
      expect(failure.details).toEqual([`pinned ${source.commit}`, `now    ${moved}`]);
    }
  });

  it('refuses an export that differs from the lock although the commit is the same', async () => {
    const { collect, store } = await setting();
    const source = await collect({});
    rmSync(store.path(source.sha256), { force: true });
    const wrong = source.sha256.replace(/^./, (digit) =>
      digit === '0' ? '1' : '0',
    ) as LockedSource['sha256'];
    expect((await failureOf(collect({}, { lock: lockOf({ ...source, sha256: wrong }) }))).code).toBe(
      'EXPORT_DIFFERS',
    );
  });

  it('names near tags when the ref is not there', async () => {
    const { collect } = await setting();
    const failure = await failureOf(collect({ ref: 'v1.00' }));
    expect(failure.exit).toBe(3);
    expect(failure.details.join()).toContain('v1.0');
    expect((await failureOf(collect({ ref: 'abcdef12' }))).hint).toContain('40 digits');
    expect((await failureOf(collect({ ref: '0'.repeat(40) }))).code).toBe('GIT_FETCH_FAILED');
  });

  it('says what git said when the remote cannot be reached', async () => {
    const { collect } = await setting();
    const failure = await failureOf(collect({ git: './not-there' }));
    expect(failure.exit).toBe(6);
    expect(failure.details.join('\n')).toContain('not-there');
    expect((await failureOf(collect({}, { env: { PATH: '/nonexistent' } }))).code).toBe('NO_GIT');
  });

  it('warns for a branch, which will move, and for a submodule, which is not carried', async () => {
    const { collect, upstream, reporter } = await setting();
    upstream.git(
      'update-index',
      '--add',
      '--cacheinfo',
      `160000,${upstream.git('rev-parse', 'HEAD')},vendor/lib`,
    );
    upstream.git('commit', '--quiet', '-m', 'submodule');
    await collect({ ref: 'main' });
    expect(reporter.lines.join('')).toMatch(/"main" is a branch/);
    expect(reporter.lines.join('')).toMatch(/submodule vendor\/lib is not carried/);
  });

  it('warns for files that git LFS keeps elsewhere: the bundle holds only their pointers', async () => {
    const { collect, upstream, reporter } = await setting();
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`;
    upstream.commit({
      'data/model.bin': pointer,
      'data/with "quotes" \u001b.bin': pointer,
      'docs/lfs.txt': `A pointer looks so:\n${pointer}`,
      'docs/long.txt': `${pointer}${'x'.repeat(2000)}`,
      '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    });
    await collect({ ref: 'main' });
    const warned = reporter.lines.filter((line) => line.includes('git LFS'));
    expect(warned).toHaveLength(1);
    expect(warned[0]).toMatch(
      /thing: 2 files are kept by git LFS and not carried, only what points there: data\/model\.bin, data\/with "quotes" .\.bin; if/,
    );
  });

  it('refuses a malformed commit, but does not mind one in older history', async () => {
    const { collect, upstream } = await setting();
    const malformed = execFileSync('git', ['hash-object', '-t', 'commit', '-w', '--literally', '--stdin'], {
      cwd: upstream.folder,
      encoding: 'utf8',
      input: `tree ${upstream.git('rev-parse', 'v1.0^{tree}')}\nauthor A 1600000000 +0000\ncommitter C <c@example.org> 1600000000 +0000\n\nno e-mail\n`,
    }).trim();
    upstream.git('tag', 'malformed', malformed);
    const later = upstream.git('commit-tree', '-p', malformed, '-m', 'later', 'v1.0^{tree}');
    upstream.git('tag', 'later', later);
    const failure = await failureOf(collect({ ref: 'malformed' }));
    expect(failure.code).toBe('GIT_FSCK');
    expect(failure.exit).toBe(4);
    expect((await collect({ ref: 'later' })).commit).toBe(later);
  });

  it('never takes an address for an option', async () => {
    const { folder } = await setting();
    const proof = path.join(folder, 'proof');
    await failureOf(listRemote(`--upload-pack=touch ${proof}`, { env: packagerEnv() }));
    expect(existsSync(proof)).toBe(false);
  });

  it('ends the other sources when one fails, and leaves no scratch repository', async () => {
    const { folder, store, reporter, upstream } = await setting();
    const cacheDir = path.join(folder, 'cache');
    renameSync(upstream.folder, path.join(folder, 'moved'));
    const component = (name: string, git: string): unknown => ({ name, source: { git, ref: 'v1.0' } });
    const manifest = {
      components: [component('one', './moved'), component('two', './upstream')],
    } as unknown as Manifest;
    const failure = await failureOf(
      collectSources({
        manifest,
        manifestFolder: folder,
        lock: undefined,
        store,
        cacheDir,
        env: packagerEnv(),
        reporter,
      }),
    );
    expect(failure.code).toBe('GIT_UNREACHABLE');
    expect(readdirSync(path.join(cacheDir, 'tmp'))).toEqual([]);
  });
});
