import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import type { DeskPlanRequest } from '../../src/install/desk-plan.js';
import { planFromInventory } from '../../src/install/desk-plan.js';
import type { InstallRequest } from '../../src/install/install.js';
import { install } from '../../src/install/install.js';
import type { Inventory } from '../../src/install/inventory-schema.js';
import { InventorySchema } from '../../src/install/inventory-schema.js';
import { formatInventory, readInventory } from '../../src/install/inventory.js';
import { MASK } from '../../src/install/masked.js';
import { formatPlan, planDocument } from '../../src/install/plan-document.js';
import type { PlanDocument } from '../../src/install/plan-schema.js';
import type { TakeRequest } from '../../src/install/take-inventory.js';
import { takeInventory } from '../../src/install/take-inventory.js';
import { BundledConfiguration } from '../../src/model/declared.js';
import { Sha256 } from '../../src/model/grammar.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import { readKey } from '../../src/review/keys.js';
import type { Rooted, RootedOptions } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey, sha256Of } from './bundle.js';
import { nevra } from './facts.js';

const key = makeKey();
const CONF = '/etc/hello/hello.conf';
const SECRET = 'hunter2-hunter2';
const OLDER_SECRET = 'swordfish-9';

const HELLO = BundledConfiguration.parse({
  values: { greeting: { type: 'name', default: 'hi' }, token: { type: 'secret' } },
  accounts: [{ name: 'hello' }],
  directories: [{ path: '/etc/hello', mode: '0755' }],
  files: [
    { path: CONF, mode: '0640', content: '# {{notice}}\ngreeting {{greeting}}\nlogin {{token}}\n' },
    { path: '/etc/sysctl.d/90-hello.conf', content: 'net.core.somaxconn = 1024\n' },
  ],
  units: [{ name: 'hello.service', content: '[Service]\nExecStart=/usr/local/bin/hello\n' }],
});
const SITE = [
  'airbundle-site: 1',
  'name: bank',
  'nodes:',
  '  - { name: n1, address: 10.20.0.31, interface: eth0 }',
  'components:',
  '  hello: { greeting: hey, token: hello.secret }',
  '',
].join('\n');

/** A CentOS 7.5 with two packages; rpm objects to one of the bundle's. */
const answer: NonNullable<RootedOptions['answer']> = ([program, ...words]) => {
  if (program === 'rpm' && words[0] === '-qa')
    return { stdout: 'bash\t(none)\t4.2.46\t30.el7\tx86_64\nmake\t1\t3.82\t24.el7\tx86_64\n' };
  if (program === 'rpm' && words.includes('--test'))
    return { exitCode: 1, stderr: '\tlibfoo.so is needed by gcc-4.8.5-28.el7.x86_64\n' };
  if (program === 'rpm' && words[0] === '-qp') return { stdout: 'R gcc-4.8.5-28.el7.x86_64\nP gcc\n' };
  if (program === 'rpm' && words[0] === '--verifydb') return {};
  if (program === 'rpm') return { exitCode: 1 };
  if (program === 'uname') return { stdout: 'x86_64\n' };
  if (program === 'getent') return { stdout: 'root:x:0:0::/root:/bin/sh\n' };
  if (program === 'ip') return { stdout: '2: eth0    inet 10.20.0.31/24 scope global eth0\n' };
  if (program === 'systemctl' && words.includes('firewalld.service'))
    return { stdout: 'ActiveState=active\nUnitFileState=enabled\nFragmentPath=/usr/lib/x\n' };
  if (program === 'systemctl') return { stdout: 'ActiveState=inactive\nUnitFileState=\nFragmentPath=\n' };
  return undefined;
};

const reporter = createReporter({
  format: 'text',
  quiet: true,
  color: false,
  now: () => 0,
  stream: { write: () => true },
});

