import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../host/rooted.js';

const SCRIPT = fileURLToPath(new URL('../../src/fleet/node-side.sh', import.meta.url));
const MODULE = fileURLToPath(new URL('../../src/fleet/node-side.ts', import.meta.url));

if (process.env['UPDATE_NODE_SIDE'] === '1') {
  const escaped = readFileSync(SCRIPT, 'utf8')
    .replace(/\\/g, '\\\\')
    .replace(/`/g, '\\`')
    .replace(/\$\{/g, '\\${');
  const before = readFileSync(MODULE, 'utf8').split('export const')[0] ?? '';
  writeFileSync(MODULE, `${before}export const NODE_SIDE = \`${escaped}\`;\n`);
}

describe('what a node is asked', () => {
  it('is the script that shellcheck reads, word for word', async () => {
    const { NODE_SIDE } = await import('../../src/fleet/node-side.js');
    expect(NODE_SIDE).toBe(readFileSync(SCRIPT, 'utf8'));
  });
});

describe('what a node does with the bytes that it is sent', () => {
  /** node-side.sh with a folder of the test in the place of /var/lib/airbundle, and a dd that may fail. */
  const receiving = (dd: string) => {
    const folder = temporaryFolder();
    const script = path.join(folder, 'node-side.sh');
    const text = readFileSync(SCRIPT, 'utf8');
    writeFileSync(script, text.replace(/^state=.*$/m, `state=${folder}`));
    mkdirSync(path.join(folder, 'incoming/stem'), { recursive: true });
    mkdirSync(path.join(folder, 'bin'));
    writeFileSync(path.join(folder, 'bin/dd'), `#!/bin/sh\n${dd}\nexec /usr/bin/dd "$@"\n`, { mode: 0o755 });
    const sh = spawn('sh', [script, 'receive', 'stem', 'file', '3'], {
      env: { PATH: `${path.join(folder, 'bin')}:/usr/bin:/bin` },
    });
    const ended = once(sh, 'close').then(([code]) => code as number);
    return { folder, file: path.join(folder, 'incoming/stem/file'), stdin: sh.stdin, ended };
  };

  it('is to put them behind those that are there, and nothing runs on when it has ended', async () => {
    const { file, stdin, ended } = receiving('');
    writeFileSync(file, 'abcdef');
    stdin.end('XY');
    expect(await ended).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe('abcXYf');
  });

  it('is to say so when only the writing to the disk on the way has failed: it is told once', async () => {
    const { folder, file, stdin, ended } = receiving(
      'case " $* " in *" if=/dev/null "*) : >"${0%/*}/../flushed"; echo lost >&2; exit 1 ;; esac',
    );
    stdin.write('XY');
    await vi.waitFor(() => expect(existsSync(path.join(folder, 'flushed'))).toBe(true), 10_000);
    stdin.end();
    expect(await ended).toBe(72);
    expect(existsSync(file)).toBe(true);
  });
});
