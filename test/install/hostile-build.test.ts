import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { localHost } from '../../src/host/local.js';
import { collect, endProcessesOf, removeBuildFolder } from '../../src/install/build.js';
import { confinement } from '../../src/install/confinement.js';
import { temporaryFolder } from '../host/rooted.js';
import { skipUnless } from '../support/skip.js';

/** Numbers without an account: the build's user, and another one on the node that works for it. */
const BUILDER = 47_951;
const OTHER = 47_952;
const SECRET = 'root alone may read this\n';
const ROUNDS = 20;

const host = localHost();
const component = {
  name: 'hello',
  files: ['/usr/sbin/hello', '/usr/share/hello/*'],
  discard: [],
  links: [],
};

describe("the build's own user, against what is taken from it", () => {
  skipUnless(process.getuid?.() === 0, 'another user is needed: run as root');

  let top: string;
  let destdir: string;
  let secret: string;
  beforeEach(() => {
    top = temporaryFolder();
    chmodSync(top, 0o711);
    destdir = path.join(top, 'destdir');
    mkdirSync(destdir, { mode: 0o700 });
    chownSync(destdir, BUILDER, BUILDER);
    secret = path.join(top, 'secret');
    writeFileSync(secret, SECRET, { mode: 0o600 });
    mkdirSync(path.join(top, 'secrets'), { mode: 0o700 });
    writeFileSync(path.join(top, 'secrets/a'), SECRET, { mode: 0o600 });
  });

  /** As the build runs: to the end of its own command, whatever it leaves behind. */
  const build = async (script: string): Promise<void> => {
    const good = 'mkdir -p usr/sbin usr/share/hello; echo hello >usr/sbin/hello; echo a >usr/share/hello/a';
    const argv = (await confinement(host, 'host'))(['sh', '-c', `${good}\n${script}`]);
    const log = path.join(top, 'log');
    const done = await host.runLogged(argv, log, { uid: BUILDER, gid: BUILDER, cwd: destdir });
    expect([done.exitCode, readFileSync(log, 'utf8')]).toEqual([0, '']);
  };
  const take = async (): Promise<ReturnType<typeof collect>> => {
    await endProcessesOf(host, BUILDER);
    return collect(host, component, destdir, BUILDER);
  };
  const problems = async (): Promise<readonly string[]> => {
    try {
      await take();
    } catch (error) {
      expect(error).toMatchObject({ code: 'BUILD_OUTPUT', exit: 6 });
      const { message, details } = error as { message: string; details: readonly string[] };
      return details.length === 0 ? [message] : details;
    }
    throw new Error('it was taken');
  };

  it('opens its folders to somebody who fills them while they are removed', async () => {
    const folder = path.join(top, 'build');
    const open = path.join(folder, 'open');
    const fill = `while :; do for n in 1 2 3 4 5 6 7 8 9; do : >${open}/$n; done; done`;
    // bash: with dash, a file that cannot be made there ends the loop.
    const racer = spawn('bash', ['-c', fill], {
      uid: OTHER,
      gid: OTHER,
      stdio: 'ignore',
    });
    try {
      for (let round = 0; round < ROUNDS; round += 1) {
        mkdirSync(folder, { mode: 0o711 });
        mkdirSync(open);
        chmodSync(open, 0o777);
        while (readdirSync(open).length < 9) await new Promise(setImmediate);
        await removeBuildFolder(host, folder);
        expect(existsSync(folder)).toBe(false);
      }
      expect(racer.exitCode).toBe(null);
    } finally {
      racer.kill('SIGKILL');
    }
  });

  it('leaves processes that exchange files, links and folders: they are gone before anything is read', async () => {
    const swap = [
      'while :; do',
      `  ln -sfn ${secret} usr/sbin/hello.x; mv -f usr/sbin/hello.x usr/sbin/hello`,
      `  mv usr/share/hello usr/share/away; ln -s ${path.join(top, 'secrets')} usr/share/hello`,
      '  rm -f usr/share/hello; mv usr/share/away usr/share/hello; echo x >usr/sbin/hello.y; mv -f usr/sbin/hello.y usr/sbin/hello',
      'done',
    ].join('\n');
    for (let round = 0; round < 5; round += 1) {
      // Twice forked, in a session of its own; and one that starts itself anew all the time.
      await build(
        `(setsid sh -c '(${swap}) &' &) >/dev/null 2>&1; setsid sh -c 'f() { (sleep 0.01; f) & }; f' >/dev/null 2>&1 &`,
      );
      const found = await take().catch(
        (error: unknown) => (error as { details?: readonly string[] }).details ?? [],
      );
      const seen = execFileSync('find', [destdir, '-printf', '%p %y %s\n'], { encoding: 'utf8' });
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect(execFileSync('find', [destdir, '-printf', '%p %y %s\n'], { encoding: 'utf8' })).toBe(seen);
      // It stopped in the middle of an exchange or not; what was taken holds no secret either way.
      for (const one of found)
        if (typeof one !== 'string') expect(readFileSync(one.from, 'utf8')).not.toBe(SECRET);
      await host.remove(destdir);
      mkdirSync(destdir);
      chownSync(destdir, BUILDER, BUILDER);
    }
  });

  it('has a helper of another user, who goes on exchanging folders for links: it never wins', async () => {
    const script = [
      "cd usr/share || exit 1; trap '' TERM; echo ready",
      'while :; do',
      `  mv hello away && ln -s ${path.join(top, 'secrets')} hello && rm hello && mv away hello`,
      'done',
    ].join('\n');
    for (let round = 0; round < ROUNDS; round += 1) {
      await build('chmod -R a+rwx .');
      const racer = spawn('sh', ['-c', script], { cwd: destdir, uid: OTHER, gid: OTHER });
      racer.stderr.resume();
      await new Promise((resolve) => racer.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, round));
      try {
        const found = await take().catch(
          (error: unknown) => (error as { details?: readonly string[] }).details ?? [],
        );
        for (const one of found) {
          if (typeof one === 'string') continue;
          const to = path.join(top, `taken-${String(round)}`);
          await host.copyDurable(one.from, to, { mode: 0o644 });
          expect(readFileSync(to, 'utf8')).not.toBe(SECRET);
        }
      } finally {
        const ended = new Promise((resolve) => racer.once('exit', resolve));
        racer.kill('SIGKILL');
        await ended;
      }
      // Nothing outside was changed through a link either.
      expect(readdirSync(path.join(top, 'secrets'))).toEqual(['a']);
      await host.remove(destdir);
      mkdirSync(destdir);
      chownSync(destdir, BUILDER, BUILDER);
    }
  });

  it('keeps a folder open for another user: after the seal nothing can be put there', async () => {
    await build('chmod -R a+rwx .');
    const racer = spawn('sh', ['-c', 'read go; ln -s /etc/shadow new; mv a gone; ls; echo done'], {
      cwd: path.join(destdir, 'usr/share/hello'),
      uid: OTHER,
      gid: OTHER,
    });
    const said: string[] = [];
    racer.stdout.on('data', (text: Buffer) => said.push(String(text)));
    racer.stderr.on('data', (text: Buffer) => said.push(String(text)));
    const ended = new Promise((resolve) => racer.once('close', resolve));
    expect((await take()).map((file) => file.path)).toEqual(['/usr/sbin/hello', '/usr/share/hello/a']);
    racer.stdin.end('go\n');
    await ended;
    expect(said.join('')).toContain('Permission denied');
    expect(readdirSync(path.join(destdir, 'usr/share/hello'))).toEqual(['a']);
  });

  it.each([
    [
      'a FIFO in the place of a file',
      'rm usr/share/hello/a; mkfifo usr/share/hello/a',
      'neither a file nor a link',
    ],
    [
      'a link in the place of a folder',
      'mv usr/share x; ln -s ../x usr/share',
      '/usr/share is a symbolic link',
    ],
    ['a file with holes of 3 TiB', 'truncate -s 3T usr/share/hello/a', 'at most 4.0 GiB are taken'],
    [
      'a line break in a name',
      'touch "usr/share/hello/$(printf "a\\nb")"',
      '/usr/share/hello/a\\u000ab has a name',
    ],
    ['what a terminal obeys', 'touch "usr/share/hello/$(printf "\\033[2J")"', 'hello/\\u001b[2J has a name'],
    [
      'a name that is no UTF-8',
      'touch "usr/share/hello/$(printf "\\377")"',
      'has a name that is no plain text',
    ],
    ['a hundred folders in folders', 'for i in $(seq 100); do mkdir d; cd d; done', 'or folders too deep'],
    ['thirty thousand files', 'mkdir m; cd m; seq 30000 | xargs touch', 'more than 20000 files'],
  ])('leaves %s: refused, and named', { timeout: 60_000 }, async (_, script, problem) => {
    await build(script);
    expect((await problems()).join('\n')).toContain(problem);
  });

  it('leaves a folder that another user made: refused, and named', async () => {
    await build('chmod a+rwx . usr');
    execFileSync('mkdir', ['usr/lib'], { cwd: destdir, uid: OTHER, gid: OTHER });
    expect(await problems()).toContain('/usr/lib is a folder of another user');
  });

  it(
    'makes folders deeper than a path is long: they are removed all the same',
    { timeout: 60_000 },
    async () => {
      await build("perl -e 'for (1 .. 3000) { mkdir q(dd) or die; chdir q(dd) or die }'");
      await endProcessesOf(host, BUILDER);
      await host.remove(destdir);
      expect(existsSync(destdir)).toBe(false);
    },
  );

  it('gets no other user by a setuid program', async () => {
    const suid = path.join(top, 'suid');
    execFileSync('cp', ['/usr/bin/id', suid]);
    chmodSync(suid, 0o4755);
    const argv = (await confinement(host, 'host'))([suid, '-u']);
    const done = await host.run(argv, { uid: BUILDER, gid: BUILDER });
    expect(done.stdout.trim()).toBe(String(BUILDER));
  });

  it.each(['host', 'isolated'] as const)('has its processes counted (%s)', async (way) => {
    const argv = (await confinement(host, way))(['sh', '-c', 'grep "Max processes" /proc/self/limits']);
    const done = await host.run(argv, { uid: BUILDER, gid: BUILDER });
    const [soft, hard] = done.stdout.split(/ {2,}/).slice(1, 3);
    expect([soft, hard]).toEqual(['4096', '4096']);
  });
});
