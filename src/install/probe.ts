import { cpus } from 'node:os';
import type { Configuration } from '../configure/types.js';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import type { Nevra } from '../model/nevra.js';
import { byCodePoint } from '../model/nevra.js';
import { target } from '../model/layout.js';
import { BUILD_UIDS } from './build-uids.js';
import { mayBeDropped } from './dropped.js';
import type { FolderState } from './folders.js';
import { parentsOf } from './folders.js';
import type { Receipt } from './receipt.js';
import { installedPackages, ownersOf } from './rpm.js';
import { settingPath, settingsIn } from './sysctl-settings.js';

export interface FileState {
  readonly sha256: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface UnitState {
  readonly active: string;
  readonly enabled: string;
  /** Where the unit comes from; "" when systemd knows none. */
  readonly fragment: string;
}

/** What systemd says of each; "" when it knows no such unit. Nothing is asked of the firewall itself. */
export interface FirewallState {
  readonly firewalld: string;
  readonly iptables: string;
}

export interface Mount {
  readonly point: string;
  readonly options: readonly string[];
}

/** What was read from the node before anything is planned. */
export interface Facts {
  readonly os: { readonly id: string; readonly release: string; readonly name: string };
  readonly arch: string;
  readonly cpus: number;
  readonly installed: readonly Nevra[];
  /** Account → numeric ids: the local ones, those asked for, and whoever has a number that builds run as. */
  readonly users: ReadonlyMap<string, { readonly uid: number; readonly gid: number }>;
  readonly groups: ReadonlyMap<string, number>;
  /** Paths that are read for comparison; absent from the map: there is no regular file. */
  readonly files: ReadonlyMap<string, FileState>;
  /** Symbolic links among the paths asked for → their realpath. */
  readonly links: ReadonlyMap<string, string>;
  /** What stands at the places of declared folders; null: an inventory that does not know more than that. */
  readonly directories: ReadonlyMap<string, FolderState | null>;
  /** The same of the folders above them. */
  readonly parents: ReadonlyMap<string, FolderState>;
  /** Of the files that others put on a node, and of those that may be left of earlier installations, those that are there. */
  readonly present: ReadonlySet<string>;
  /** Configuration files that are there, as far as they are small and text. */
  readonly texts: ReadonlyMap<string, string>;
  /** Kernel setting → its value; absent from the map: this kernel has none. */
  readonly sysctl: ReadonlyMap<string, string>;
  readonly firewall: FirewallState;
  readonly units: ReadonlyMap<string, UnitState>;
  /** Path → name of the package that owns it. */
  readonly owners: ReadonlyMap<string, string>;
  readonly freeBytes: number;
  /** Those that hold a place that this run would write to. */
  readonly mounts: readonly Mount[];
  /** Mount points with noexec that programs of this run would run from. */
  readonly noexec: readonly string[];
  /** Mount points mounted read-only that this run would write to. */
  readonly readOnly: readonly string[];
  /** Local TCP listeners, "address:port"; "*" for every address. */
  readonly listening: ReadonlySet<string>;
  /** Interface → its IPv4 addresses, each with its prefix length: "10.20.0.11/24". */
  readonly interfaces: ReadonlyMap<string, readonly string[]>;
  /** What an operator has added beside the configuration: paths. */
  readonly additions: readonly string[];
  /** Configuration files that are not as the last installation wrote them. */
  readonly edited: ReadonlySet<string>;
  readonly selinux: string;
}

export interface ProbeRequest {
  readonly configuration: Configuration;
  readonly receipt: Receipt | undefined;
  /** Of the bundle; undefined when there is none at hand. */
  readonly contents: Pick<Contents, 'components'> | undefined;
}

/** What a node is asked about, beyond what every node is. */
export interface Questions {
  readonly files: readonly string[];
  readonly links: readonly string[];
  readonly directories: readonly string[];
  /** The folders above those. */
  readonly parents: readonly string[];
  readonly present: readonly string[];
  readonly texts: readonly string[];
  readonly sysctl: readonly string[];
  readonly units: readonly string[];
  readonly owners: readonly string[];
  /** Names of users and groups. */
  readonly accounts: readonly string[];
}

/** Larger files are compared by their digest alone. */
const MAX_TEXT_BYTES = 256 * 1024;

/** Pure: everything that a plan for this bundle, site and state looks up in the facts. */
export function questionsOf({ configuration, receipt, contents }: ProbeRequest): Questions {
  const configured = configuration.files.map((file) => file.path);
  const components = contents?.components ?? [];
  return {
    files: sorted([
      target.command,
      target.runtime,
      target.installer,
      target.deploy,
      target.commandAlias,
      ...configured,
      ...components.flatMap((component) => component.files.filter(isExact)),
      ...(receipt?.files.map((file) => file.path) ?? []),
    ]),
    links: sorted([
      target.commandAlias,
      ...components.flatMap((component) => component.links.map((link) => link.path)),
      ...(receipt?.links.map((link) => link.path) ?? []),
    ]),
    directories: sorted(configuration.directories.map((directory) => directory.path)),
    parents: sorted(parentsOf(configuration)),
    present: sorted([...configuration.required.map(({ path }) => path), ...mayBeDropped(receipt, contents)]),
    texts: sorted(configured),
    sysctl: sorted(configuration.files.flatMap(settingsIn).map(({ key }) => key)),
    units: sorted(configuration.services.map((service) => service.unit)),
    owners: sorted(configured),
    accounts: sorted([
      ...configuration.users.map(({ name }) => name),
      ...[...configuration.files, ...configuration.directories].flatMap(({ owner, group }) => [owner, group]),
    ]),
  };
}

/** Whether a component's declared file is a path, not a pattern. */
export function isExact(declared: string): boolean {
  return !/[*?[\]{}!()]/.test(declared);
}

function sorted(values: readonly string[]): string[] {
  return [...new Set(values)].sort(byCodePoint);
}

/** Where this run writes. */
const PLACES: readonly string[] = [target.state, '/usr/local/sbin', target.libexec, '/etc'];

/** Reads everything that the plan depends on; changes nothing. */
export async function probe(host: Host, request: ProbeRequest): Promise<Facts> {
  const asked = questionsOf(request);
  const [
    os,
    arch,
    installed,
    users,
    groups,
    files,
    links,
    directories,
    parents,
    present,
    texts,
    sysctl,
    firewall,
    unitStates,
    owners,
    mounts,
    free,
    listening,
    interfaces,
    additions,
    selinux,
  ] = await Promise.all([
    readOs(host),
    host.run(['uname', '-m']).then((result) => result.stdout.trim()),
    installedPackages(host),
    readUsers(host, asked.accounts),
    readGroups(host, asked.accounts),
    readFiles(host, asked.files),
    readLinks(host, asked.links),
    readFolders(host, asked.directories),
    readFolders(host, asked.parents),
    readPresent(host, asked.present, request.configuration),
    readTexts(host, asked.texts),
    readSettings(host, asked.sysctl),
    readFirewall(host),
    readUnits(host, asked.units),
    ownersOf(host, asked.owners),
    host.read('/proc/self/mounts').then((bytes) => parseMounts(bytes?.toString('utf8') ?? '')),
    freeBytes(host),
    readListening(host),
    readInterfaces(host),
    readAdditions(host, request.configuration),
    host.run(['getenforce']).then((result) => (result.exitCode === 0 ? result.stdout.trim() : 'none')),
  ]);
  const holds = (path: string, option: string): string[] => {
    const mount = mountOf(mounts, path);
    return mount?.options.includes(option) === true ? [mount.point] : [];
  };
  const unique = (list: string[]): string[] => [...new Set(list)].sort();
  return {
    os,
    arch,
    cpus: cpus().length,
    installed,
    users,
    groups,
    files,
    links,
    directories,
    parents,
    present,
    texts,
    sysctl,
    firewall,
    units: unitStates,
    owners,
    freeBytes: free,
    mounts: PLACES.flatMap((path) => mountOf(mounts, path) ?? []).filter(
      (mount, index, all) => all.findIndex((other) => other.point === mount.point) === index,
    ),
    listening,
    interfaces,
    additions,
    edited: editedIn(files, request.receipt),
    selinux,
    noexec: unique(
      [target.state, '/usr/local/sbin', target.libexec].flatMap((path) => holds(path, 'noexec')),
    ),
    readOnly: unique(PLACES.flatMap((path) => holds(path, 'ro'))),
  };
}

function editedIn(files: ReadonlyMap<string, FileState>, receipt: Receipt | undefined): Set<string> {
  const written = receipt?.configured ?? [];
  return new Set(
    written.flatMap(({ path, sha256 }) => {
      const there = files.get(path);
      return there === undefined || there.sha256 === sha256 ? [] : [path];
    }),
  );
}

async function readOs(host: Host): Promise<Facts['os']> {
  const text = (await host.read('/etc/os-release'))?.toString('utf8') ?? '';
  const field = (name: string): string =>
    new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1]?.replace(/^["']|["']$/g, '') ?? '';
  const full = (await host.read('/etc/centos-release')) ?? (await host.read('/etc/redhat-release'));
  const release = /release ([0-9][0-9.]*)/.exec(full?.toString('utf8') ?? '')?.[1];
  return { id: field('ID'), release: release ?? field('VERSION_ID'), name: field('PRETTY_NAME') };
}

async function readUsers(
  host: Host,
  names: readonly string[],
): Promise<Map<string, { uid: number; gid: number }>> {
  return new Map(
    (await accountLines(host, 'passwd', names)).flatMap(([name, , uid, gid]) =>
      isName(name) && isNumber(uid) && isNumber(gid) ? [[name, { uid: Number(uid), gid: Number(gid) }]] : [],
    ),
  );
}

async function readGroups(host: Host, names: readonly string[]): Promise<Map<string, number>> {
  return new Map(
    (await accountLines(host, 'group', names)).flatMap(([name, , gid]) =>
      isName(name) && isNumber(gid) ? [[name, Number(gid)]] : [],
    ),
  );
}

const isName = (field: string | undefined): field is string => field !== undefined && field !== '';
const isNumber = (field: string | undefined): boolean => /^\d+$/.test(field ?? '');

/** A directory service that is down may keep a question waiting for minutes. */
const ACCOUNTS_MS = 30_000;
const BUILD_IDS = Array.from({ length: BUILD_UIDS.last - BUILD_UIDS.first + 1 }, (_, index) =>
  String(BUILD_UIDS.first + index),
);

/**
 * The local ones, and by their keys the names that are given and the numbers that builds run as: a directory
 * service (SSSD, LDAP) tells of an account when it is asked for that one, and as a rule lists none (enumerate=false).
 * @throws BundleError exit 5 when the service does not answer
 */
async function accountLines(
  host: Host,
  database: 'passwd' | 'group',
  names: readonly string[],
): Promise<string[][]> {
  const local = (await host.read(`/etc/${database}`))?.toString('utf8') ?? '';
  // Exit code 2: some of them are nobody's.
  const asked = await host.run(['getent', database, ...names, ...BUILD_IDS], { timeoutMs: ACCOUNTS_MS });
  if (asked.timedOut)
    throw refusedError({
      code: 'PLAN_REFUSED',
      message:
        "this node's directory of accounts does not answer: no plan can be made, and nothing was changed",
      where: '/etc/nsswitch.conf',
      details: [`getent ${database} did not end within ${String(ACCOUNTS_MS / 1000)} s`],
      hint: `Let it answer (systemctl status sssd nslcd), or take it out of that file while it is down; time getent ${database} ${names[0] ?? 'root'} tells. Then run the same command again.`,
    });
  return `${local}\n${asked.stdout}`.split('\n').map((line) => line.split(':'));
}

export async function readFiles(host: Host, paths: readonly string[]): Promise<Map<string, FileState>> {
  const entries = await Promise.all(
    [...new Set(paths)].map(async (path): Promise<[string, FileState][]> => {
      const facts = await host.lstat(path);
      if (facts?.kind !== 'file') return [];
      const sha256 = await host.sha256(path);
      return sha256 === undefined
        ? []
        : [[path, { sha256, mode: facts.mode, uid: facts.uid, gid: facts.gid }]];
    }),
  );
  return new Map(entries.flat());
}

async function readLinks(host: Host, paths: readonly string[]): Promise<Map<string, string>> {
  const entries = await Promise.all(
    paths.map(async (path): Promise<[string, string][]> => {
      if ((await host.lstat(path))?.kind !== 'link') return [];
      // As it was written: what it leads to may be a link of the system in its turn.
      return [[path, (await host.readlink(path)) ?? '']];
    }),
  );
  return new Map(entries.flat());
}

/** What is required has to lead somewhere; of what an earlier installation left, a link that leads nowhere is there. */
async function readPresent(
  host: Host,
  paths: readonly string[],
  { required }: Configuration,
): Promise<Set<string>> {
  const leading = new Set(required.map(({ path }) => path));
  const there = await Promise.all(
    paths.map(async (path) => {
      const found = await (leading.has(path) ? host.realpath(path) : host.lstat(path));
      return found === undefined ? [] : [path];
    }),
  );
  return new Set(there.flat());
}

async function readFolders(host: Host, paths: readonly string[]): Promise<Map<string, FolderState>> {
  const entries = await Promise.all(
    paths.map(async (path): Promise<[string, FolderState][]> => {
      // A folder that a link leads to serves as well. A link that leads nowhere is there, and is none.
      const facts = await host.lstat((await host.realpath(path)) ?? path);
      if (facts === undefined) return [];
      const { kind, mode, uid, gid } = facts;
      return [[path, { kind, mode, uid, gid }]];
    }),
  );
  return new Map(entries.flat());
}

/** The files of each folder that a program loads besides ours: `FOLDER/*.EXTENSION`. */
async function readAdditions(host: Host, { files }: Configuration): Promise<string[]> {
  const found = await Promise.all(
    files.flatMap(({ additions }) => {
      if (additions === undefined) return [];
      const [folder = '', extension = ''] = additions.split('/*');
      return [
        host
          .list(folder)
          .then((names) =>
            names
              .filter((name) => name.endsWith(extension) && !name.startsWith('.'))
              .map((name) => `${folder}/${name}`),
          ),
      ];
    }),
  );
  return sorted(found.flat());
}

async function readTexts(host: Host, paths: readonly string[]): Promise<Map<string, string>> {
  const entries = await Promise.all(
    paths.map(async (path): Promise<[string, string][]> => {
      const facts = await host.lstat(path);
      if (facts?.kind !== 'file' || facts.sizeBytes > MAX_TEXT_BYTES) return [];
      const bytes = await host.read(path);
      const text = bytes?.toString('utf8') ?? '';
      return bytes === undefined || text.includes('\0') || !Buffer.from(text).equals(bytes)
        ? []
        : [[path, text]];
    }),
  );
  return new Map(entries.flat());
}

async function readSettings(host: Host, keys: readonly string[]): Promise<Map<string, string>> {
  const entries = await Promise.all(
    keys.map(async (key): Promise<[string, string][]> => {
      const bytes = await host.read(settingPath(key)).catch(() => undefined);
      return bytes === undefined ? [] : [[key, bytes.toString('utf8').trim().replace(/\s+/g, ' ')]];
    }),
  );
  return new Map(entries.flat());
}

async function readFirewall(host: Host): Promise<FirewallState> {
  const units = await readUnits(host, ['firewalld.service', 'iptables.service']);
  const state = (unit: string): string => {
    const { active = '', fragment = '' } = units.get(unit) ?? {};
    return fragment === '' && active !== 'active' ? '' : active;
  };
  return { firewalld: state('firewalld.service'), iptables: state('iptables.service') };
}

export async function readUnits(host: Host, units: readonly string[]): Promise<Map<string, UnitState>> {
  const entries = await Promise.all(
    units.map(async (unit): Promise<[string, UnitState]> => {
      const shown = await host.run([
        'systemctl',
        'show',
        '-p',
        'ActiveState',
        '-p',
        'UnitFileState',
        '-p',
        'FragmentPath',
        unit,
      ]);
      const field = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(shown.stdout)?.[1] ?? '';
      return [
        unit,
        { active: field('ActiveState'), enabled: field('UnitFileState'), fragment: field('FragmentPath') },
      ];
    }),
  );
  return new Map(entries);
}

function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => {
    const [, point, , options] = line.split(' ');
    return point === undefined || options === undefined
      ? []
      : [{ point: point.replaceAll('\\040', ' '), options: options.split(',') }];
  });
}

