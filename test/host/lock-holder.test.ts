import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { localHost } from '../../src/host/local.js';
import { holders } from '../../src/host/lock-holder.js';
import { temporaryFolder } from './rooted.js';

describe('who holds a lock', () => {
  it('is nobody when it is free, also when a file is there', async () => {
    const file = path.join(temporaryFolder(), 'lock');
    const lock = await localHost().lock(file);
    await lock?.release();
    expect(await localHost().lockHolder(file)).toBeUndefined();
  });

  it('is the process that took it through its flock child', async () => {
    const file = path.join(temporaryFolder(), 'lock');
    const before = Date.now();
    const lock = await localHost().lock(file);
    const holder = await localHost().lockHolder(file);
    expect(holder?.pid).toBe(process.pid);
    expect(holder?.since.getTime()).toBeLessThanOrEqual(before);
    await lock?.release();
  });

  it('is another program where another one took it, and nobody when that has died', async () => {
    const file = path.join(temporaryFolder(), 'lock');
    const child = spawn('flock', ['--no-fork', file, 'sh', '-c', 'echo held; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(child.stdout, 'data');
    expect(await localHost().lockHolder(file)).toMatchObject({ pid: child.pid, command: 'sleep 60' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await localHost().lockHolder(file)).toBeUndefined();
  });

  it('is read from the kernel: other kinds of locks and other files do not count', () => {
    const table = [
      '1: FLOCK  ADVISORY  WRITE 11 00:19:567 0 EOF',
      '2: POSIX  ADVISORY  WRITE 12 00:19:567 0 EOF',
      '3: FLOCK  ADVISORY  WRITE 13 fd:01:568 0 EOF',
      '3: -> FLOCK  ADVISORY  WRITE 14 00:19:567 0 EOF',
    ].join('\n');
    expect(holders(table, 567)).toEqual([11]);
  });
});