describe('a plan that is made elsewhere', () => {
  let work: string;
  let made: MadeBundle;
  beforeAll(async () => {
    work = path.join(temporaryFolder(), '..', `airbundle-inventory-${process.pid}`);
    mkdirSync(work, { recursive: true });
    const gcc = path.join(work, 'gcc-4.8.5-28.el7.x86_64.rpm');
    writeFileSync(gcc, 'an rpm');
    made = await makeBundle({
      work,
      key,
      rpms: [{ file: gcc, nevra: nevra('gcc-4.8.5-28.el7.x86_64') }],
      component: { configuration: HELLO },
    });
  });
  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
  });

  const withDesk = (host: Rooted): Rooted => {
    cpSync(made.folder, path.join(host.root, 'm'), { recursive: true });
    host.put('/key.pem', key.pem);
    host.put('/desk/site.yaml', SITE);
    host.put('/desk/hello.secret', `${SECRET}\n`, 0o600);
    return host;
  };
  const node = (): Rooted => {
    const host = withDesk(rootedHost({ answer }));
    host.put('/etc/os-release', 'ID="centos"\nVERSION_ID="7"\nPRETTY_NAME="CentOS Linux 7 (Core)"\n');
    host.put('/etc/centos-release', 'CentOS Linux release 7.5.1804 (Core)\n');
    host.put('/proc/sys/net/core/somaxconn', '128\n');
    host.put('/proc/self/mounts', '/dev/sda1 / xfs rw,relatime 0 0\n');
    host.put(CONF, `# mine\ngreeting hello\nlogin ${OLDER_SECRET}\nkeep this\n`);
    return host;
  };
  const asked: TakeRequest & { readonly directory: string } = {
    directory: '/m',
    key: '/key.pem',
    fingerprint: key.fingerprint,
    site: '/desk/site.yaml',
    node: 'n1',
    allow: { upgrade: false, protectedNames: [], takeOver: false, conflicts: [] },
    build: { way: undefined, keepPackages: false },
    reporter,
    now: () => 0,
    date: () => new Date(0),
    runId: 'run1',
    interrupted: () => false,
  };
  const planHere = async (host: Rooted, given: Partial<InstallRequest> = {}): Promise<string> => {
    const { plan } = await install(host, {
      ...asked,
      dryRun: true,
      confirm: () => Promise.resolve(true),
      ...given,
    });
    return formatPlan(planDocument(plan));
  };
  const take = (host: Rooted, given: Partial<TakeRequest> = {}): Promise<Inventory> =>
    takeInventory(host, { ...asked, ...given });
  const desk = (inventory: Inventory): Rooted => {
    const host = withDesk(rootedHost());
    host.put('/desk/n1.json', formatInventory(inventory));
    return host;
  };
  const planThere = (host: Rooted, given: Partial<DeskPlanRequest> = {}): Promise<string> =>
    planFromInventory(host, {
      directory: '/m',
      inventory: '/desk/n1.json',
      site: '/desk/site.yaml',
      node: 'n1',
      keys: [readKey(key.pem, 'key.pem')],
      unsigned: false,
      allow: asked.allow,
      build: asked.build,
      reporter,
      ...given,
    }).then((plan) => formatPlan(planDocument(plan)));

  it('is the plan of the node for the other way to build too, byte for byte', async () => {
    const host = node();
    const build = { way: 'isolated', keepPackages: false } as const;
    const here = await planHere(host, { build });
    expect(here).toContain('"way": "isolated"');
    expect(await planThere(desk(await take(host)), { build })).toBe(here);
  });

  it('is the plan of the node, byte for byte', async () => {
    const host = node();
    const there = await planThere(desk(await take(host)));
    expect(there).toBe(await planHere(host));
    expect(JSON.parse(there)).toMatchObject({ rpmTest: 'tried', newKey: { fingerprint: key.fingerprint } });
    expect(there).toContain('rpm: libfoo.so is needed by gcc-4.8.5-28.el7.x86_64');
    expect(there).toContain('-greeting hello');
    expect(there).toContain('firewall');
  });

  it('is the same with every flag that a plan depends on', async () => {
    const host = node();
    const inventory = await take(host);
    for (const allow of [
      { upgrade: true, protectedNames: ['glibc'], takeOver: true, conflicts: ['gcc'] },
      { upgrade: true, protectedNames: [], takeOver: false, conflicts: [] },
    ])
      expect(await planThere(desk(inventory), { allow })).toBe(await planHere(host, { allow }));
  });

  it('is the same after a trusted key and a configuration that is in place', async () => {
    const host = node();
    host.put(`${target.trust}/${key.keyId}.pem`, key.pem);
    await host.remove(CONF);
    host.put(
      CONF,
      `# Written by airbundle from site "bank". Change the site file instead: an edit here is reported as drift.\ngreeting hey\nlogin ${SECRET}\n`,
      0o640,
    );
    const without = { key: undefined, fingerprint: undefined };
    const inventory = await take(host, without);
    expect(inventory.trust).toEqual({ trusted: [key.fingerprint], removed: [], signers: 1 });
    const there = await planThere(desk(inventory));
    expect(there).toBe(await planHere(host, without));
    const { files } = JSON.parse(there) as { files: { path: string; change: string }[] };
    expect(files.find((file) => file.path === CONF)?.change).toBe('unchanged');
  });

  it('is told that rpm was not asked when the inventory was taken without the folder', async () => {
    const host = node();
    const inventory = { ...(await take(host)), rpmTest: null };
    const there = JSON.parse(await planThere(desk(inventory))) as Record<string, unknown>;
    expect(there).toMatchObject({ rpmTest: 'not tried', refusals: [] });
    const here = JSON.parse(await planHere(host)) as Record<string, unknown>;
    expect({ ...there, rpmTest: 0, refusals: 0 }).toEqual({ ...here, rpmTest: 0, refusals: 0 });
  });

  it('tells what would be lost to packages of another name; older inventories do not know', async () => {
    const host = node();
    const inventory = await take(host);
    const lost = 'gcc-4.8.5-28.el7.x86_64 obsoletes egcs-1-1.x86_64, which is installed and would be lost';
    const rpmTest = inventory.rpmTest === null ? null : { ...inventory.rpmTest, obsoletes: [lost] };
    const { refusals } = JSON.parse(await planThere(desk({ ...inventory, rpmTest }))) as PlanDocument;
    expect(refusals).toContain(lost);
    const old = { ...inventory, rpmTest: { ...inventory.rpmTest, obsoletes: undefined } };
    expect(await planThere(desk(old as unknown as Inventory))).toBe(await planHere(host));
  });

  it('of a bundle that nobody proved says so', async () => {
    const there = await planThere(desk(await take(node())), { unsigned: true, keys: [] });
    expect(JSON.parse(there)).toMatchObject({ signature: 'not checked', newKey: null });
    expect(there).toContain('NOT VERIFIED');
  });

  it('is refused with keys that the node does not trust, has removed, or finds too few', async () => {
    const taken = await take(node());
    const told = async (trust: Partial<Inventory['trust']>): Promise<string> =>
      planThere(desk({ ...taken, trust: { ...taken.trust, ...trust } }));
    const fingerprint = sha256Of('another key');
    const mine = Sha256.parse(key.fingerprint);
    expect(await told({ trusted: [fingerprint] })).toContain('0 of those that were given here');
    expect(await told({ trusted: [fingerprint, mine], signers: 2 })).toContain('1 of those that were given');
    expect(await told({ removed: [mine] })).toContain(`the node has removed the key ${key.keyId}`);
  });

  it('of a release below what was ever committed there is refused', async () => {
    const taken = await take(node());
    const floor = { small: { sequence: 5, digest: sha256Of('a later release') } };
    await expect(planThere(desk({ ...taken, floor }))).rejects.toMatchObject({
      code: 'SEQUENCE_LOWER',
      exit: 5,
    });
  });

  it('names what earlier installations left, as the node does', async () => {
    const host = node();
    const file = (at: string, component = 'hello') => ({
      component,
      path: at,
      mode: 0o644,
      sha256: sha256Of('old\n'),
    });
    const left = [
      '/etc/hello/old.conf',
      '/etc/systemd/system/old.service',
      '/usr/sbin/old',
      '/etc/older.conf',
    ];
    for (const at of left.slice(0, 3)) host.put(at, 'old\n');
    symlinkSync('/nowhere', path.join(host.root, '/etc/older.conf'));
    const receipt = {
      ...{
        airbundleReceipt: 1,
        run: null,
        digest: sha256Of(readFileSync(path.join(made.folder, `${made.stem}.sha256`))),
        keyId: key.keyId,
        node: 'n1',
        siteDigest: null,
      },
      ...{ committedAt: new Date(0).toISOString(), contents: made.contents, recipes: {}, links: [] },
      files: [file('/usr/sbin/old', 'another')],
      configured: [CONF, '/etc/hello/gone.conf', ...left.slice(0, 2)].map((at) => file(at)),
      dropped: left.slice(3),
      watched: { units: [], versions: [], vips: [], sockets: [] },
      rpms: { before: 0, after: 0, installed: [] },
    };
    host.put(target.receipt, JSON.stringify(receipt), 0o600);
    const here = await planHere(host);
    const notes = (JSON.parse(here) as PlanDocument).notes.filter((note) => note.includes('is left of'));
    const words = 'is left of an earlier installation and stays as it is: this one has nothing at its place';
    expect(notes).toEqual([
      `/etc/hello/old.conf ${words} (rm /etc/hello/old.conf)`,
      `/etc/older.conf ${words} (rm /etc/older.conf)`,
      `/etc/systemd/system/old.service ${words} (systemctl disable --now old.service && rm /etc/systemd/system/old.service && systemctl daemon-reload)`,
      `/usr/sbin/old ${words} (rm /usr/sbin/old)`,
    ]);
    expect(await planThere(desk(await take(host)))).toBe(here);
  });

  it('is made of an inventory of before accounts were asked about by name', async () => {
    const host = node();
    const inventory = await take(host);
    expect(inventory.asked.accounts).toEqual(expect.arrayContaining(['root']));
    const old = { ...inventory, asked: { ...inventory.asked, accounts: undefined } };
    expect(await planThere(desk(old))).toBe(await planHere(host));
    const other = { ...inventory, asked: { ...inventory.asked, accounts: [] } };
    await expect(planThere(desk(other))).rejects.toMatchObject({
      code: 'INVENTORY_LACKS',
      details: expect.arrayContaining(['accounts: root']) as string[],
    });
  });

  it('is not made of what the node was not asked', async () => {
    const inventory = await take(node(), { directory: undefined });
    expect(inventory).toMatchObject({ bundle: null, receipt: null, rpmTest: null });
    await expect(planThere(desk(inventory))).rejects.toMatchObject({
      code: 'INVENTORY_LACKS',
      exit: 3,
      details: expect.arrayContaining([`files: ${CONF}`, 'units: hello.service']) as string[],
    });
  });

  it('changes nothing on the node but its own empty folders', async () => {
    const host = node();
    const before = readFileSync(path.join(host.root, CONF), 'utf8');
    await take(host);
    expect(readFileSync(path.join(host.root, CONF), 'utf8')).toBe(before);
    expect(await host.list(target.stage)).toEqual([]);
    expect(await host.read(target.receipt)).toBeUndefined();
    expect(await host.read(target.journal)).toBeUndefined();
    expect(await host.list(target.trust)).toEqual([]);
    const changing = /^(?:systemctl (?!show)|useradd|firewall-cmd|sysctl|rpm -[iUe](?!.*--test))/;
    expect(host.commands.filter((command) => changing.test(command))).toEqual([]);
  });

  it('holds no secret, neither the old nor the new one, nor what they could be guessed from', async () => {
    const host = node();
    const text = formatInventory(await take(host));
    const old = readFileSync(path.join(host.root, CONF), 'utf8');
    for (const shown of [text, await planThere(desk(JSON.parse(text) as Inventory)), await planHere(host)])
      for (const secret of [SECRET, OLDER_SECRET, sha256Of(old)]) expect(shown).not.toContain(secret);
    expect(text).toContain(MASK);
    expect(text).toContain('keep this');
  });
});