/** The last mount whose point is the path or above it. */
function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  return mounts
    .filter(({ point }) => point === '/' || path === point || path.startsWith(`${point}/`))
    .sort((a, b) => a.point.length - b.point.length)
    .pop();
}

/** Free bytes for root where the stage and the build are. */
async function freeBytes(host: Host): Promise<number> {
  for (const path of [target.state, '/var/lib', '/']) {
    const result = await host.run(['df', '-Pk', path]);
    const kilobytes = /\s(\d+)\s+\d+%\s/.exec(result.stdout.split('\n')[1] ?? '')?.[1];
    if (result.exitCode === 0 && kilobytes !== undefined) return Number(kilobytes) * 1024;
  }
  return Number.MAX_SAFE_INTEGER;
}

/** /proc/net/tcp: state 0A is LISTEN; IPv4 addresses are little-endian hex. */
async function readListening(host: Host): Promise<Set<string>> {
  const four = parseListeners((await host.read('/proc/net/tcp'))?.toString('utf8') ?? '');
  const six = parseListeners((await host.read('/proc/net/tcp6'))?.toString('utf8') ?? '');
  return new Set([...four, ...six]);
}

export function parseListeners(table: string): string[] {
  return table.split('\n').flatMap((line) => {
    const match = /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) return [];
    return [`${addressOf(match[1])}:${String(parseInt(match[2], 16))}`];
  });
}

function addressOf(hex: string): string {
  if (/^0+$/.test(hex)) return '*';
  if (hex.length !== 8) return `[${hex}]`;
  return [6, 4, 2, 0].map((at) => String(parseInt(hex.slice(at, at + 2), 16))).join('.');
}

async function readInterfaces(host: Host): Promise<Map<string, string[]>> {
  const result = await host.run(['ip', '-o', 'addr', 'show']);
  const interfaces = new Map<string, string[]>();
  for (const name of await host.list('/sys/class/net')) interfaces.set(name, []);
  for (const line of result.stdout.split('\n')) {
    const match = /^\d+: ([^\s@]+)\s+inet ([0-9.]+(?:\/\d+)?)/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined)
      interfaces.set(match[1], [...(interfaces.get(match[1]) ?? []), match[2]]);
  }
  return interfaces;
}
