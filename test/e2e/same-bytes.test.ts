import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { chmod, cp, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeRepository, sha256Of } from '../create/create-support.js';
import { attempt, run } from '../lab/docker.js';
import { collectorImage } from '../lab/images.js';
import { ROOT } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import type { ServedFolder } from '../lab/serve.js';
import { serveRepository } from '../lab/serve.js';
import { skipUnless } from '../support/skip.js';
import type { Ended, OtherUser, Surroundings } from './other-packager.js';
import {
  copyProject,
  ended,
  forgetImage,
  handOver,
  MANIFEST,
  otherUser,
  output,
  reverseRepository,
  writeRelease,
} from './other-packager.js';

/*
 * Two packagers. The first is root with an ordinary environment. The second has another account, checkout,
 * umask, locale, time zone, date, disk and cache, and a git that changes what it can; the RPM repository then
 * names its packages in the opposite order.
 */

const isRoot = process.getuid?.() === 0;
const engine = (await attempt(['docker', 'version']).catch(() => undefined))?.exitCode === 0;
const ready = isRoot && engine;
const STEM = 'web-1-el7.x86_64';

/** What may be another for the second packager, and must not be another in the bundle. */
const ODD = {
  TZ: 'Asia/Seoul',
  LC_ALL: 'tr_TR.UTF-8',
  LANG: 'ko_KR.UTF-8',
  SOURCE_DATE_EPOCH: '1',
  POSIXLY_CORRECT: '1',
  TAR_OPTIONS: '--mode=0777',
};

const GITCONFIG = (home: string): string => `[core]
	autocrlf = true
	eol = crlf
	abbrev = 5
	attributesFile = ${home}/attributes
	hooksPath = ${home}/hooks
[init]
	templateDir = ${home}/template
	defaultBranch = other
[tar]
	umask = 0077
[tar "tar"]
	command = false
[log]
	date = relative
	showSignature = true
[color]
	ui = always
[protocol "file"]
	allow = never
[fetch]
	prune = true
	pruneTags = true
	fsckObjects = true
[export]
	subst = false
`;

interface Created {
  readonly folder: string;
  readonly lockPath: string;
  readonly payloadSha256: string;
}

