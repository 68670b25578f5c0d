import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { localHost } from '../../src/host/local.js';
import { sha256Of } from '../install/bundle.js';
import { temporaryFolder } from './rooted.js';

const host = localHost();
const own = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

describe('a command on this machine', () => {
  it('gets a clean environment and nothing of the caller', async () => {
    process.env['NODE_OPTIONS_TEST'] = 'x';
    const done = await host.run(['env']);
    delete process.env['NODE_OPTIONS_TEST'];
    expect(done.stdout.trim().split('\n').sort()).toEqual([
      'HOME=/nonexistent',
      'LC_ALL=C',
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
      'TERM=dumb',
      'TZ=UTC',
    ]);
  });

  it('that fails, is killed, takes too long or is not there is a result, not an exception', async () => {
    expect(await host.run(['sh', '-c', 'echo a; echo b >&2; exit 3'])).toMatchObject({
      exitCode: 3,
      stdout: 'a\n',
      stderr: 'b\n',
    });
    expect(await host.run(['sh', '-c', 'kill -9 $$'])).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    expect(await host.run(['sleep', '10'], { timeoutMs: 50 })).toMatchObject({ timedOut: true });
    expect(await host.run(['/no/such/program'])).toMatchObject({ exitCode: null, startError: 'ENOENT' });
  });

  it('has taken too long also where it ends before anybody looks', async () => {
    const all = await Promise.all(
      Array.from({ length: 60 }, () => host.run(['sleep', '10'], { timeoutMs: 50 })),
    );
    expect(all.filter(({ timedOut }) => !timedOut)).toEqual([]);
  });

  it('is gone when its time is over, with what it started, also if it does not mind being asked to end', async () => {
    const pids = path.join(temporaryFolder(), 'pids');
    // Like an rpm that sleeps on the locks of a dead one: SIGTERM is caught, and nothing happens.
    const deaf = `trap '' TERM; sleep 60 & echo $$ $! >'${pids}'; wait; sleep 60`;
    expect(await host.run(['sh', '-c', deaf], { timeoutMs: 500 })).toMatchObject({ timedOut: true });
    const started = readFileSync(pids, 'utf8').trim().split(' ').map(Number);
    expect(started).toHaveLength(2);
    const isAlive = (pid: number): boolean =>
      existsSync(`/proc/${String(pid)}`) &&
      !/^State:\s+Z/m.test(readFileSync(`/proc/${String(pid)}/status`, 'utf8'));
    // SIGKILL has been sent; what the command started is nobody's child whose end could be awaited.
    await vi.waitFor(() => {
      expect(started.filter(isAlive)).toEqual([]);
    });
  });

  it('runs in a session of its own: a Ctrl-C for this process does not reach it', async () => {
    const done = await host.run(['sh', '-c', 'cut -d " " -f 6 /proc/$$/stat; echo $$']);
    const [session, pid] = done.stdout.trim().split(/\s+/);
    expect(session).toBe(pid);
  });
});

