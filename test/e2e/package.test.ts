import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attempt, run } from '../lab/docker.js';
import { baseImage, collectorImage } from '../lab/images.js';
import { ROOT } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';
import type { ServedFolder } from '../lab/serve.js';
import { serveRepository } from '../lab/serve.js';
import { skipUnless } from '../support/skip.js';
import type { Ended, OtherUser } from './other-packager.js';
import {
  copyProject,
  ended,
  forgetImage,
  handOver,
  MANIFEST,
  otherUser,
  output,
  projectFiles,
  writeRelease,
} from './other-packager.js';

/*
 * The package as another machine gets it: the tarball of `npm pack`, installed by root under a prefix of its
 * own, used by another account. Two stand-ins for the other machine: this one with the clone and root's home
 * hidden, which has docker; and a Debian 11 container without network, which has nothing but Node.
 */

const isRoot = process.getuid?.() === 0;
const engine = (await attempt(['docker', 'version']).catch(() => undefined))?.exitCode === 0;
const ready = isRoot && engine;

const BUILT = ['cli.js', 'deploy.cjs', 'install.sh', 'installer.cjs', 'THIRD-PARTY-LICENCES.txt'];
const CARRIED =
  /^(?:docs\/|manifests\/|dockerfiles\/(?!lab\/)|(?:LICENSE|CHANGELOG\.md|README\..*|package\.json)$)/;

const STEM = 'web-1-el7.x86_64';

/** root's home, and the clone, which may be in there. */
const HIDDEN = ['/root', ...(ROOT.startsWith('/root/') ? [] : [ROOT])];

