import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import { redisSource } from '../lab/sources.js';
import { carry, chain, DESK, nodeFacts, statusOf, type } from '../lab/walk/operator.js';
import type { PackedBundle } from '../lab/walk/packager.js';
import { packed } from '../lab/walk/packager.js';

/*
 * manifests/redis.yaml, of which no line of src knows: made on the lab's repository and installed on a
 * node without compiler and way out.
 */

const NODE = 'cache1';
const PASSWORD = 'Zk3-not-a-real-one-9Q';

let folder: string;
let bundle: PackedBundle;
let lab: Lab;
let text: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'airbundle-redis-'));
  // A local clone of upstream instead of Debian's source package: AIRBUNDLE_TEST_SOURCES=FOLDER.
  bundle = await packed(
    'redis',
    { redis: await redisSource(process.env['AIRBUNDLE_TEST_SOURCES']) },
    { quiet: true },
  );
  lab = await startLab({ nodes: [NODE] });
  const shipped = await readFile(join(ROOT, 'manifests', 'sites', 'redis.yaml'), 'utf8');
  text = shipped.replaceAll('10.20.0.31', lab.nodes[NODE]?.address ?? '').replace('2GiB', '64MiB');
  await mkdir(join(folder, 'site'));
  await writeFile(join(folder, 'site', 'site.yaml'), text);
  await writeFile(join(folder, 'site', 'redis.secret'), `${PASSWORD}\n`, { mode: 0o600 });
  await carry(lab, NODE, bundle, join(folder, 'site'));
});

afterAll(async () => {
  await lab?.down();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const sh = async (command: string): Promise<string> => {
  const done = await lab.exec(NODE, ['sh', '-c', command]);
  return `${done.stdout}${done.stderr}`.trim();
};

/** As a client of the network would, with the password. */
const redis = (words: string): Promise<string> =>
  sh(
    `REDISCLI_AUTH='${PASSWORD}' /usr/local/bin/redis-cli -h ${lab.nodes[NODE]?.address ?? ''} -p 6379 ${words}`,
  );

const again = (extra = '') =>
  type(lab, NODE, bundle, `bundle install . --site ${DESK}/site.yaml --node ${NODE} ${extra}`);

const writeSite = (site: string) => lab.exec(NODE, ['sh', '-c', `cat > ${DESK}/site.yaml`], { input: site });

const identity = () =>
  sh(
    'stat -c "%i %Y" /usr/local/bin/redis-server; sha256sum /usr/local/bin/redis-server; systemctl show -p MainPID redis',
  );

describe('software that only its manifest describes', () => {
  it('is built and started by the stock commands, on a closed node without a compiler', async () => {
    const before = await nodeFacts(lab, NODE);
    expect([before.tools, before.routes]).toEqual([[], '']);

    const done = await type(lab, NODE, bundle, chain(bundle, NODE));
    expect(done.exitCode, `${done.stdout}\n${done.stderr}`).toBe(0);
    expect(done.stdout).toContain('enable and start redis.service');
    expect(done.stdout).toContain('a firewall must let in TCP');
    expect(done.stdout + done.stderr).not.toContain(PASSWORD);

    const status = await statusOf(lab, NODE);
    expect(status.problems).toEqual([]);
    expect(status.services).toEqual([{ unit: 'redis.service', active: 'active', enabled: 'enabled' }]);
    expect(status.versions.map((version) => version.text).join()).toMatch(/^Redis server v=6\./);
  });

  it('answers those who have the password, and nobody else', async () => {
    expect(await redis('ping')).toBe('PONG');
    expect(await redis('set greeting hello')).toBe('OK');
    expect(await redis('config get maxmemory')).toContain(String(64 * 1024 * 1024));
    const address = lab.nodes[NODE]?.address ?? '';
    expect(await sh(`/usr/local/bin/redis-cli -h ${address} get greeting`)).toContain('NOAUTH');
  });

  it('has the links that the manifest declares, and a configuration that not everybody reads', async () => {
    expect(await sh('readlink -f /usr/local/bin/redis-sentinel')).toBe('/usr/local/bin/redis-server');
    expect(await sh('stat -c "%U:%G %a" /etc/redis/redis.conf /var/lib/redis')).toBe(
      'root:redis 640\nredis:redis 750',
    );
    expect(await sh('ps -o user= -C redis-server')).toBe('redis');
  });

  it('is left alone by a second run', async () => {
    const before = await identity();
    const done = await again();
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stdout).toContain('nothing was changed');
    expect(await identity()).toBe(before);
  });

  it('restarts with a changed site value, and nothing is built again', async () => {
    const before = await identity();
    await writeSite(text.replace('64MiB', '128MiB'));
    const done = await again('-y');
    expect(done.exitCode, `${done.stdout}\n${done.stderr}`).toBe(0);
    expect(done.stdout).toContain('restart redis.service');
    expect(done.stdout).not.toMatch(/\d\. (?:build|files|rpms):/);

    const after = await identity();
    expect(after.split('\n').slice(0, 2)).toEqual(before.split('\n').slice(0, 2));
    expect(after.split('\n')[2]).not.toBe(before.split('\n')[2]);
    expect(await redis('config get maxmemory')).toContain(String(128 * 1024 * 1024));
    expect(await redis('get greeting')).toBe('hello');
  });

  it('does not take a mistyped or missing value: the place and the meant word are named', async () => {
    const before = await identity();
    await writeSite(text.replace('maxMemory:', 'maxMemry:'));
    const done = await again('-y');
    expect(done.exitCode).toBe(3);
    expect(done.stderr).toMatch(/site\.yaml:\d+:5: unknown key "maxMemry"; did you mean "maxMemory"\?/);
    expect(done.stderr).toContain('components.redis.maxMemory: is missing');
    expect(await identity()).toBe(before);
  });
});
