import { spawn } from 'node:child_process';
import {
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { readPublicKey } from '../../src/create/openpgp.js';
import { makeRepository, sha256Of } from '../create/create-support.js';
import { run } from '../lab/docker.js';
import { ROOT } from '../lab/paths.js';

/* A packager who is somebody else: another account, another home, another checkout. */

export interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly cwd?: string;
  readonly umask?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Folders that are empty for this process, as they are not there on another machine. */
  readonly hidden?: readonly string[];
  /** Place → folder that is seen there. */
  readonly seen?: Readonly<Record<string, string>>;
}

/** An account of this machine that may use docker, and nothing else that root may. */
export interface OtherUser {
  readonly name: string;
  readonly uid: number;
  readonly home: string;
  /** With nothing of this process's environment but PATH and where docker is. */
  run(argv: readonly string[], around?: Surroundings): Promise<Ended>;
  remove(): Promise<void>;
}

/** Sees what is given, hides the rest: in a mount namespace, so that this machine notices nothing. */
const ELSEWHERE = `
set -eu
while [ "$1" = --seen ]; do mount --bind "$2" "$3"; shift 3; done
while [ "$1" = --hidden ]; do
  # One of them may be in another, and then is not there any more.
  if [ -d "$2" ]; then mount -t tmpfs -o mode=755 hidden "$2"; fi
  shift 2
done
exec "$@"`;

const AROUND = 'umask "$1"; cd "$2"; shift 2; exec "$@"';

/** useradd, with a home below the system's temporary folder. Needs root. */
export async function otherUser(): Promise<OtherUser> {
  const base = await mkdtemp(path.join(tmpdir(), 'other-packager-'));
  await chmod(base, 0o755);
  const home = path.join(base, 'home');
  const name = path.basename(base).toLowerCase();
  await run(['useradd', '--no-log-init', '--create-home', '--home-dir', home, '--shell', '/bin/sh', name]);
  const uid = (await run(['id', '-u', name])).trim();
  const gid = (await run(['id', '-g', name])).trim();
  const socket = '/var/run/docker.sock';
  const { DOCKER_HOST } = process.env;
  const groups = DOCKER_HOST === undefined ? `${gid},${String(statSync(socket).gid)}` : gid;
  const asUser = ['setpriv', '--reuid', uid, '--regid', gid, '--groups', groups, '--inh-caps=-all'];
  return {
    name,
    uid: Number(uid),
    home,
    run: (argv, { cwd = home, umask = '022', env = {}, hidden = [], seen = {} } = {}) =>
      ended(
        [
          ...['unshare', '--mount', '--propagation', 'private', 'sh', '-c', ELSEWHERE, 'sh'],
          ...Object.entries(seen).flatMap(([place, folder]) => ['--seen', folder, place]),
          ...hidden.flatMap((folder) => ['--hidden', folder]),
          ...[...asUser, '--no-new-privs', 'sh', '-c', AROUND, 'sh', umask, cwd, ...argv],
        ],
        {
          PATH: process.env['PATH'] ?? '',
          HOME: home,
          USER: name,
          ...(DOCKER_HOST === undefined ? {} : { DOCKER_HOST }),
          ...env,
        },
      ),
    async remove() {
      await run(['userdel', name]);
      await rm(base, { recursive: true, force: true });
    },
  };
}