describe('the same bytes', () => {
  skipUnless(isRoot, 'only root can make another user');
  skipUnless(engine, 'docker does not answer');

  let folder = '';
  let user: OtherUser;
  let served: ServedFolder;
  let first: Created;
  const firstCheckout = (): string => path.join(folder, 'first');
  const checkout = (): string => path.join(user.home, 'checkout');
  /** The other packager's, on a disk of its own, whose folders list their files in another order. */
  const disk = (): string => path.join(user.home, 'disk');
  const release = (): string => path.join(disk(), 'a release');

  beforeAll(async () => {
    if (!ready) return;
    folder = await mkdtemp(path.join(tmpdir(), 'same-bytes-'));
    await chmod(folder, 0o755);
    user = await otherUser();
    const lab = await labRepository();
    const repository = path.join(folder, 'repository');
    await cp(lab.dir, repository, { recursive: true });
    served = await serveRepository({ dir: repository });
    const image = await collectorImage();
    writeRelease(path.join(folder, 'release'), { keyFile: lab.keyFile, image, url: served.url });
    mkdirSync(disk());
    await run(['mount', '-t', 'tmpfs', '-o', `size=256m,mode=700,uid=${String(user.uid)}`, 'tmpfs', disk()]);
    await handOver(path.join(folder, 'release'), release(), user, '077');

    await copyProject(firstCheckout());
    await bundleProject(firstCheckout(), path.join(folder, 'project.bundle'));
    symlinkSync(path.join(ROOT, 'node_modules'), path.join(firstCheckout(), 'node_modules'));
    output(await asRoot([process.execPath, path.join(firstCheckout(), 'scripts/build.mjs')]));
    first = created(await createFirst());
    await forgetImage(path.join(first.folder, `${STEM}.tar`));
    reverseRepository(repository);
    makeHostile(user);
  });
  afterAll(async () => {
    if (!ready) return;
    await served.close();
    await run(['umount', disk()]);
    await user.remove();
    try {
      await forgetImage(path.join(first.folder, `${STEM}.tar`));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  const createFirst = async (): Promise<Ended> => {
    const cli = [process.execPath, path.join(firstCheckout(), 'build/cli.js')];
    const key = path.join(folder, 'keys/first');
    output(await asRoot([...cli, 'keygen', '--out', key]));
    return asRoot([
      ...[...cli, 'create', path.join(folder, 'release', MANIFEST), '--key', `${key}.key.pem`],
      ...['--out', path.join(folder, 'dist'), '--cache', path.join(folder, 'cache'), '-o', 'json'],
    ]);
  };
  /** What is the first packager's is not there for the other one. */
  const asOther = (argv: readonly string[], around: Surroundings = {}): Promise<Ended> =>
    user.run(argv, {
      umask: '077',
      cwd: user.home,
      hidden: ['/root', ROOT, firstCheckout()],
      ...around,
      env: { ...ODD, ...around.env },
    });
  const node = (words: readonly string[], around: Surroundings = {}): Promise<Ended> =>
    asOther([process.execPath, ...words], {
      seen: { [path.join(checkout(), 'node_modules')]: path.join(ROOT, 'node_modules') },
      ...around,
    });
  const bundle = (words: readonly string[], around: Surroundings = {}): Promise<Ended> =>
    node([path.join(checkout(), 'build/cli.js'), ...words], around);
  const createWords = (manifest: string, out: string, cache: string): string[] => [
    ...['create', manifest, '--key', path.join(user.home, 'other.key.pem'), '-o', 'json'],
    ...['--out', out, '--cache', cache],
  ];
  const expectSame = (other: string): void => {
    for (const name of [`${STEM}.tar`, `${STEM}.sha256`, 'install.sh'])
      expect(sha256Of(readFileSync(path.join(other, name))), name).toBe(
        sha256Of(readFileSync(path.join(first.folder, name))),
      );
  };

  it("come out of the build in another's clone, whatever his git does with line ends", async () => {
    const clone = ['git', '-c', 'protocol.file.allow=always', '-c', 'core.hooksPath=/dev/null', 'clone'];
    output(
      await asOther([...clone, '--quiet', '--template=', path.join(folder, 'project.bundle'), checkout()]),
    );
    output(await asOther(['mkdir', path.join(checkout(), 'node_modules')]));
    output(await node([path.join(checkout(), 'scripts/build.mjs')]));
    const [mine, other] = [path.join(firstCheckout(), 'build'), path.join(checkout(), 'build')];
    expect(readdirSync(other)).toEqual(readdirSync(mine));
    for (const name of readdirSync(mine))
      expect(readFileSync(path.join(other, name)).equals(readFileSync(path.join(mine, name))), name).toBe(
        true,
      );
  });

  it(
    'come out of create for another account, place, umask, time, locale and git',
    { timeout: 60_000 },
    async () => {
      const listed = async (place: string): Promise<string> =>
        run(['ls', '-U', path.join(place, 'collector')]);
      expect(await listed(release()), 'both disks list files in one order: that proves nothing').not.toBe(
        await listed(path.join(folder, 'release')),
      );
      output(await asOther(['git', '-C', path.join(release(), 'upstream'), 'repack', '-adq']));
      output(await bundle(['keygen', '--out', 'other']));
      const cwd = path.join(release(), 'upstream/src');
      const words = createWords(path.join('../..', MANIFEST), '../../dist', '../../cache');
      const git = { GIT_DIR: '/nowhere', GIT_INDEX_FILE: '/nowhere', GIT_CEILING_DIRECTORIES: '/' };
      const other = created(await bundle(words, { cwd, env: git }));
      const mirrors = path.join(release(), 'cache/git');
      expect(existsSync(mirrors), 'a hook kept git from fetching one commit alone').toBe(false);
      expect(other.payloadSha256).toBe(first.payloadSha256);
      const made = path.join(release(), 'dist', STEM);
      expectSame(made);
      const lock = path.join(release(), MANIFEST.replace('.yaml', '.lock.json'));
      expect(readFileSync(lock, 'utf8')).toBe(readFileSync(first.lockPath, 'utf8'));
      expect(modesOf(made)).toEqual([0o700, 0o600]);
      expect(modesOf(first.folder)).toEqual([0o755, 0o644]);
      await forgetImage(path.join(first.folder, `${STEM}.tar`));
    },
  );

  describe("from root's folder, which the other may only read", () => {
    const words = (): string[] =>
      createWords(
        path.join(folder, 'release', MANIFEST),
        path.join(disk(), 'read'),
        path.join(disk(), 'cold'),
      );

    it(
      'come out once git is told that its owner is trusted, as the error says',
      { timeout: 60_000 },
      async () => {
        const refused = await bundle(words());
        expect(refused.exitCode, refused.stderr).toBe(5);
        expect(refused.stderr).toContain('error[GIT_OWNER]');
        const hint = /git (config --global --add safe\.directory \S+)$/m.exec(refused.stderr)?.[1] ?? '';
        output(await asOther(['git', ...hint.split(' ')]));
        created(await bundle(words()));
        expectSame(path.join(disk(), 'read', STEM));
      },
    );

    it.each([
      ['manifests/templates/web.conf', 'NO_TEMPLATE', 3],
      ['keys/lab.asc', 'KEY_FILE_MISSING', 3],
      ['collector/a/one.sh', 'BAD_COLLECTOR', 3],
      [MANIFEST.replace('.yaml', '.lock.json'), 'LOCK_UNREADABLE', 2],
    ] as const)('are not tried with an unreadable %s', async (name, code, exitCode) => {
      const file = path.join(folder, 'release', name);
      const { mode } = statSync(file);
      chmodSync(file, 0o600);
      const refused = await bundle(words());
      chmodSync(file, mode);
      expect([refused.stderr.includes(`error[${code}]`), refused.exitCode], refused.stderr).toEqual([
        true,
        exitCode,
      ]);
      expect(refused.stderr).toContain(file);
      expect(refused.stderr).toContain('permission denied');
    });

    it('are not tried where no lock can be written', async () => {
      const lock = path.join(folder, 'release', MANIFEST.replace('.yaml', '.lock.json'));
      await rename(lock, `${lock}.kept`);
      const refused = await bundle(words());
      await rename(`${lock}.kept`, lock);
      expect(refused.exitCode, refused.stderr).toBe(6);
      expect(refused.stderr).toContain('error[CANNOT_WRITE]');
      expect(refused.stderr).toContain(path.dirname(lock));
      expect(refused.stderr).not.toContain('find a container engine');
    });
  });
});

/** Of the folder and of its files, which all have the same. */
function modesOf(made: string): number[] {
  const modes = readdirSync(made).map((name) => statSync(path.join(made, name)).mode & 0o777);
  return [statSync(made).mode & 0o777, ...new Set(modes)];
}

function created(done: Ended): Created {
  return JSON.parse(output(done)) as Created;
}

function asRoot(argv: readonly string[]): Promise<Ended> {
  const { PATH = '', HOME = '/' } = process.env;
  return ended(['sh', '-c', 'umask 022; exec "$@"', 'sh', ...argv], { PATH, HOME });
}

/** The project as a repository with one commit, in one file: reading it asks for no owner. */
async function bundleProject(checkout: string, file: string): Promise<void> {
  const project = makeRepository(checkout);
  project.git('add', '--all');
  project.git('commit', '--quiet', '-m', 'the project');
  project.git('bundle', 'create', '--quiet', file, 'HEAD', 'main');
  await chmod(file, 0o644);
}

/** A git that abbreviates, rewrites, leaves out, refuses and runs what it can. */
function makeHostile({ home }: OtherUser): void {
  writeFileSync(path.join(home, '.gitconfig'), GITCONFIG(home));
  writeFileSync(
    path.join(home, 'attributes'),
    '* text eol=crlf\nsrc/** export-ignore\nMakefile export-subst\n',
  );
  for (const folder of ['hooks', 'template/hooks']) {
    const hook = path.join(home, folder, 'reference-transaction');
    mkdirSync(path.dirname(hook), { recursive: true });
    writeFileSync(hook, '#!/bin/sh\nexit 1\n');
    chmodSync(hook, 0o755);
  }
}
