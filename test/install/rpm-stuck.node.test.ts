import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Packer } from '../e2e/install-lab.js';
import { packer } from '../e2e/install-lab.js';
import { node16 } from '../lab/backend-image.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';

/* rpm 4.16 with a Berkeley database, as EL7's has; a database on a full disk kills it and keeps its locks. */
const DISK = '/var/lib/rpm';
/** Enough to begin the files of the locks, and not to fill them. */
const ROOM_KIB = 340;
const FULL = [
  'set -e',
  `cp -a ${DISK} /tmp/db; mount -t tmpfs tmpfs ${DISK}; cp -a /tmp/db/. ${DISK}/; rm -f ${DISK}/__db.*`,
  `used=$(df -k --output=used ${DISK} | tail -n 1); mount -o remount,size=$((used + ${String(ROOM_KIB)}))k ${DISK}`,
].join('\n');

describe('an rpm that meets the locks of one that died', () => {
  let lab: Lab;
  let pack: Packer;
  const sh = (text: string) => lab.exec('lb1', ['sh', '-c', text], { timeoutMs: 120_000 });

  beforeAll(async () => {
    pack = await packer();
    lab = await startLab({ nodes: ['lb1'] });
    const program = path.join(pack.work, 'stuck.cjs');
    await build({
      entryPoints: [new URL('./stuck-rpm.ts', import.meta.url).pathname],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node16',
      logLevel: 'error',
    });
    await lab.copyIn('lb1', await node16(), '/root/node');
    await lab.copyIn('lb1', program, '/root/stuck.cjs');
    await lab.copyIn('lb1', pack.rpm({ name: 'late' }).file, '/root/late.rpm');
  });
  afterAll(async () => {
    await lab.down();
    pack.remove();
  });

  it('is ended and says what to do, and that helps', async () => {
    expect(await sh(FULL)).toMatchObject({ exitCode: 0 });
    const died = await sh('rpm -qa >/dev/null 2>&1');
    expect(died.exitCode, 'SIGBUS').toBe(128 + 7);
    await sh(`mount -o remount,size=64m ${DISK}`);

    const told = JSON.parse((await sh('/root/node /root/stuck.cjs /root/late.rpm')).stdout) as {
      code: string;
      hint: string;
    };
    expect(told.code).toBe('RPM_STUCK');
    const typed = /rm -f \S+__db\.\* && rpm --verifydb/.exec(told.hint)?.[0] ?? 'false';
    expect(await sh(typed)).toMatchObject({ exitCode: 0 });
    expect((await sh('/root/node /root/stuck.cjs /root/late.rpm')).stdout.trim()).toBe(
      '{"other":"undefined"}',
    );
    expect((await sh('rpm -q late')).stdout).toContain('late-1.0-1.el7');
  });
});
