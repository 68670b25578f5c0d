import { mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from './errors.js';
import { LOCKS } from './paths.js';
import { say } from './progress.js';

const WAIT_MS = 20 * 60_000;
const POLL_MS = 500;

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

const take = async (file: string): Promise<boolean> => {
  try {
    const handle = await open(file, 'wx');
    await handle.writeFile(String(process.pid));
    await handle.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
};

/**
 * Runs `work` while holding the lock file `name`: one process at a time.
 * A lock whose process is gone is taken over.
 * @throws LabError when another process held it for 20 minutes
 */
export const withLock = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
  await mkdir(LOCKS, { recursive: true });
  const file = path.join(LOCKS, `${name}.pid`);
  const endMs = performance.now() + WAIT_MS;
  let told = false;
  while (!(await take(file))) {
    const owner = Number(await readFile(file, 'utf8').catch(() => ''));
    if (owner > 0 && !isAlive(owner)) {
      await rm(file, { force: true });
      continue;
    }
    if (performance.now() > endMs)
      throw new LabError(`process ${owner} held ${file} for 20 minutes`, `end it, or rm ${file}`);
    if (!told) say(`waiting for process ${owner}, which makes ${name}`);
    told = true;
    await sleep(POLL_MS);
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
};
