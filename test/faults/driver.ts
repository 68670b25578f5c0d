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
import * as fs from 'node:fs';
import {
  ask,
  differencesToEnd,
  DOCUMENT,
  documentsIn,
  files,
  HOME,
  keep,
  KEPT,
  lookAround,
  readState,
  rememberSeen,
  RPMDB,
  SOCKET,
  SUBJECT,
} from './node-state.js';
import type { Attempt, Case, CaseResult, Fault, Look, Strike } from './protocol.js';
import { differences, digestOf } from './state.js';

const FAULT = `${HOME}/fault`;
const FIRED = `${HOME}/fired`;
const COMMAND_MS = 5 * 60_000;
/** Until a service that was started for a case answers; on a busy machine it took more than 5 s. */
const ANSWER_MS = 60_000;
const RPM = '/usr/bin/rpm';
/** Of the same name, by which rpm finds its own options (--verifydb). */
const REAL_RPM = `${HOME}/real/rpm`;

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
  rememberSeen();
}

void main();
