import type { Configuration } from '../../src/configure/types.js';
import type { Inventory } from '../../src/install/inventory-schema.js';
import { inventoryOf } from '../../src/install/inventory.js';
import type { PlanRequest } from '../../src/install/plan.js';
import type { Facts } from '../../src/install/probe.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import type { BundledRpm, Contents } from '../../src/model/contents.js';
import { ContentsSchema } from '../../src/model/contents.js';
import type { Nevra } from '../../src/model/nevra.js';
import { member, target } from '../../src/model/layout.js';
import { bundledRpm, helloComponent, sha256Of } from './bundle.js';

/** "name-[epoch:]version-release.arch" → its parts. */
export function nevra(text: string): Nevra {
  const match = /^(.+)-(?:(\d+):)?([^-:]+)-([^-]+)\.([^.]+)$/.exec(text);
  if (match === null) throw new TypeError(`not a NEVRA: ${text}`);
  const [, name = '', epoch = '0', version = '', release = '', arch = ''] = match;
  return { name, epoch: Number(epoch), version, release, arch };
}

export const rpm = (text: string): BundledRpm =>
  bundledRpm(nevra(text), `rpms/${text.replace(':', '_')}.rpm`);

export function someContents(given: Partial<Contents> = {}): Contents {
  const component = helloComponent();
  const held = (path: string): unknown => ({ path, mode: 0o644, sizeBytes: 1, sha256: sha256Of(path) });
  const rpms = given.rpms ?? [];
  return ContentsSchema.parse({
    airbundle: 1,
    name: 'small',
    version: '1.0.0',
    sequence: 1,
    description: '',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: [member.runtime, member.installer, component.source.path, ...rpms.map((one) => one.path)].map(
      held,
    ),
    rpms,
    components: [component],
    collector: { image: 'test', contextSha256: null },
    runtime: { path: member.runtime, origin: 'test', version: '16.20.2' },
    ...given,
  });
}

/** A node as the probe sees it: CentOS 7.5, nothing of ours on it. */
export function someFacts(given: Partial<Facts> = {}): Facts {
  return {
    os: { id: 'centos', release: '7.5.1804', name: 'CentOS Linux 7 (Core)' },
    arch: 'x86_64',
    cpus: 2,
    installed: [],
    users: new Map([['root', { uid: 0, gid: 0 }]]),
    groups: new Map([['root', 0]]),
    files: new Map(),
    links: new Map(),
    directories: new Map(),
    parents: new Map(),
    texts: new Map(),
    sysctl: new Map(),
    firewall: { firewalld: '', iptables: '' },
    units: new Map(),
    owners: new Map(),
    freeBytes: 10 * 1024 ** 3,
    mounts: [{ point: '/', options: ['rw'] }],
    noexec: [],
    readOnly: [],
    listening: new Set(),
    interfaces: new Map([['eth0', ['10.0.0.11/24']]]),
    additions: [],
    edited: new Set(),
    present: new Set(),
    selinux: 'none',
    ...given,
  };
}

export const NO_CONFIGURATION: Configuration = {
  users: [],
  directories: [],
  files: [],
  refreshes: [],
  services: [],
  checks: [],
  status: { versions: [], vips: [], sockets: [] },
  required: [],
  addresses: [],
  firewall: [],
  firewallKind: 'auto',
};

