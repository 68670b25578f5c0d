/*
 * What a node looks like, and the states of it that were kept: files, packages, units, what the service answers.
 * Runs on the node, as a part of driver.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import type { Documents } from './documents.js';
import { documentDifferences } from './documents.js';
import type { Subject } from './protocol.js';
import type { State } from './state.js';
import { differences, digestOf } from './state.js';

export const HOME = '/opt/faults';
export const KEPT = `${HOME}/kept`;
export const RPMDB = '/var/lib/rpm';
export const SOCKET = '/run/mini.sock';
const NOT_OURS = new Set([HOME, '/etc/mtab', '/etc/resolv.conf', '/etc/hosts', '/etc/hostname']);
const MINIATURE: Subject = {
  units: ['mini.service'],
  packages: ['mini-lib', 'mini-extra'],
  folders: ['/var/lib/mini', '/var/lib/mini-data'],
  differing: [],
  answers: true,
};
export const SUBJECT = fs.existsSync(`${HOME}/subject.json`)
  ? (JSON.parse(fs.readFileSync(`${HOME}/subject.json`, 'utf8')) as Subject)
  : MINIATURE;
const NOT_LOOKED_AT = SUBJECT.differing.map((pattern) => new RegExp(pattern));
const ROOTS = ['/etc', '/usr', '/opt', '/var/lib/airbundle', ...SUBJECT.folders];
const SEEN = `${HOME}/seen.json`;

/** A file of a node: what `find` says of it, and its entry in the state. */
interface Seen {
  readonly facts: string;
  readonly entry: string;
}
/** By path. What `find` says tells inode, size and times, which a change cannot keep; from one start to the next. */
const seen = new Map<string, Seen>(
  fs.existsSync(SEEN) ? (JSON.parse(fs.readFileSync(SEEN, 'utf8')) as [string, Seen][]) : [],
);

export const DOCUMENT = /^\/var\/lib\/airbundle\/(?:receipt\.json|backup\/[^/]+\/undo\.json)$/;

/** What is different in every run by its nature is left out: times and run ids of receipts, the day in /etc/shadow. */
function contentOf(path: string): Buffer | string {
  const bytes = fs.readFileSync(path);
  if (DOCUMENT.test(path)) return withoutRun(bytes.toString('utf8'));
  if (/^\/etc\/shadow-?$/.test(path)) return bytes.toString('utf8').replace(/^([^:]*:[^:]*):\d*/gm, '$1:');
  return bytes;
}

function withoutRun(text: string): string {
  return text
    .replace(/\b\d{8}T\d{6}Z-\d+\b/g, 'RUN')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME');
}

/** kind, mode, owner; then what tells one content from another; then where a link leads to. */
const FACTS = '%p\\0%y %m %U:%G\\0%D %i %s %T@ %C@\\0%l\\0';

function entryOf(path: string, owner: string, link: string): string {
  const [kind = '', ...rest] = owner.split(' ');
  const who = rest.join(' ');
  if (kind === 'l') return `link ${who} ${link}`;
  if (kind === 'd') return `directory ${who}`;
  if (kind !== 'f') return `special ${who}`;
  return `file ${who} ${createHash('sha256').update(contentOf(path)).digest('hex')}`;
}

