/*
 * Runs on a node, by the Node 16 that the test has put there: brings the node into a known state, breaks a
 * command as asked, types it again, and says what the node looks like. Nothing here knows how the product
 * works inside: commands, files, exit codes.
 *   driver.cjs keep NAME      remembers the node as it is
 *   driver.cjs look           prints the node's state (a Look)
 *   driver.cjs strike         a command and what goes wrong with it on stdin (a Strike), an Attempt on stdout
 *   driver.cjs run            cases on stdin (one JSON array), one CaseResult a line
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import type { Documents } from './documents.js';
import { documentDifferences } from './documents.js';
import type { Attempt, Case, CaseResult, Fault, Look, Strike, Subject } from './protocol.js';
import type { State } from './state.js';
import { differences, digestOf } from './state.js';

const HOME = '/opt/faults';
const KEPT = `${HOME}/kept`;
const FAULT = `${HOME}/fault`;
const FIRED = `${HOME}/fired`;
const RPMDB = '/var/lib/rpm';
const SOCKET = '/run/mini.sock';
const NOT_OURS = new Set([HOME, '/etc/mtab', '/etc/resolv.conf', '/etc/hosts', '/etc/hostname']);
const MINIATURE: Subject = {
  units: ['mini.service'],
  packages: ['mini-lib', 'mini-extra'],
  folders: ['/var/lib/mini', '/var/lib/mini-data'],
  differing: [],
  answers: true,
};
const SUBJECT = fs.existsSync(`${HOME}/subject.json`)
  ? (JSON.parse(fs.readFileSync(`${HOME}/subject.json`, 'utf8')) as Subject)
  : MINIATURE;
const NOT_LOOKED_AT = SUBJECT.differing.map((pattern) => new RegExp(pattern));
const ROOTS = ['/etc', '/usr', '/opt', '/var/lib/airbundle', ...SUBJECT.folders];
const COMMAND_MS = 5 * 60_000;
/** Until a service that was started for a case answers; on a busy machine it took more than 5 s. */
const ANSWER_MS = 60_000;
const RPM = '/usr/bin/rpm';
/** Of the same name, by which rpm finds its own options (--verifydb). */
const REAL_RPM = `${HOME}/real/rpm`;
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

const DOCUMENT = /^\/var\/lib\/airbundle\/(?:receipt\.json|backup\/[^/]+\/undo\.json)$/;

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
function files(): State {
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
function documentsIn(paths: Iterable<string>): Documents {
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

function ask(): Promise<string> {
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

async function lookAround(): Promise<State> {
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
function readState(name: string, which: 'files' | 'state'): State {
  const key = `${name}/${which}`;
  const state = read.get(key) ?? new Map(readKept(name, which));
  read.set(key, state);
  return state;
}

/** Against the end of an unbroken run: paths, and where documents differ. */
function differencesToEnd(name: string, state: State): string[] {
  if (!fs.existsSync(`${KEPT}/${name}`)) return [];
  const found = differences(readState(name, 'state'), state);
  return found.length === 0
    ? []
    : [...found, ...documentDifferences(readKept(name, 'documents'), documentsIn(files().keys()))];
}

const pack = (archive: string, paths: readonly string[]): void => {
  execFileSync('tar', ['-C', '/', '-cf', archive, ...paths.map((path) => `.${path}`)]);
};

async function keep(name: string): Promise<string> {
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

const PROGRAM = /installer\.cjs|install\.sh/;
const LEFTOVERS = /installer\.cjs|install\.sh|^rpm |rpm\.real|rpm-tmp|airbundle\.lock|race\.js|^\S+tar -x/;
/** Of builds (DESIGN §7). */
const isBuilder = (uid: number): boolean => uid >= 47_000 && uid < 48_000;

/** SIGKILL to every process of these words, or of these users. @returns how many there were */
function kill(words: RegExp, users: (uid: number) => boolean): number {
  let count = 0;
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/\0/g, ' ');
      const uid = Number(/^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '0');
      if (Number(pid) === process.pid || !(words.test(command) || users(uid))) continue;
      process.kill(Number(pid), 'SIGKILL');
      count += 1;
    } catch {
      // It has ended meanwhile.
    }
  }
  return count;
}
const endLeftovers = (): number => kill(LEFTOVERS, isBuilder);

/** What was typed, with everything of it that is in the foreground; and what it left behind. */
function endAll(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL');
  } catch {
    // It has just ended.
  }
  endLeftovers();
}

const MOUNTED = new Set(['/etc', '/usr/local', '/var/lib/airbundle', RPMDB, `${HOME}/disk`]);
/** Disks of a case, in the order in which they were mounted. */
const mounted = (): string[] =>
  fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((place) => MOUNTED.has(place));

/** What was killed a moment ago may still hold it. @throws Error naming who does */
async function unmount(place: string): Promise<void> {
  for (let round = 0; spawnSync('umount', [place]).status !== 0; round += 1) {
    if (round === 100) {
      const holders = fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && holds(pid, place));
      throw new Error(`${place} cannot be unmounted: ${holders.map(wordsOf).join('; ')} has files there`);
    }
    await pause(50);
  }
}