/** One service with a unit, a configuration file, a port and a VIP. */
export function someConfiguration(given: Partial<Configuration> = {}): Configuration {
  const file = (path: string, content: string) => ({
    component: 'hello',
    path,
    mode: 0o644,
    owner: 'root',
    group: 'root',
    content,
    secret: false,
  });
  return {
    users: [{ component: 'hello', name: 'hello', home: '/var/lib/hello', shell: '/sbin/nologin' }],
    directories: [
      { component: 'hello', path: '/etc/hello', mode: 0o755, owner: 'root', group: 'root', shared: false },
    ],
    files: [file('/etc/hello/hello.conf', 'a=1\n'), file('/etc/systemd/system/hello.service', '[Unit]\n')],
    refreshes: [
      {
        component: 'hello',
        id: 'sysctl',
        argv: ['sysctl', '-p', '/etc/hello/hello.conf'],
        files: ['/etc/hello/hello.conf'],
        timeoutMs: 1000,
        onFailure: 'fail',
      },
    ],
    services: [
      {
        component: 'hello',
        unit: 'hello.service',
        unitFile: '/etc/systemd/system/hello.service',
        restartOn: [],
        reloadOn: ['/etc/hello/hello.conf'],
      },
    ],
    checks: [
      {
        component: 'hello',
        id: 'hello.port',
        kind: 'listen',
        address: '10.0.0.100',
        port: 5000,
        timeoutMs: 100,
      },
    ],
    status: {
      versions: [],
      vips: [{ name: 'tts', address: '10.0.0.100', prefixLength: 24, interface: 'eth0' }],
      sockets: [],
    },
    required: [],
    addresses: [],
    firewall: [],
    firewallKind: 'auto',
    ...given,
  };
}

export function planRequest(given: Partial<PlanRequest> = {}): PlanRequest {
  return {
    contents: someContents(),
    digest: 'd'.repeat(64),
    node: null,
    siteDigest: null,
    configuration: NO_CONFIGURATION,
    facts: someFacts(),
    receipt: undefined,
    unsettled: NOTHING_UNSETTLED,
    newKey: undefined,
    allow: { upgrade: false, protectedNames: [], takeOver: false },
    build: { way: undefined, keepPackages: false },
    runPackages: undefined,
    addedBefore: [],
    ...given,
  };
}

/** The facts of a node on which the request's plan was carried out. */
export function factsAfter({ contents, configuration, facts }: PlanRequest, commandSha256: string): Facts {
  const state = (sha256: string, mode: number) => ({ sha256, mode, uid: 0, gid: 0 });
  const heldSha = (path: string): string => contents.members.find((one) => one.path === path)?.sha256 ?? '';
  return {
    ...facts,
    installed: [...facts.installed, ...contents.rpms.map((one) => one.nevra)],
    users: new Map([
      ...facts.users,
      ...configuration.users.map((user): [string, { uid: number; gid: number }] => [
        user.name,
        { uid: 990, gid: 990 },
      ]),
    ]),
    groups: new Map([
      ...facts.groups,
      ...configuration.users.map((user): [string, number] => [user.name, 990]),
    ]),
    directories: new Map(
      configuration.directories.map((one) => [
        one.path,
        { kind: 'directory' as const, mode: one.mode, uid: 0, gid: 0 },
      ]),
    ),
    files: new Map([
      [target.runtime, state(heldSha(member.runtime), 0o755)],
      [target.installer, state(heldSha(member.installer), 0o644)],
      [target.command, state(commandSha256, 0o755)],
      ['/usr/local/bin/hello', state(sha256Of('hello'), 0o755)],
      ...configuration.files.map((file): [string, ReturnType<typeof state>] => [
        file.path,
        state(sha256Of(file.content), file.mode),
      ]),
    ]),
    links: new Map([[target.commandAlias, target.command]]),
    units: new Map(
      configuration.services.map((one) => [
        one.unit,
        { active: 'active', enabled: 'enabled', fragment: one.unitFile },
      ]),
    ),
    listening: new Set(['10.0.0.100:5000']),
  };
}

/** Of a node on which nothing is installed, taken without a bundle. */
export function someInventory(): Inventory {
  return inventoryOf({
    date: new Date('2026-01-01T00:00:00Z'),
    bundle: null,
    node: 'lb1',
    siteDigest: null,
    asked: {
      files: [],
      links: [],
      directories: [],
      parents: [],
      present: [],
      texts: [],
      sysctl: [],
      units: [],
      owners: [],
      accounts: [],
    },
    facts: someFacts(),
    configuration: NO_CONFIGURATION,
    secrets: [],
    trust: { trusted: [], removed: [], signers: 1 },
    floor: new Map(),
    receipt: undefined,
    unsettled: NOTHING_UNSETTLED,
    addedBefore: [],
    lacking: undefined,
    trial: undefined,
  });
}