/** The files beside a built one that it loads, or that these load: nothing of an earlier build is among them. */
function partsOf(build: string, entry: string): string[] {
  const found = new Set([entry]);
  for (const name of found)
    for (const [, part] of readFileSync(path.join(build, name), 'utf8').matchAll(
      /["']\.\/(cli-[\w-]+\.js)["']/g,
    ))
      if (part !== undefined) found.add(part);
  found.delete(entry);
  return [...found];
}

interface Created {
  readonly folder: string;
  readonly payloadSha256: string;
}

describe('the package that npm pack makes', () => {
  skipUnless(isRoot, 'only root can make another user and another machine');
  skipUnless(engine, 'docker does not answer');

  let folder = '';
  let tarball = '';
  let user: OtherUser;
  let served: ServedFolder;
  /** Where root installed it; nobody else may write there. */
  let prefix = '';
  let image = '';
  const release = (): string => path.join(user.home, 'release');

  beforeAll(async () => {
    if (!ready) return;
    folder = await mkdtemp(path.join(tmpdir(), 'package-e2e-'));
    await chmod(folder, 0o755);
    tarball = await pack(folder);
    prefix = await install('prefix', '022');
    user = await otherUser();
    const lab = await labRepository();
    served = await serveRepository(lab);
    image = await collectorImage();
    const made = path.join(folder, 'release');
    writeRelease(made, { keyFile: lab.keyFile, image, url: served.url });
    await handOver(made, release(), user, '022');
  });
  afterAll(async () => {
    if (!ready) return;
    await served.close();
    try {
      await forgetImage(path.join(user.home, 'dist', STEM, `${STEM}.tar`));
    } finally {
      await user.remove();
      await rm(folder, { recursive: true, force: true });
    }
  });

  /** npm as this machine has it configured, in a folder where no project is. */
  const install = async (name: string, umask: string): Promise<string> => {
    const to = path.join(folder, name);
    const words = [
      'install',
      '--global',
      '--prefix',
      to,
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      tarball,
    ];
    await run(['sh', '-c', 'umask "$1"; cd /; shift; exec npm "$@"', 'sh', umask, ...words]);
    return to;
  };
  const packageFolder = (): string => path.join(prefix, 'lib', 'node_modules', 'airbundle');
  const bundle = (words: readonly string[], from = prefix, umask = '022'): Promise<Ended> =>
    as([path.join(from, 'bin', 'bundle'), ...words], umask);
  const as = (argv: readonly string[], umask = '022'): Promise<Ended> =>
    user.run(argv, { umask, hidden: HIDDEN });

  it('holds what is needed to run, read and review it, and nothing else', async () => {
    const packed = (await run(['tar', '-tzf', tarball])).trim().split('\n');
    const wanted = [
      ...BUILT.map((name) => `build/${name}`),
      ...partsOf(path.join(packageFolder(), 'build'), 'cli.js').map((name) => `build/${name}`),
      ...(await projectFiles()).filter((file) => CARRIED.test(file)),
    ];
    expect(packed.sort()).toEqual(wanted.map((file) => `package/${file}`).sort());
    expect(wanted).toEqual(
      expect.arrayContaining([
        ...['LICENSE', 'docs/man/bundle.1', 'docs/schema/manifest.schema.json'],
        ...['dockerfiles/centos-7.5/Dockerfile', 'dockerfiles/collector/plugins/airbundle.py'],
        ...['manifests/start/manifest.yaml', 'manifests/start/templates/hello.service'],
        ...['manifests/tts-ha.yaml', 'manifests/redis/redis.service'],
      ]),
    );
  });

  it('carries no private key that lies in a folder which it carries', async () => {
    expect(await run(['tar', '-tzf', tarball])).not.toContain('.pem');
  });

  it('names no place of the machine that packed it', async () => {
    const text = await run(['tar', '-xzOf', tarball]);
    for (const place of [ROOT, folder]) expect(text.includes(place), place).toBe(false);
  });

  it('gives both names of the command and its manual page, to an account that may write nothing there', async () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      version: string;
    };
    expect(output(await bundle(['--version']))).toBe(`${version}\n`);
    const help = await as([path.join(prefix, 'bin', 'airbundle'), '--help']);
    expect(output(help)).toContain('create');
    expect(readFileSync(path.join(prefix, 'share/man/man1/bundle.1'), 'utf8')).toMatch(/^\.TH /m);
    const writable = ['find', '-L', packageFolder(), '-writable'];
    expect(output(await as(writable))).toBe('');
    for (const place of HIDDEN) expect(output(await as(['ls', '-A', place]))).toBe('');
  });

  it(
    'makes a start, a key and a bundle, and reads it back, without a clone',
    { timeout: 120_000 },
    async () => {
      const before = await stateOf(packageFolder());
      output(await bundle(['init', 'my']));
      expect(statSync(path.join(user.home, 'my', 'collector', 'Dockerfile')).uid).toBe(user.uid);
      output(await bundle(['keygen', '--out', 'keys/packager']));
      const created = JSON.parse(output(await bundle(createWords('keys/packager')))) as Created;
      const key = ['--key', 'keys/packager.pub.pem'];
      expect(output(await bundle(['verify', created.folder, ...key]))).toContain('web');
      expect(output(await bundle(['inspect', created.folder, ...key]))).toContain('zlib-devel');
      const carried = await run([
        'tar',
        '-xOf',
        path.join(user.home, created.folder, `${STEM}.tar`),
        'installer.cjs',
      ]);
      expect(carried).toBe(await run(['cat', path.join(packageFolder(), 'build', 'installer.cjs')]));
      expect(await stateOf(packageFolder())).toBe(before);
    },
  );

  it(
    'makes the same bundle when somebody installs it for himself, with umask 077',
    { timeout: 120_000 },
    async () => {
      const own = await install('own', '077');
      await run(['chown', '-R', `${user.name}:`, own]);
      expect(statSync(path.join(own, 'lib/node_modules/airbundle/build/installer.cjs')).mode & 0o077).toBe(0);
      output(await bundle(['keygen', '--out', 'own/packager'], own, '077'));
      const again = await bundle([...createWords('own/packager'), '--locked'], own, '077');
      expect(JSON.parse(output(again))).toMatchObject({ state: 'signed' });
    },
  );

  it('runs on a machine that has Node and nothing else, from a read-only disk, for an account without a name', async () => {
    const dist = path.join(user.home, 'dist', STEM);
    const done = await attempt([
      ...[
        'docker',
        'run',
        '--rm',
        '--network',
        'none',
        '--read-only',
        '--user',
        '4711:4711',
        '--tmpfs',
        '/tmp:mode=1777',
      ],
      ...['-v', `${process.execPath}:/usr/local/bin/node:ro`, '-v', `${prefix}:/opt/airbundle:ro`],
      ...['-v', `${dist}:/media/${STEM}:ro`, '-v', `${user.home}/keys/packager.pub.pem:/media/p.pem:ro`],
      ...['-w', '/tmp', await baseImage(), 'sh', '-euc', ON_DEBIAN, 'sh', STEM],
    ]);
    expect(done.stderr).not.toContain('error[');
    expect(done.exitCode, done.stderr).toBe(0);
  });

  const createWords = (key: string): string[] => [
    ...['create', path.join(release(), MANIFEST), '--key', `${key}.key.pem`, '-o', 'json'],
  ];
});

const ON_DEBIAN = `
PATH=/opt/airbundle/bin:$PATH
airbundle --version
bundle init my
bundle keygen --out k
bundle verify "/media/$1" --key /media/p.pem
bundle inspect "/media/$1" --key /media/p.pem -o json`;

/** Packs a copy of the project in which a private key lies where it should not. @returns the tarball */
async function pack(folder: string): Promise<string> {
  const copy = path.join(folder, 'copy');
  await copyProject(copy);
  await symlink(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  await mkdir(path.join(copy, 'manifests', 'keys'));
  writeFileSync(path.join(copy, 'manifests', 'keys', 'packager.key.pem'), 'private\n');
  const words = ['pack', '--silent', '--ignore-scripts=false', '--pack-destination', folder];
  output(await ended(['sh', '-c', 'cd "$1"; shift; exec npm "$@"', 'sh', copy, ...words], machine()));
  await rm(copy, { recursive: true });
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  return path.join(folder, `airbundle-${version}.tgz`);
}

function machine(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** Every file with its time, size and mode. */
function stateOf(folder: string): Promise<string> {
  return run(['find', folder, '-printf', '%p %T@ %s %m %u\\n']);
}