/** One program looks at all of them: a node has 7000, and most of a case's time would be spent here otherwise. */
export function files(): State {
  const state = new Map<string, string>();
  const skipped = [...NOT_OURS].flatMap((path) => ['-o', '-path', path]).slice(1);
  const roots = ROOTS.filter((root) => fs.existsSync(root));
  const listed = spawnSync('find', [...roots, '(', ...skipped, ')', '-prune', '-o', '-printf', FACTS], {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
  });
  // What is removed meanwhile is not there.
  const problems = listed.stderr.split('\n').filter((line) => line !== '' && !line.includes('No such file'));
  if (problems.length > 0) throw new Error(`find: ${problems.slice(0, 3).join('; ')}`);
  const words = listed.stdout.split('\0');
  for (let at = 0; at + 3 < words.length; at += 4) {
    const [path = '', owner = '', content = '', link = ''] = words.slice(at, at + 4);
    if (NOT_LOOKED_AT.some((pattern) => pattern.test(path))) continue;
    const facts = `${owner} ${content} ${link}`;
    const known = seen.get(path);
    if (known?.facts === facts) state.set(path, known.entry);
    else
      try {
        const entry = entryOf(path, owner, link);
        seen.set(path, { facts, entry });
        state.set(path, entry);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
  }
  return state;
}

/** Journals, logs and audit records tell of each run, and backups are named by it: they are no part of the state. */
function withoutHistory(state: State): Map<string, string> {
  const kept = new Map<string, string>();
  for (const [path, entry] of state) {
    if (!path.startsWith('/var/lib/airbundle/')) {
      kept.set(path, entry);
      continue;
    }
    if (/^\/var\/lib\/airbundle\/(?:journal\.ndjson|receipts|\.journal)/.test(path)) continue;
    const backup = /^\/var\/lib\/airbundle\/backup\/([^/]+)(\/.*)?$/.exec(path);
    if (backup === null) kept.set(path, entry);
    else if (backup[2] !== undefined && entry.startsWith('file'))
      kept.set(`/var/lib/airbundle/backup/RUN${backup[2]} ${entry}`, 'kept');
  }
  return kept;
}

/** The documents among these files, to say where they differ. */
export function documentsIn(paths: Iterable<string>): Documents {
  return [...paths]
    .filter((path) => DOCUMENT.test(path))
    .sort()
    .map((path) => [
      path.replace(/\/backup\/[^/]+\//, '/backup/RUN/'),
      withoutRun(fs.readFileSync(path, 'utf8')),
    ]);
}

const output = (file: string, args: readonly string[]): string =>
  spawnSync(file, args, { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } })
    .stdout;

export function ask(): Promise<string> {
  return new Promise((resolve) => {
    const client = connect(SOCKET);
    let text = '';
    client.setTimeout(1000, () => client.destroy());
    client.on('error', () => undefined);
    client.on('data', (piece) => (text += piece.toString('utf8')));
    client.on('close', () => {
      resolve(text.trim() === '' ? '-' : text.trim());
    });
  });
}

export async function lookAround(): Promise<State> {
  const state = withoutHistory(files());
  const packages = output('rpm', [
    '-qa',
    '--qf',
    '%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n',
  ]).split('\n');
  for (const nevra of packages.filter(Boolean).sort())
    state.set(`rpm ${nevra}`, `${(Number(state.get(`rpm ${nevra}`)) || 0) + 1}`);
  const named = new Set(packages.map((name) => name.replace(/-\d+:.*/, '')));
  const ours = SUBJECT.packages.filter((name) => named.has(name));
  state.set('rpm -V', ours.length === 0 ? '' : output('rpm', ['-V', ...ours]));
  for (const unit of SUBJECT.units) {
    const shown = output('systemctl', ['show', '-p', 'ActiveState,SubState,UnitFileState,LoadState', unit]);
    state.set(`unit ${unit}`, shown.trim().split('\n').sort().join(' '));
  }
  if (SUBJECT.answers) state.set('answer', await ask());
  return state;
}

const readKept = (name: string, which: 'files' | 'state' | 'documents'): [string, string][] =>
  JSON.parse(fs.readFileSync(`${KEPT}/${name}/${which}.json`, 'utf8')) as [string, string][];
const read = new Map<string, State>();
export function readState(name: string, which: 'files' | 'state'): State {
  const key = `${name}/${which}`;
  const state = read.get(key) ?? new Map(readKept(name, which));
  read.set(key, state);
  return state;
}

/** Against the end of an unbroken run: paths, and where documents differ. */
export function differencesToEnd(name: string, state: State): string[] {
  if (!fs.existsSync(`${KEPT}/${name}`)) return [];
  const found = differences(readState(name, 'state'), state);
  return found.length === 0
    ? []
    : [...found, ...documentDifferences(readKept(name, 'documents'), documentsIn(files().keys()))];
}

const pack = (archive: string, paths: readonly string[]): void => {
  execFileSync('tar', ['-C', '/', '-cf', archive, ...paths.map((path) => `.${path}`)]);
};

export async function keep(name: string): Promise<string> {
  const folder = `${KEPT}/${name}`;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  // Of /usr, only where something of ours may ever be changed: the rest is compared, and never restored.
  const copied = [
    ...ROOTS.filter((path) => path !== '/opt' && path !== '/usr'),
    ...['/usr/local', '/usr/sbin', '/usr/libexec', '/usr/share/mini-lib', '/usr/share/mini-extra'],
    '/usr/bin/rpm',
  ].filter((path) => fs.existsSync(path));
  // In archives: a tree of copies would hold files of accounts that a rollback asks after.
  pack(`${folder}/root.tar`, copied);
  pack(`${folder}/rpmdb.tar`, [RPMDB]);
  const state = await lookAround();
  const all = files();
  fs.writeFileSync(`${folder}/files.json`, JSON.stringify([...all]));
  fs.writeFileSync(`${folder}/state.json`, JSON.stringify([...state]));
  fs.writeFileSync(`${folder}/documents.json`, JSON.stringify(documentsIn(all.keys())));
  return digestOf(state);
}

/** Of what was looked at, for the next start of the driver. */
export function rememberSeen(): void {
  fs.writeFileSync(SEEN, JSON.stringify([...seen]));
}