describe('a logged command', () => {
  it('writes both outputs to the file as they come and tells the last line', async () => {
    const log = path.join(temporaryFolder(), 'log');
    writeFileSync(log, 'before\n');
    const notes: string[] = [];
    const done = await host.runLogged(['sh', '-c', 'echo one; echo two >&2; sleep 0.6'], log, {
      onNote: (line) => notes.push(line),
    });
    expect(done).toMatchObject({ exitCode: 0, stdout: 'one\ntwo\n', stopped: false });
    expect(readFileSync(log, 'utf8')).toBe('before\none\ntwo\n');
    expect(notes).toContain('two');
  });

  it('ends with its command, whatever that left running with the output open', async () => {
    const log = path.join(temporaryFolder(), 'log');
    const startMs = performance.now();
    const done = await host.runLogged(['sh', '-c', 'sleep 5 & echo started'], log);
    expect(performance.now() - startMs).toBeLessThan(3000);
    expect(done.stdout).toBe('started\n');
  });

  it('of a hundred megabytes takes no memory to speak of', async () => {
    const log = path.join(temporaryFolder(), 'log');
    const before = process.memoryUsage.rss();
    const maxLogBytes = 10_000_000;
    const done = await host.runLogged(['sh', '-c', 'head -c 100000000 /dev/zero | tr "\\0" x'], log, {
      maxLogBytes,
    });
    expect(process.memoryUsage.rss() - before).toBeLessThan(60 * 1024 * 1024);
    // It was shortened some time before the end, and may have grown again up to its limit.
    expect(statSync(log).size).toBeLessThanOrEqual(maxLogBytes);
    expect(done.dropped).toBe(true);
    expect(done.stdout.length).toBeLessThanOrEqual(16 * 1024);
  });

  it('that prints without end keeps the last of it and what was in the log before, and goes on', async () => {
    const log = path.join(temporaryFolder(), 'log');
    writeFileSync(log, 'before\n');
    const flood =
      'i=0; while [ $i -lt 8 ]; do yes | head -c 1000000; sleep 0.2; i=$((i + 1)); done; sleep 1; echo the end';
    const done = await host.runLogged(['sh', '-c', flood], log, { maxLogBytes: 1_500_000 });
    expect(done).toMatchObject({ exitCode: 0, dropped: true });
    const text = readFileSync(log, 'utf8');
    expect(text.length).toBeLessThan(4_000_000);
    expect(text).toMatch(/^before\n\[airbundle: this command printed more than is kept; .*\]\n/);
    expect(text).toMatch(/\ny\nthe end\n$/);
  });

  it('that is silent is told of, and one that prints is not', async () => {
    const log = path.join(temporaryFolder(), 'log');
    const told: number[] = [];
    const options = { quietMs: 1000, onQuiet: async (pid: number) => void told.push(pid) };
    await host.runLogged(['sh', '-c', 'for i in 1 2 3 4; do echo $i; sleep 0.4; done'], log, options);
    expect(told).toEqual([]);
    const done = await host.runLogged(['sh', '-c', 'echo $$; sleep 1.8'], log, options);
    expect(told).toEqual([Number(done.stdout)]);
  });

  it('is ended with all its children when asked to stop, and when it takes too long', async () => {
    const log = path.join(temporaryFolder(), 'log');
    const held = ['sh', '-c', 'sleep 30 & sleep 30'] as const;
    expect(await host.runLogged([...held], log, { stop: () => true })).toMatchObject({ stopped: true });
    expect(await host.runLogged([...held], log, { timeoutMs: 100 })).toMatchObject({ timedOut: true });
  });

  it('reads its input from a file', async () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'in'), 'hello');
    const done = await host.runLogged(['cat'], path.join(folder, 'log'), {
      inputFile: path.join(folder, 'in'),
    });
    expect(done.stdout).toBe('hello');
  });
});

