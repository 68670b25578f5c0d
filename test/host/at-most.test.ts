import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { atMost } from '../../src/host/at-most.js';

describe('work side by side', () => {
  it('is never more than so many, in its order, and goes on behind what fails', async () => {
    const gate = atMost(3);
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, number) =>
        gate(async () => {
          begun.push(number);
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setTimeout(resolve, 1));
          running -= 1;
          if (number % 5 === 0) throw new Error('failed');
          return number;
        }),
      ),
    );
    expect(most).toBe(3);
    expect(begun).toEqual(Array.from({ length: 20 }, (_, number) => number));
    expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(4);
  });

  // A receipt that names 4,600 files ended install, status, rollback and uninstall with EMFILE on CentOS 7.
  it('hashes more files than a process may open', async () => {
    const script = `
      import { localHost } from './src/host/local.ts';
      const paths = Array.from({ length: 2000 }, () => 'package.json');
      const digests = await Promise.all(paths.map((path) => localHost().sha256(path)));
      console.log(new Set(digests).size, digests.length);`;
    const { stdout } = await promisify(execFile)('sh', [
      ...['-c', 'ulimit -n 256 && exec "$@"', 'sh', process.execPath],
      ...['--import', 'tsx', '--input-type=module', '--eval', script],
    ]);
    expect(stdout).toBe('1 2000\n');
  });
});