describe('an inventory', () => {
  const one = (): Inventory => ({
    'airbundle-inventory': 1,
    takenAt: '2026-01-01T00:00:00.000Z',
    bundle: null,
    node: 'lb1',
    siteDigest: null,
    asked: {
      files: [],
      links: [],
      directories: [],
      present: [],
      texts: [],
      sysctl: [],
      units: [],
      owners: [],
    },
    facts: {
      os: { id: 'centos', release: '7.5.1804', name: 'CentOS' },
      arch: 'x86_64',
      cpus: 2,
      installed: ['bash 0 4.2.46 30.el7 x86_64'],
      users: { root: { uid: 0, gid: 0 } },
      groups: { root: 0 },
      files: { '/etc/x': { digest: 'a'.repeat(64), mode: 0o644, uid: 0, gid: 0 } },
      links: {},
      directories: { '/etc/x.d': { kind: 'directory', mode: 0o755, uid: 0, gid: 0 }, '/old': null },
      parents: { '/etc': { kind: 'directory', mode: 0o755, uid: 0, gid: 0 } },
      present: [],
      texts: {},
      sysctl: {},
      firewall: { firewalld: '', iptables: '' },
      units: {},
      owners: {},
      freeBytes: 1,
      mounts: [],
      noexec: [],
      readOnly: [],
      listening: ['*:22'],
      interfaces: { eth0: ['10.0.0.1/24'] },
      additions: ['/etc/x.d/own.conf'],
      edited: ['/etc/x'],
      selinux: 'none',
    },
    trust: { trusted: [], removed: [], signers: 1 },
    floor: {},
    receipt: null,
    unsettled: { begun: false, packages: [], displaced: [], added: [] },
    lacking: null,
    rpmTest: null,
  });
  const read = async (text: string): Promise<Inventory | BundleError> => {
    const host = rootedHost();
    host.put('/lb1.json', text);
    return readInventory(host, '/lb1.json').catch((error: unknown) => error as BundleError);
  };

  it('is read as it was written', async () => {
    expect(await read(formatInventory(one()))).toEqual(one());
    const words = fc.string({ maxLength: 30 }).filter((text) => text !== '__proto__');
    await fc.assert(
      fc.asyncProperty(fc.dictionary(words, words), fc.array(words), async (record, list) => {
        const written = one();
        const facts = { ...written.facts, links: record, texts: record, listening: list, owners: record };
        expect(await read(formatInventory({ ...written, facts }))).toEqual({ ...written, facts });
      }),
      { numRuns: 50 },
    );
  });

  it.each<[string, () => string]>([
    ['nothing', () => ''],
    ['no JSON', () => 'inventory'],
    ['another form', () => '{"airbundle-inventory":2}'],
    ['an unknown key', () => JSON.stringify({ ...one(), more: 1 })],
    [
      'a package that is none',
      () => JSON.stringify({ ...one(), facts: { ...one().facts, installed: ['bash'] } }),
    ],
    ['a digest that is none', () => formatInventory(one()).replace('a'.repeat(64), 'x')],
  ])('with %s is refused', async (_, text) => {
    expect(await read(text())).toMatchObject({ code: 'BAD_INVENTORY', exit: 3 });
  });

  it('that is not there, or too large, is refused unread', async () => {
    const host = rootedHost();
    host.put('/large.json', '');
    truncateSync(path.join(host.root, 'large.json'), 64 * 1024 * 1024);
    for (const at of ['/none.json', '/large.json'])
      await expect(readInventory(host, at)).rejects.toMatchObject({ code: 'BAD_INVENTORY', exit: 3 });
  });

  it('with anything in place of a part is read or refused, never something else', async () => {
    const keys = Object.keys(InventorySchema.shape);
    await fc.assert(
      fc.asyncProperty(fc.json(), fc.constantFrom(...keys), async (json, changed) => {
        const result = await read(JSON.stringify({ ...one(), [changed]: JSON.parse(json) as unknown }));
        if (result instanceof BundleError) expect(result).toMatchObject({ code: 'BAD_INVENTORY', exit: 3 });
      }),
      { numRuns: 50 },
    );
  });
});