describe('a file on this machine', () => {
  it('is replaced whole, with its mode whatever the umask, over what a killed run left', async () => {
    const folder = temporaryFolder();
    const file = path.join(folder, 'file');
    writeFileSync(path.join(folder, '.file.airbundle-new'), 'half of a');
    const umask = process.umask(0o077);
    try {
      await host.writeDurable(file, 'new', { mode: 0o644, ...own });
    } finally {
      process.umask(umask);
    }
    expect([readFileSync(file, 'utf8'), statSync(file).mode & 0o7777]).toEqual(['new', 0o644]);
    expect(readdirSync(folder)).toEqual(['file']);
  });

  it('is not replaced by a copy that is not what it should be', async () => {
    const folder = temporaryFolder();
    const [from, to] = [path.join(folder, 'from'), path.join(folder, 'to')];
    writeFileSync(from, 'changed');
    writeFileSync(to, 'old');
    const sha256 = sha256Of('expected');
    expect(await host.copyDurable(from, to, { mode: 0o644, ...own, sha256 })).toBe(sha256Of('changed'));
    expect(readFileSync(to, 'utf8')).toBe('old');
    expect(await host.copyDurable(from, to, { mode: 0o755, ...own, sha256: sha256Of('changed') })).toBe(
      sha256Of('changed'),
    );
    expect([readFileSync(to, 'utf8'), readdirSync(folder)]).toEqual(['changed', ['from', 'to']]);
  });

  it('that is a link is never read through, and never written through', async () => {
    const folder = temporaryFolder();
    const [secret, link] = [path.join(folder, 'secret'), path.join(folder, 'link')];
    writeFileSync(secret, 'secret');
    symlinkSync(secret, link);
    await expect(host.copyDurable(link, path.join(folder, 'x'), { mode: 0o644, ...own })).rejects.toThrow(
      'ELOOP',
    );
    expect(await host.sha256(link)).toBeUndefined();
    await host.writeDurable(link, 'mine', { mode: 0o644, ...own });
    expect([readFileSync(secret, 'utf8'), lstatSync(link).isFile()]).toEqual(['secret', true]);
  });

  it('as a link is made over what was there, and read', async () => {
    const folder = temporaryFolder();
    const link = path.join(folder, 'link');
    writeFileSync(link, 'a file');
    await host.linkDurable(link, '/to/there');
    expect([readlinkSync(link), await host.readlink(link)]).toEqual(['/to/there', '/to/there']);
    expect(await host.readlink(folder)).toBeUndefined();
    expect(await host.readlink(path.join(folder, 'none'))).toBeUndefined();
  });

  it('tells which directories were made, and removes only empty ones', async () => {
    const folder = temporaryFolder();
    const deep = path.join(folder, 'a/b/c');
    mkdirSync(path.join(folder, 'a'));
    expect(await host.ensureDirectory(deep)).toEqual([path.join(folder, 'a/b'), deep]);
    expect(await host.ensureDirectory(deep)).toEqual([]);
    expect(await host.removeDirectory(path.join(folder, 'a/b'))).toBe(false);
    expect(await host.removeDirectory(deep)).toBe(true);
    expect(await host.removeDirectory(deep)).toBe(false);
  });

  it('as a directory appears with its owner and mode, or not at all', async () => {
    const folder = path.join(temporaryFolder(), 'data');
    // No user has this number: it breaks off between mkdir and chown.
    await expect(host.makeDirectory(folder, { mode: 0o750, uid: 2 ** 40 })).rejects.toThrow();
    expect(await host.lstat(folder)).toBeUndefined();
    const ids = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    await host.makeDirectory(folder, { mode: 0o750, ...ids });
    expect(await host.lstat(folder)).toMatchObject({ kind: 'directory', mode: 0o750, ...ids });
    writeFileSync(path.join(folder, 'kept'), '');
    await host.makeDirectory(folder, { mode: 0o700, ...ids });
    expect(await host.lstat(folder)).toMatchObject({ kind: 'directory', mode: 0o700 });
    expect(await host.list(path.dirname(folder))).toEqual(['data']);
  });

  it('is made once where several want it at once, as components do that are built side by side', async () => {
    const folder = path.join(temporaryFolder(), 'shared');
    const options = { mode: 0o755, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        host.makeDirectory(index % 2 === 0 ? folder : path.join(folder, 'below'), options),
      ),
    );
    expect(await host.list(folder)).toEqual(['below']);
    expect(await host.list(path.dirname(folder))).toEqual(['shared']);
  });

  it('does not exist is no error, something else is', async () => {
    const folder = temporaryFolder();
    expect(await host.read(path.join(folder, 'none'))).toBeUndefined();
    expect(await host.lstat(path.join(folder, 'none/below'))).toBeUndefined();
    expect(await host.list(path.join(folder, 'none'))).toEqual([]);
    await expect(host.read(folder)).rejects.toThrow('EISDIR');
  });
});

describe('the lock', () => {
  it('is held by one, and free again when it is released', async () => {
    const file = path.join(temporaryFolder(), 'lock');
    const first = await host.lock(file);
    expect(await host.lock(file)).toBeUndefined();
    await first?.release();
    const again = await host.lock(file);
    expect(again).toBeDefined();
    await again?.release();
  });

  it('is released by the death of its holder', async () => {
    const file = path.join(temporaryFolder(), 'lock');
    const module = new URL('../../src/host/local.ts', import.meta.url).pathname;
    const script = `import { localHost } from ${JSON.stringify(module)}; await localHost().lock(${JSON.stringify(file)}); process.kill(process.pid, 'SIGKILL');`;
    const holder = path.join(path.dirname(file), 'holder.mts');
    writeFileSync(holder, script);
    chmodSync(holder, 0o644);
    expect(() => execFileSync(process.execPath, ['--import', 'tsx', holder], { stdio: 'ignore' })).toThrow();
    expect(existsSync(file)).toBe(true);
    let lock: Awaited<ReturnType<typeof host.lock>>;
    for (let round = 0; lock === undefined && round < 40; round += 1) {
      lock = await host.lock(file);
      if (lock === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(lock).toBeDefined();
    await lock?.release();
  });
});
