import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GuideRun, Names } from '../docs/guide-runs.js';
import { PACKAGER_RUNS, scriptOf, shownLines, titleOf } from '../docs/guide-runs.js';
import { blocksOf } from '../docs/support.js';
import { collectorImage } from '../lab/images.js';
import { LAB, ROOT } from '../lab/paths.js';
import type { LabRepository } from '../lab/repository.js';
import { labRepository } from '../lab/repository.js';
import type { ServedFolder } from '../lab/serve.js';
import { serveRepository } from '../lab/serve.js';
import type { LabSource, LabSources } from '../lab/sources.js';
import { folderSource, labSources, redisSource } from '../lab/sources.js';
import { labManifest } from '../lab/walk/manifest.js';
import { CLI } from '../lab/walk/packager.js';

/*
 * What the pages tell a packager to type, typed: with the shipped manifests, whose origins are turned to the
 * lab. The image of the lab's collector comes by AIRBUNDLE_IMAGE, its cache by AIRBUNDLE_CACHE. What the pages tell
 * an operator is at the end of walk.test.ts.
 */

const MANIFEST_GUIDE = 'docs/guides/writing-a-manifest.md';
const NO_REGISTRY = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/;

describe("what the pages tell a packager, typed on this machine's engine", () => {
  let folder = '';
  let repository: LabRepository;
  let served: ServedFolder | undefined;
  let sources: LabSources;
  let redis: LabSource;
  let upstream: LabSource;
  let image = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airbundle-guides-'));
    repository = await labRepository();
    image = await collectorImage();
    served = await serveRepository(repository);
    sources = await labSources();
    redis = await redisSource(process.env['AIRBUNDLE_TEST_SOURCES']);
    await mkdir(join(folder, 'bin'));
    for (const name of ['bundle', 'airbundle']) await symlink(CLI, join(folder, 'bin', name));
    await mkdir(join(folder, 'upstream'));
    await writeFile(join(folder, 'upstream', 'README'), 'stands in for upstream\n');
    upstream = await folderSource(join(folder, 'upstream'), join(folder, 'upstream.git'), '6.2.16');
  });
  afterAll(async () => {
    await served?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A packager's working folder: a git repository with the shipped manifest in it. */
  const deskOf = async (page: string): Promise<string> => {
    const desk = join(folder, page.replaceAll('/', '-'));
    const isNew = (await mkdir(join(desk, 'manifests'), { recursive: true })) !== undefined;
    if (!isNew) return desk;
    execFileSync('git', ['init', '-q', desk]);
    const shipped = join(ROOT, 'manifests');
    await labManifest('tts-ha', shipped, repository, served?.url ?? '', sources, join(desk, 'manifests'));
    return desk;
  };

  /** The key of a desk, as openssl sees it; nothing while there is none. */
  const namesOf = (desk: string): Names => {
    const key = join(desk, 'keys/packager.pub.pem');
    let der: Buffer;
    try {
      der = execFileSync('openssl', ['pkey', '-pubin', '-in', key, '-outform', 'DER'], { stdio: 'pipe' });
    } catch {
      return { stem: 'tts-ha-1.0.0-el7.x86_64', keyId: 'KEYID', fingerprint: 'F' };
    }
    const fingerprint = createHash('sha256').update(der).digest('hex');
    return { stem: 'tts-ha-1.0.0-el7.x86_64', keyId: fingerprint.slice(0, 16), fingerprint };
  };

  /** A clone of this project, as far as its files go. */
  const clone = async (desk: string): Promise<void> => {
    await mkdir(join(desk, 'clone'));
    const files = execFileSync('git', ['-C', ROOT, 'ls-files', '-z'], { encoding: 'utf8' });
    for (const file of files.split('\0').filter(Boolean))
      await cp(join(ROOT, file), join(desk, 'clone', file));
  };

  /** The manifest of the guide: what `bundle init` wrote, with the guide's own blocks in it. */
  const followGuide = async (desk: string): Promise<void> => {
    const work = join(desk, 'redis-bundle');
    const blocks = blocksOf(MANIFEST_GUIDE);
    const [build = '', configuration = '', site = ''] = blocks
      .filter(({ language }) => language === 'yaml')
      .map(({ text }) => text);
    const started = await readFile(join(work, 'manifest.yaml'), 'utf8');
    const head = started.replace(/^name: .*$/m, 'name: redis').replace(/^components:[^]*/m, '');
    await writeFile(join(work, 'manifest.yaml'), `${head}${build}\n${configuration}\n`);
    await writeFile(join(work, 'site.yaml'), `${site}\n`);
    const template = blocks.find(({ text }) => text.startsWith('# {{notice}}'))?.text ?? '';
    await writeFile(join(work, 'templates/redis.conf'), `${template}\n`);
    await cp(join(ROOT, 'manifests/redis/redis.service'), join(work, 'templates/redis.service'));
  };

  const turnToLab = async (desk: string): Promise<void> => {
    const work = join(desk, 'redis-bundle');
    const turned = join(desk, 'turned');
    await mkdir(turned);
    const manifest = await labManifest('manifest', work, repository, served?.url ?? '', { redis }, turned);
    await cp(manifest, join(work, 'manifest.yaml'));
  };

  /** What a page's words between its blocks tell to do. */
  const SCENES: Readonly<Record<string, (desk: string) => Promise<void>>> = {
    'README.md: npm ci && npm install -g .': clone,
    'docs/guides/packager.md: npm ci && npm install -g .': clone,
    [`${MANIFEST_GUIDE}: bundle keygen --out keys/packager`]: followGuide,
    [`${MANIFEST_GUIDE}: bundle create manifest.yaml --key keys/packager.key.pem`]: turnToLab,
  };

  const shell = (script: string, desk: string, env: Record<string, string>) =>
    execa('sh', ['-c', script], {
      cwd: desk,
      reject: false,
      stdin: 'ignore',
      env: {
        PATH: `${join(desk, 'prefix/bin')}:${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`,
        AIRBUNDLE_IMAGE: image,
        AIRBUNDLE_CACHE: join(LAB, 'cache', 'product'),
        LAB_IMAGE: image,
        CLONE: sources.haproxy.url,
        COMMIT: sources.haproxy.commit,
        UPSTREAM: upstream.url,
        npm_config_prefix: join(desk, 'prefix'),
        npm_config_prefer_offline: 'true',
        npm_config_update_notifier: 'false',
        GIT_AUTHOR_NAME: 'packager',
        GIT_AUTHOR_EMAIL: 'packager@example.com',
        GIT_COMMITTER_NAME: 'packager',
        GIT_COMMITTER_EMAIL: 'packager@example.com',
        ...env,
      },
    });

  const runs = PACKAGER_RUNS.map((run): [string, GuideRun] => [titleOf(run), run]);
  it.for(runs)('%s', async ([title, run], { skip }) => {
    const desk = await deskOf(run.page);
    await SCENES[title]?.(desk);
    const names = namesOf(desk);
    const done = await shell(scriptOf(run, join(desk, run.cwd ?? '.'), names), desk, {});
    if (run.first.startsWith('npm ') && NO_REGISTRY.test(done.stdout))
      skip('npm reaches no registry and has not everything in its cache');
    expect(done.exitCode, done.stdout).toBe(run.exit ?? 0);
    expect(done.stdout).toMatch(run.shows);
    for (const line of shownLines(run)) expect(done.stdout).toContain(line);
    const env = { OUT: done.stdout, F: namesOf(desk).fingerprint };
    const after = await shell(`set -eu; cd '${join(desk, run.cwd ?? '.')}'; ${run.after ?? ':'}`, desk, env);
    expect(after.exitCode, `${run.after ?? ''}\n${after.stdout}${after.stderr}`).toBe(0);
  });
});
