import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { run } from './process.js';

/** How one command finds the slots that it shares with others. */
export interface JobShare {
  /** What the command gets as descriptors 3 and 4, where `makeFlags` looks for them. */
  readonly descriptors: readonly [number, number];
  /** The value of MAKEFLAGS. */
  readonly makeFlags: string;
}

/**
 * Slots that commands which run at the same time share, in GNU make's jobserver protocol: each make may run one job;
 * a byte in the pipe is the right to run one more, taken before it and put back after it. (make's manual,
 * "POSIX Jobserver Interaction".)
 */
export interface JobSlots {
  /** One for each of those who share them. */
  readonly shares: readonly JobShare[];
  /** One of those who share them has ended: the others get its processor, unless they had more than there are. */
  ended(): void;
  close(): void;
}

/**
 * make 3.82 (EL7) knows only the first name. Both are given: one that a make does not know it passes over, and with
 * neither, `-j` would be no limit at all.
 */
const MAKE_FLAGS = '-j --jobserver-fds=3,4 --jobserver-auth=3,4';

/** A pipe has room for them, however small it is. */
const MAX_SLOTS = 4096;

export interface SlotCounts {
  readonly processors: number;
  /** How many commands are at work at the same time. */
  readonly sharers: number;
}

/**
 * Makes the pipe and puts in a slot for each processor that nobody has: whoever shares them has one from the start.
 * @param path of a name that must not exist and lives for a moment: Node makes no pipe that a child gets both ends of
 * @returns undefined where it cannot be made; everybody counts alone then
 */
export async function openJobSlots(
  path: string,
  { processors, sharers }: SlotCounts,
): Promise<JobSlots | undefined> {
  const { O_RDWR, O_RDONLY, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const open: number[] = [];
  const close = (): void => {
    for (const descriptor of open.splice(0)) closeSync(descriptor);
  };
  const take = (flags: number): number => {
    const descriptor = openSync(path, flags | O_NOFOLLOW);
    open.push(descriptor);
    return descriptor;
  };
  const made = await run(['mkfifo', '-m', '600', '--', path], { env: { PATH: '/usr/bin:/bin' } });
  if (made.exitCode !== 0) return undefined;
  try {
    // Open for both ends first: none of the others waits.
    const own = take(O_RDWR | O_NONBLOCK);
    // Each has descriptions of its own: make 4.3 sets O_NONBLOCK on the one that it reads from, with which 3.82 fails.
    const shares = Array.from({ length: sharers }, () => ({
      descriptors: [take(O_RDONLY), take(O_WRONLY)] as const,
      makeFlags: MAKE_FLAGS,
    }));
    await rm(path);
    const put = (): void => {
      if (open.length > 0) writeUnlessFull(own);
    };
    let free = Math.min(processors, MAX_SLOTS) - sharers;
    for (let slot = 0; slot < free; slot += 1) put();
    const ended = (): void => {
      free += 1;
      if (free > 0) put();
    };
    return { shares, ended, close };
  } catch {
    close();
    await rm(path, { force: true }).catch(() => undefined);
    return undefined;
  }
}

/** Somebody who shares the pipe may have filled it: there are slots enough then. */
function writeUnlessFull(descriptor: number): void {
  try {
    writeSync(descriptor, '+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  }
}