/** A command with exactly this environment; any exit code is a result. */
export function ended(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<Ended> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject).on('close', (exitCode) => {
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** stdout of what has to succeed. */
export function output({ exitCode, stdout, stderr }: Ended): string {
  if (exitCode === 0) return stdout;
  throw new Error(`exit code ${String(exitCode)}\n${stdout}\n${stderr}`);
}

/** Paths of the project's own files, changed and new ones included, and nothing that is generated. */
export async function projectFiles(): Promise<string[]> {
  const listed = await run([
    'git',
    '-C',
    ROOT,
    'ls-files',
    '-z',
    '--cached',
    '--others',
    '--exclude-standard',
  ]);
  // A link is the lab's folder, where it is shared; a missing file was removed and that is not committed yet.
  return listed.split('\0').filter((file) => {
    const found = file === '' ? undefined : lstatSync(path.join(ROOT, file), { throwIfNoEntry: false });
    return found?.isFile() === true;
  });
}

/** The project as it is now, at another place: building there disturbs nobody. */
export async function copyProject(folder: string): Promise<void> {
  for (const file of await projectFiles()) {
    mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    copyFileSync(path.join(ROOT, file), path.join(folder, file));
  }
}

export interface ReleaseParts {
  /** The repository's public key. */
  readonly keyFile: string;
  /** The collector's base image. */
  readonly image: string;
  /** Address of the served repository; its key's file serves as the runtime, which may be any file. */
  readonly url: string;
}

/** Where the manifest is, in a folder that {@link writeRelease} made. */
export const MANIFEST = path.join('manifests', 'web.yaml');

/**
 * What a packager keeps under version control: a manifest whose key, collector, templates and source are
 * beside it, by relative paths.
 */
export function writeRelease(folder: string, { keyFile, image, url }: ReleaseParts): void {
  const key = readFileSync(keyFile);
  const files: Record<string, string | Buffer> = {
    [MANIFEST]: `airbundle: 1
name: web
version: "1"
sequence: 1
target: { os: el7, arch: x86_64 }
collector: { dockerfile: ../collector }
repositories: [{ id: lab, url: "${url}" }]
keys: [{ fingerprint: "${readPublicKey(key, keyFile).fingerprint}", file: ../keys/lab.asc }]
runtime: { url: "${url}${path.basename(keyFile)}", sha256: ${sha256Of(key)}, version: "1.0" }
components:
  - name: web
    version: "1"
    licence: MIT
    packages: [zlib-devel, make]
    source: { git: ../upstream, ref: v1.0 }
    build: [[make]]
    install: [make, install]
    files: [/usr/bin/web]
    configuration:
      files: [{ path: /etc/web.conf, template: templates/web.conf, mode: '0644' }]
      units: [{ name: web.service, template: templates/web.service }]
`,
    'manifests/templates/web.conf': '# {{notice}}\n',
    'manifests/templates/web.service': '[Service]\nExecStart=/usr/bin/web\n',
    'keys/lab.asc': key,
    'collector/Dockerfile': `FROM ${image}\nCOPY . /usr/local/share/airbundle/\n`,
    'collector/a/one.sh': 'echo one\n',
    'collector/b/two.sh': 'echo two\n',
    'collector/three': 'three\n',
  };
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  }
  const upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({
    'src/web.c': 'int main(void) { return 0; }\n',
    Makefile: 'web:\n\tcc -o web src/web.c\n',
    VERSION: '$Format:%h %d %D$\n',
    '.gitattributes': 'VERSION export-subst\n*.c text\n',
  });
  upstream.git('tag', 'v1.0');
}

/** The same files in another folder, made in the opposite order, and the user's; nobody else's with umask 077. */
export async function handOver(
  from: string,
  to: string,
  user: OtherUser,
  umask: '022' | '077',
): Promise<void> {
  mkdirSync(to, { recursive: true });
  const all = readdirSync(from, { recursive: true, encoding: 'utf8' }).sort().reverse();
  for (const name of all.filter((each) => statSync(path.join(from, each)).isDirectory()))
    mkdirSync(path.join(to, name), { recursive: true });
  for (const name of all.filter((each) => statSync(path.join(from, each)).isFile()))
    copyFileSync(path.join(from, name), path.join(to, name));
  await run(['chmod', '-R', umask === '077' ? 'u=rwX,go=' : 'u=rwX,go=rX', to]);
  await run(['chown', '-R', `${user.name}:`, to]);
}

/** Removes the collector's image that a create built: the next one has to build it again, as on another machine. */
export async function forgetImage(payload: string): Promise<void> {
  const json = await run(['tar', '-xOf', payload, 'bundle.json']);
  const { collector } = JSON.parse(json) as { collector: { contextSha256: string } };
  await run(['docker', 'rmi', `airbundle-collector:${collector.contextSha256.slice(0, 16)}`]);
}

/** Turns round the order in which a repository's metadata names its packages. */
export function reverseRepository(folder: string): void {
  const repomd = path.join(folder, 'repodata', 'repomd.xml');
  const text = readFileSync(repomd, 'utf8');
  const data = /<data type="primary">[^]*?<\/data>/.exec(text)?.[0] ?? '';
  const href = /href="([^"]+)"/.exec(data)?.[1] ?? '';
  const primary = gunzipSync(readFileSync(path.join(folder, href))).toString('utf8');
  const packages = primary.match(/<package type="rpm">[^]*?<\/package>\n?/g) ?? [];
  if (packages.length < 100) throw new Error(`${href} names ${String(packages.length)} packages`);
  const begin = primary.indexOf(packages[0] ?? '');
  const end = primary.lastIndexOf('</package>') + '</package>\n'.length;
  const open = Buffer.from(primary.slice(0, begin) + packages.reverse().join('') + primary.slice(end));
  const packed = gzipSync(open);
  const words: readonly (readonly [RegExp, string])[] = [
    [/<checksum .*<\/checksum>/, `<checksum type="sha256">${sha256Of(packed)}</checksum>`],
    [/<open-checksum .*<\/open-checksum>/, `<open-checksum type="sha256">${sha256Of(open)}</open-checksum>`],
    [/<size>.*<\/size>/, `<size>${String(packed.length)}</size>`],
    [/<open-size>.*<\/open-size>/, `<open-size>${String(open.length)}</open-size>`],
  ];
  const mended = words.reduce((before, [word, now]) => before.replace(word, now), data);
  writeFileSync(path.join(folder, href), packed);
  // The databases tell the same in a form that only older tools read.
  const others = text.replace(data, mended).replace(/ *<data type="[a-z]+_db">[^]*?<\/data>\n/g, '');
  writeFileSync(repomd, others);
}