function holds(pid: string, place: string): boolean {
  try {
    const links = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`);
    return [`/proc/${pid}/cwd`, ...links].some((link) => fs.readlinkSync(link).startsWith(place));
  } catch {
    // It has ended meanwhile.
    return false;
  }
}

const wordsOf = (pid: string): string =>
  `${pid} ${fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')}`;

/** Puts the node into a state that was kept. @throws Error where that was not possible: such a case proves nothing */
async function reset(name: string): Promise<void> {
  const wanted = readState(name, 'files');
  fs.rmSync(FAULT, { force: true });
  endLeftovers();
  // Those of the latest first, since one can lie on another.
  for (const place of mounted().reverse()) await unmount(place);
  for (const flag of fs.readdirSync(HOME).filter((file) => /^(?:mood$|build-|mini-)/.test(file)))
    fs.rmSync(`${HOME}/${flag}`);
  fs.writeFileSync(`${HOME}/races`, '');
  fs.chmodSync(`${HOME}/races`, 0o666);
  for (const unit of SUBJECT.units) spawnSync('systemctl', ['stop', unit]);
  const now = files();
  for (const path of [...now.keys()].reverse())
    if (!wanted.has(path)) fs.rmSync(path, { recursive: true, force: true });
  // A document of another run can look the same, since its run's name does not count.
  const stale = [...wanted].filter(([path, entry]) => now.get(path) !== entry || DOCUMENT.test(path));
  for (const [path, entry] of stale)
    if (!entry.startsWith('directory')) fs.rmSync(path, { recursive: true, force: true });
  fs.writeFileSync(`${HOME}/stale`, stale.map(([path]) => `.${path}\n`).join(''));
  const unpack = ['-C', '/', '--same-owner', '--overwrite-dir', '-xpf'];
  // One program for all of them: most of a case's time is that of programs that are started.
  if (stale.length > 0)
    execFileSync('tar', [
      ...unpack,
      `${KEPT}/${name}/root.tar`,
      '--no-recursion',
      '--occurrence=1',
      ...['-T', `${HOME}/stale`],
    ]);
  for (const path of [RPMDB, '/var/log/airbundle', SOCKET]) fs.rmSync(path, { recursive: true, force: true });
  execFileSync('tar', [...unpack, `${KEPT}/${name}/rpmdb.tar`]);
  spawnSync('systemctl', ['daemon-reload']);
  spawnSync('systemctl', ['reset-failed', ...SUBJECT.units]);
  if ((readState(name, 'state').get('answer') ?? '-') !== '-') {
    spawnSync('systemctl', ['start', ...SUBJECT.units]);
    const endMs = Date.now() + ANSWER_MS;
    while ((await ask()) === '-' && Date.now() < endMs) await pause(50);
  }
  const left = differences(readState(name, 'state'), await lookAround());
  if (left.length > 0)
    throw new Error(`the node could not be brought back to "${name}": ${left.slice(0, 5).join('; ')}`);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const shell = (text: string | undefined): void => {
  if (text !== undefined) execFileSync('sh', ['-c', text], { stdio: ['ignore', 'ignore', 'inherit'] });
};

function arm(fault: Fault): void {
  fs.rmSync(FIRED, { force: true });
  const lines = ['export UV_THREADPOOL_SIZE=1'];
  const variables = Object.entries(fault.shim ?? {}).map(([name, value]) => `export ${name}='${value}'`);
  if (fault.shim !== undefined) variables.push(`export FAULT_FIRED=${FIRED} LD_PRELOAD=${HOME}/shim.so`);
  if (fault.inRpm === true) {
    fs.mkdirSync(`${HOME}/real`, { recursive: true });
    fs.renameSync(RPM, REAL_RPM);
    fs.writeFileSync(
      RPM,
      `#!/bin/sh\ncase "$*" in *--force*) ${variables.join('; ')} ;; esac\nexec ${REAL_RPM} "$@"\n`,
      { mode: 0o755 },
    );
  } else lines.push(...variables);
  fs.writeFileSync(FAULT, `${lines.join('\n')}\n`);
}

function disarm(fault: Fault): void {
  if (fs.existsSync(REAL_RPM)) fs.renameSync(REAL_RPM, RPM);
  fs.rmSync(FAULT, { force: true });
  shell(fault.after);
}

async function attempt(command: string, fault: Fault, watched: boolean): Promise<Attempt> {
  const startMs = Date.now();
  const child = spawn('setsid', ['-w', 'sh', '-c', command], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const steps: [number, string][] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece: Buffer) => {
      const begun = said.lastIndexOf('\n') + 1;
      said += piece.toString('utf8');
      const whole = said.slice(begun, said.lastIndexOf('\n') + 1).split('\n');
      for (const line of whole.filter((one) => one.startsWith('  … '))) {
        // How far a step is, and that it still goes on, is said in other words each time.
        if (line.startsWith('  … still: ') || steps.some(([, begin]) => line.startsWith(begin))) continue;
        steps.push([Date.now() - startMs, line]);
        beginAt(line);
      }
    });
  const run = { ended: false, timedOut: false, struck: false };
  const exit = new Promise<number | null>((resolve) => {
    child.on('exit', (code) => {
      run.ended = true;
      resolve(code);
    });
  });
  const limit = setTimeout(() => {
    run.timedOut = true;
    endAll(child.pid);
  }, SUBJECT.commandMs ?? COMMAND_MS);
  const strike = (): void => {
    if (run.ended) return;
    run.struck = fault.everything === true || kill(PROGRAM, () => false) > 0;
    if (fault.everything === true) endAll(child.pid);
  };
  let killer: NodeJS.Timeout | undefined;
  const beginAt = (line: string | undefined): void => {
    if (killer === undefined && fault.killAfterMs !== undefined && fault.killAfterLine === line)
      killer = setTimeout(strike, fault.killAfterMs);
  };
  beginAt(undefined);
  const answers: string[] = [];
  const watch = async (): Promise<void> => {
    while (watched && !run.ended) {
      const answer = await ask();
      if (answers[answers.length - 1] !== answer) answers.push(answer);
      await pause(40);
    }
  };
  const during = async (): Promise<void> => {
    while (fault.during !== undefined && !run.ended && !run.struck) {
      run.struck = spawnSync('sh', ['-c', fault.during]).status === 0;
      await pause(20);
    }
  };
  const [code] = await Promise.all([exit, watch(), during()]);
  clearTimeout(limit);
  if (killer !== undefined) clearTimeout(killer);
  if (fault.everything === true) endLeftovers();
  const fired = fs.existsSync(FIRED)
    ? fs.readFileSync(FIRED, 'utf8').trim()
    : run.struck || (fault.standing === true && code !== 0)
      ? (fault.during ?? fault.before ?? `after ${String(fault.killAfterMs)} ms`)
      : undefined;
  return {
    exit: run.timedOut ? -1 : code,
    fired,
    said: said.slice(-20_000),
    ms: Date.now() - startMs,
    steps,
    ...(watched ? { answers } : {}),
  };
}

const UNLOCKED = 'rm -f /var/lib/rpm/__db.*';
const COPIED = 'cp -a /var/lib/rpm /root/rpmdb.damaged';
const REBUILT = `${COPIED} && ${UNLOCKED} && rpm --rebuilddb && rpm --verifydb`;
/** What an error tells an operator to type once an rpm was killed or met a failing disk, and what is typed then. */
const ADVICE = {
  /** Killed inside its database (RPMDB_UNREADABLE): with what the error says for the case that this complains. */
  unlock: {
    told: `${UNLOCKED} && rpm --verifydb`,
    typed: `{ ${UNLOCKED} && rpm --verifydb; } || { ${COPIED} && rpm --rebuilddb; }`,
  },
  /** Killed while it wrote there (RPMDB_DAMAGED). */
  rebuild: { told: REBUILT, typed: REBUILT },
  /** A question about its packages was not answered in time (RPMDB_UNREADABLE too). */
  locks: { told: UNLOCKED, typed: UNLOCKED },
} as const;

/** A Berkeley database refuses everybody until then, or lets them wait for good; a start of the machine mends it. */
function isLockedByTheDead(): boolean {
  const asked = spawnSync('rpm', ['-q', 'rpm'], { encoding: 'utf8', timeout: 30_000, killSignal: 'SIGKILL' });
  return asked.signal === 'SIGKILL' || asked.stderr.includes('DB_RUNRECOVERY');
}

/** The command; where rpm's database may be hurt, what its error says to type, then the command again. */
async function heeding(
  command: string,
  mayBeHurt: boolean,
): Promise<{ readonly last: Attempt; readonly advised: boolean }> {
  let last = await attempt(command, {}, false);
  let advised = false;
  // The one may show the other, and a refused command has done nothing yet: it is typed again.
  for (const { told, typed } of mayBeHurt ? [ADVICE.unlock, ADVICE.rebuild, ADVICE.locks] : [])
    if (last.exit === 5 && last.said.includes(told)) {
      advised = true;
      shell(typed);
      last = await attempt(command, {}, false);
    }
  if (mayBeHurt && isLockedByTheDead()) {
    advised = true;
    shell(ADVICE.unlock.typed);
  }
  return { last, advised };
}

async function runCase(given: Case): Promise<CaseResult> {
  await reset(given.from);
  const start = readState(given.from, 'state');
  const attempts: Attempt[] = [];
  for (const fault of given.faults) {
    shell(fault.before);
    arm(fault);
    try {
      const made = await attempt(given.command, fault, given.compare === true);
      disarm(fault);
      attempts.push(
        given.compare === true ? { ...made, changed: differences(start, await lookAround()) } : made,
      );
    } finally {
      if (fs.existsSync(FAULT)) disarm(fault);
    }
  }
  fs.writeFileSync(FAULT, 'export UV_THREADPOOL_SIZE=1\n');
  fs.rmSync(FIRED, { force: true });
  // A disk that fails below rpm can leave its database as a power cut does.
  const hurtsRpm = given.faults.some(({ everything, inRpm }) => everything === true || inRpm === true);
  const { last, advised } = await heeding(given.then, hurtsRpm);
  fs.rmSync(FAULT, { force: true });
  const state = await lookAround();
  const differs = differencesToEnd(given.end, state);
  return { id: given.id, attempts, last, digest: digestOf(state), differs, ...(advised ? { advised } : {}) };
}

async function look(): Promise<Look> {
  const state = await lookAround();
  return { state: [...state], documents: documentsIn(files().keys()) };
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

async function main(): Promise<void> {
  const [word, name = ''] = process.argv.slice(2);
  if (word === 'keep') say(await keep(name));
  else if (word === 'look') say(JSON.stringify(await look()));
  else if (word === 'strike') {
    const { command, fault } = JSON.parse(fs.readFileSync(0, 'utf8')) as Strike;
    if (fault === 'power cut before') {
      const { last, advised } = await heeding(command, true);
      say(JSON.stringify({ ...last, advised } satisfies Attempt));
    } else say(JSON.stringify(await attempt(command, fault, false)));
  } else if (word === 'reset') await reset(name);
  else
    for (const one of JSON.parse(fs.readFileSync(0, 'utf8')) as Case[]) {
      const result = await runCase(one).catch((error: unknown): CaseResult => {
        const none: Attempt = { exit: null, fired: undefined, said: '', ms: 0 };
        return { id: one.id, attempts: [], last: none, digest: '', differs: [], error: String(error) };
      });
      say(JSON.stringify(result));
    }
  fs.writeFileSync(SEEN, JSON.stringify([...seen]));
}

void main();
