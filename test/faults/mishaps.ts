import type { Options } from './options.js';
import { partOf } from './options.js';
import type { Case, CaseResult, Fault } from './protocol.js';
import type { Stage } from './stage.js';
import type { GroupResult } from './tally.js';
import { randomFrom, Tally } from './tally.js';
import { problemOf } from './kills.js';
import { STAYS } from './stays.js';

/*
 * What a run meets and survives: full, read-only and failing disks, builds and scriptlets that fail,
 * services that do not stay. It has to say why, leave what ran before, and end well once the cause is gone.
 */

const HOME = '/opt/faults';
const DISK = `${HOME}/disk`;

interface Mishap {
  readonly id: string;
  readonly from: 'fresh' | 'old';
  readonly fault: Fault;
  /** The error has to say this. */
  readonly names?: RegExp;
  /** A run that ends well in spite of it is a failure, not a void case. */
  readonly mustFail?: true;
}

/** The same command is typed again. */
function again({ scenes }: Stage, from: Mishap['from']): Pick<Case, 'from' | 'command' | 'then' | 'end'> {
  const { state, command, end } = scenes[from];
  return { from: state, command, then: command, end };
}

/** What was being written when its disk failed, and cannot be removed from it: the next run does. */
const TEMPORARY = /^\+ \/.*\/\.[^/]+\.airbundle-(?:new|test)$/;

function problemWith(result: CaseResult, mishap: Mishap): string | undefined {
  const [attempt] = result.attempts;
  if (attempt === undefined) return result.error ?? 'nothing was tried';
  if (attempt.fired === undefined)
    return mishap.mustFail === true
      ? `it ended well, in spite of it\n${attempt.said.slice(-400)}`
      : problemOf(result);
  const told = attempt.said.slice(-900);
  // After the last change that counts, a failing disk is none of its business: the stage is left, for example.
  if (attempt.exit === 0 && mishap.mustFail !== true) return problemOf(result);
  if (attempt.exit !== 5 && attempt.exit !== 6) return `exit ${String(attempt.exit)}, not 5 or 6\n${told}`;
  if (!/error\[[A-Z_]+\]/.test(attempt.said) || attempt.said.includes('error[INTERNAL]'))
    return `no clean error\n${told}`;
  if (mishap.names !== undefined && !mishap.names.test(attempt.said))
    return `the error does not say ${String(mishap.names)}\n${told}`;
  // A disk that takes nothing any more takes no old file either: then each one that is not back is named.
  const named = (line: string): boolean =>
    attempt.said.includes(`not undone: ${/^[+~-] ([^:]+)/.exec(line)?.[1] ?? '?'} could not be put back`);
  const left = (attempt.changed ?? []).filter(
    (line) => !STAYS.test(line) && !named(line) && !(mishap.fault.shim !== undefined && TEMPORARY.test(line)),
  );
  if (left.length > 0) return `the old state is not back: ${left.slice(0, 8).join('; ')}\n${told}`;
  return problemOf(result);
}

async function survive(
  stage: Stage,
  group: string,
  whole: readonly Mishap[],
  options: Options,
): Promise<GroupResult> {
  const all = partOf(whole, options.part);
  const tally = new Tally(
    group,
    'a clean error, the old state back and serving; then the same command ends as the unbroken run',
    options,
  );
  tally.planned = all.length;
  const cases = all.map(({ id, from, fault }): Case => ({
    id,
    ...again(stage, from),
    faults: [fault],
    compare: true,
  }));
  let advised = 0;
  await stage.run(cases, options.deadline, (result, given) => {
    if (result.advised === true) advised += 1;
    const mishap = all.find(({ id }) => id === given.id);
    if (mishap === undefined) return;
    tally.add(given.id, {
      fired: result.attempts[0]?.fired !== undefined,
      problem: problemWith(result, mishap),
      digest: result.digest,
    });
  });
  tally.countAdvised(advised);
  return tally.result();
}

const PLACES = ['/var/lib/airbundle', '/usr/local', '/etc', '/var/lib/rpm'] as const;

/** The place on a disk of its own: a tmpfs with a copy of what is there, and so many free KiB. */
const ownDisk = (place: string, then: string): string =>
  `set -e; mkdir -p ${DISK}; mount -t tmpfs -o mode=755 tmpfs ${DISK}; cp -a ${place}/. ${DISK}/; mount --bind ${DISK} ${place}; ${then}`;
