import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import { folderSource, redisSource } from '../lab/sources.js';
import { carry, chain, DESK, nodeFacts, statusOf, type } from '../lab/walk/operator.js';
import type { PackedBundle } from '../lab/walk/packager.js';
import { packed } from '../lab/walk/packager.js';

/*
 * manifests/redis.yaml, of which no line of src knows: made on the lab's repository and installed on a
 * node without compiler and way out.
 */

const NODE = 'cache1';
const BEAT_NODE = 'beat1';
const BEAT = join(ROOT, 'test', 'e2e', 'beat');
const PASSWORD = 'Zk3-not-a-real-one-9Q';

let folder: string;
let lab: Lab;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'airbundle-other-'));
  lab = await startLab({ nodes: [NODE, BEAT_NODE] });
});

afterAll(async () => {
  await lab.down();
  await rm(folder, { recursive: true, force: true });
});

const shOn = async (node: string, command: string): Promise<string> => {
  const done = await lab.exec(node, ['sh', '-c', command]);
  return `${done.stdout}${done.stderr}`.trim();
};

const writeSiteOn = (node: string, site: string) =>
  lab.exec(node, ['sh', '-c', `cat > ${DESK}/site.yaml`], { input: site });

const installAgain = (node: string, bundle: PackedBundle, extra = '') =>
  type(lab, node, bundle, `bundle install . --site ${DESK}/site.yaml --node ${node} ${extra}`);

describe('software that only its manifest describes', () => {
  let bundle: PackedBundle;
  let text: string;

  beforeAll(async () => {
    // A local clone of upstream instead of Debian's source package: AIRBUNDLE_TEST_SOURCES=FOLDER.
    const redis = await redisSource(process.env['AIRBUNDLE_TEST_SOURCES']);
    bundle = await packed('redis', { redis }, { quiet: true });
    const shipped = await readFile(join(ROOT, 'manifests', 'sites', 'redis.yaml'), 'utf8');
    text = shipped.replaceAll('10.20.0.31', lab.nodes[NODE]?.address ?? '').replace('2GiB', '64MiB');
    await mkdir(join(folder, 'site'));
    await writeFile(join(folder, 'site', 'site.yaml'), text);
    await writeFile(join(folder, 'site', 'redis.secret'), `${PASSWORD}\n`, { mode: 0o600 });
    await carry(lab, NODE, bundle, join(folder, 'site'));
  });

  const sh = (command: string): Promise<string> => shOn(NODE, command);
  const again = (extra = '') => installAgain(NODE, bundle, extra);
  const writeSite = (site: string) => writeSiteOn(NODE, site);

  /** As a client of the network would, with the password. */
  const redis = (words: string): Promise<string> =>
    sh(
      `REDISCLI_AUTH='${PASSWORD}' /usr/local/bin/redis-cli -h ${lab.nodes[NODE]?.address ?? ''} -p 6379 ${words}`,
    );

  const identity = () =>
    sh(
      'stat -c "%i %Y" /usr/local/bin/redis-server; sha256sum /usr/local/bin/redis-server; systemctl show -p MainPID redis',
    );

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

describe('software that reads its configuration again, and tests it', () => {
  let bundle: PackedBundle;
  const site = (every: number): string =>
    `airbundle-site: 1\nname: beat\nnodes: [{ name: ${BEAT_NODE}, address: ${lab.nodes[BEAT_NODE]?.address ?? ''}, interface: eth0 }]\ncomponents: { beat: { every: ${String(every)} } }\n`;
  const pid = () => shOn(BEAT_NODE, 'systemctl show -p MainPID beat');

  beforeAll(async () => {
    const source = await folderSource(join(BEAT, 'source'), join(folder, 'beat.git'), 'v1.0');
    bundle = await packed('beat', { beat: source }, { manifests: BEAT, quiet: true });
    await mkdir(join(folder, 'beat-site'));
    await writeFile(join(folder, 'beat-site', 'site.yaml'), site(7));
    await carry(lab, BEAT_NODE, bundle, join(folder, 'beat-site'));
    const done = await type(lab, BEAT_NODE, bundle, chain(bundle, BEAT_NODE));
    expect(done.exitCode, `${done.stdout}\n${done.stderr}`).toBe(0);
  });

  it('is reloaded, not restarted, by a change of a file that it declares so', async () => {
    const before = await pid();
    expect(await shOn(BEAT_NODE, '/usr/local/sbin/beat ask')).toBe('every 7');
    await writeSiteOn(BEAT_NODE, site(9));
    const done = await installAgain(BEAT_NODE, bundle, '-y');
    expect(done.exitCode, `${done.stdout}\n${done.stderr}`).toBe(0);
    expect(done.stdout).toContain('reload beat.service');
    expect(await shOn(BEAT_NODE, '/usr/local/sbin/beat ask')).toBe('every 9');
    expect(await pid()).toBe(before);
  });

  it('keeps what runs when it refuses the new file itself', async () => {
    const before = await pid();
    await writeSiteOn(BEAT_NODE, site(500));
    const done = await installAgain(BEAT_NODE, bundle, '-y');
    expect(done.exitCode).toBe(6);
    expect(done.stderr).toContain('beat: every 500 is more than 100');
    expect(await shOn(BEAT_NODE, 'grep every /etc/beat/beat.conf; /usr/local/sbin/beat ask')).toBe(
      'every 9\nevery 9',
    );
    expect(await pid()).toBe(before);
  });
});