const roomOf = (kib: number): string =>
  `used=$(df -k --output=used ${DISK} | tail -n 1); mount -o remount,size=$((used + ${String(kib)}))k ${DISK}`;
const ROOM: Readonly<Record<(typeof PLACES)[number], readonly number[]>> = {
  '/var/lib/airbundle': [4, 16, 64, 512, 2048, 4096],
  '/usr/local': [4, 8],
  '/etc': [4, 8, 12, 16],
  '/var/lib/rpm': [4, 32, 128],
};

const realDisks = (): Mishap[] =>
  PLACES.flatMap((place) => [
    ...ROOM[place].map((kib): Mishap => ({
      id: `${place} full, ${String(kib)} KiB left`,
      from: 'old',
      fault: {
        before: ownDisk(place, roomOf(kib)),
        after: `mount -o remount,size=600m ${DISK}${place === '/var/lib/rpm' ? `; rm -f ${DISK}/__db.*` : ''}`,
        standing: true,
      },
    })),
    {
      id: `${place} read-only`,
      from: 'old',
      fault: {
        before: ownDisk(place, `mount -o remount,ro ${DISK}`),
        after: `mount -o remount,rw ${DISK}`,
        standing: true,
      },
    },
  ]);

/** Enough room for the plan, and gone at some moment of the run. */
const FILLED: Readonly<Record<string, string>> = {
  'while it unpacks': 'ls -d /var/lib/airbundle/stage/2*',
  'while rpm runs': '[ -e /var/log/airbundle/rpm-install.log ]',
  'while it builds': '[ -e /var/lib/airbundle/build/mini ]',
  'while it places files': 'ls /usr/local/bin/.mini.airbundle-new',
};
const filledDisks = (): Mishap[] =>
  Object.entries(FILLED).map(([when, seen]): Mishap => ({
    id: `/var/lib/airbundle full ${when}`,
    from: 'old',
    fault: {
      before: ownDisk('/var/lib/airbundle', roomOf(340 * 1024)),
      during: `${seen} >/dev/null 2>&1 && { fallocate -l 339m ${DISK}/filler; cat /dev/zero >>${DISK}/filler; :; } 2>/dev/null`,
      after: `rm -f ${DISK}/filler; mount -o remount,size=600m ${DISK}`,
      standing: true,
    },
  }));

const ERRNO = { EIO: 5, ENOSPC: 28, EROFS: 30 } as const;
const SHORT_CALLS = 1;
const LONG_CALLS = 12;

/** From one call on, everything below a place fails with an errno: a disk that fails in the middle. */
async function failingCalls(stage: Stage, options: Options): Promise<Mishap[]> {
  const below = randomFrom(options.seed + 4);
  const found: Mishap[] = [];
  for (const place of PLACES) {
    const inRpm = place === '/var/lib/rpm';
    const many = (await stage.calls('old', { FAULT_PREFIX: place }, inRpm)).length;
    for (const [name, errno] of Object.entries(ERRNO))
      for (let round = 0; round < (options.long ? LONG_CALLS : SHORT_CALLS); round += 1) {
        const n = 1 + below(many);
        found.push({
          id: `${name} below ${place} from call ${String(n)} on (${String(round)})`,
          from: 'old',
          fault: { shim: { FAULT_AT: String(n), FAULT_KIND: String(errno), FAULT_PREFIX: place }, inRpm },
        });
      }
  }
  return found;
}

export async function diskGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const all = [...realDisks(), ...filledDisks()];
  // A full rpmdb kills rpm with its locks held, and each rpm after it waits for a minute: too long for a sample.
  const real = options.long ? all : all.filter(({ id }) => !id.startsWith('/var/lib/rpm full'));
  const below = randomFrom(options.seed + 5);
  const some = options.long
    ? real
    : PLACES.map((_, index) => real[below(4) + index * 4]).filter((one): one is Mishap => one !== undefined);
  const failing = await failingCalls(stage, options);
  const drawn = options.long ? failing : failing.filter((_, index) => index % 3 === below(3));
  return survive(stage, 'full, read-only and failing disks', [...some, ...drawn], options);
}

const standing = (before: string, after: string): Fault => ({ before, after, standing: true });
const mood = (word: string): Fault => standing(`echo '1.1.0 ${word}' >${HOME}/mood`, `rm ${HOME}/mood`);
const flag = (name: string): Fault => standing(`: >${HOME}/${name}`, `rm ${HOME}/${name}`);

const STEPS: readonly Omit<Mishap, 'from'>[] = [
  { id: 'a build that fails', fault: flag('build-fails'), names: /told to fail/ },
  { id: 'a %pre that fails', fault: flag('mini-extra.pre-fails'), names: /mini-extra/ },
  { id: 'a %post that fails', fault: flag('mini-extra.post-fails'), names: /mini-extra/ },
  {
    id: 'rpm killed in %post',
    fault: {
      before: `: >${HOME}/mini-extra.post-waits`,
      during: `[ -e ${HOME}/mini-extra.post-is-here ] && for pid in $(pgrep -x rpm); do kill -9 $pid; done; [ -e ${HOME}/mini-extra.post-is-here ]`,
      after: `rm -f ${HOME}/mini-extra.post-*`,
    },
    names: /rpm/,
  },
  { id: 'a service that dies at once', fault: mood('die'), names: /mini\.service|mini ask/ },
  { id: 'a service that dies after 5 s', fault: mood('die-late'), names: /mini\.service|mini ask/ },
  { id: 'a service that is never ready', fault: mood('silent'), names: /mini ask/ },
];

export function stepGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const from = options.long ? (['old', 'fresh'] as const) : (['old'] as const);
  const all = from.flatMap((state) =>
    STEPS.map((step): Mishap => ({ ...step, mustFail: true, id: `${step.id}, from ${state}`, from: state })),
  );
  return survive(stage, 'builds, scriptlets and services that fail', all, options);
}

const TEN_YEARS_S = 10 * 365 * 86_400;

/** The program's clock is ten years away: nobody is locked out, and the state is the same. */
export async function clockGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const tally = new Tally(
    'the clock ten years before and behind',
    'it installs, and ends as the unbroken run',
    options,
  );
  const cases = (['fresh', 'old'] as const).flatMap((from) =>
    [TEN_YEARS_S, -TEN_YEARS_S].map((seconds): Case => ({
      id: `${String(seconds)} s, from ${from}`,
      ...again(stage, from),
      faults: [{ shim: { FAULT_SECONDS: String(seconds) } }],
    })),
  );
  tally.planned = cases.length;
  await stage.run(cases, options.deadline, (result) => {
    const [attempt] = result.attempts;
    tally.add(result.id, {
      fired: attempt?.fired !== undefined,
      problem:
        attempt?.exit === 0
          ? problemOf(result)
          : `exit ${String(attempt?.exit)}: ${attempt?.said ?? result.error ?? ''}`,
      digest: result.digest,
    });
  });
  return tally.result();
}

/** Swaps of somebody who is not root, all through the run; "fired" counts runs in which swaps succeeded. */
export async function raceGroup(stage: Stage, options: Options): Promise<GroupResult> {
  const tally = new Tally(
    "racers: nobody, and the build's own user",
    'no swap gets into the node: the run is refused, or ends as the unbroken one',
    options,
  );
  const rounds = options.long ? 20 : 1;
  const swapped = `[ -s ${HOME}/races ]`;
  const racers: Record<string, Fault> = {
    "the build's user": {
      before: `: >${HOME}/build-races`,
      during: swapped,
      after: `rm ${HOME}/build-races`,
    },
    nobody: {
      before: `setsid ${HOME}/node ${HOME}/race.js >/dev/null 2>&1 </dev/null & echo $! >/run/racer`,
      during: swapped,
      after: 'kill -9 $(cat /run/racer); rm -f /run/racer; find /tmp /var/tmp /dev/shm -user 65534 -delete',
    },
  };
  const cases = Array.from({ length: rounds }, (_, round) =>
    Object.entries(racers).map(([who, fault]): Case => ({
      id: `${who}, ${String(round + 1)}`,
      ...again(stage, 'fresh'),
      faults: [fault],
      compare: true,
    })),
  ).flat();
  tally.planned = cases.length;
  await stage.run(cases, options.deadline, (result) => {
    const [attempt] = result.attempts;
    const refused = attempt?.exit === 6 && (attempt.changed ?? []).every((line) => STAYS.test(line));
    const problem =
      attempt?.exit === 0 || refused
        ? problemOf(result)
        : `exit ${String(attempt?.exit)}: ${attempt?.said.slice(-600) ?? ''}; ${(attempt?.changed ?? [])
            .filter((line) => !STAYS.test(line))
            .slice(0, 5)
            .join('; ')}`;
    tally.add(result.id, { fired: attempt?.fired !== undefined, problem, digest: result.digest });
  });
  return tally.result();
}
