import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { run } from './process.js';

/**
 * Slots that commands which run at the same time share, in GNU make's jobserver protocol: each make may run one job;
 * a byte in the pipe is the right to run one more, taken before it and put back after it. (make's manual,
 * "POSIX Jobserver Interaction".)
 */
export interface JobSlots {
  /** What a command gets as descriptors 3 and 4, where `makeFlags` looks for them. */
  readonly descriptors: readonly [number, number];
  /** The value of MAKEFLAGS. */
  readonly makeFlags: string;
  /** One of those who share them has ended: the others get its processor, unless they had more than there are. */
  ended(): void;
  close(): void;
}

/** make 3.82 (EL7) knows the first name, make 4.2 only the second; a name that one does not know it passes over. */
const MAKE_FLAGS = '-j --jobserver-fds=3,4 --jobserver-auth=3,4';

/** More have no room in a pipe, and writing would wait. */
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
  let isMade = false;
  try {
    const made = await run(['mkfifo', '-m', '600', '--', path], { env: { PATH: '/usr/bin:/bin' } });
    isMade = made.exitCode === 0;
    if (!isMade) return undefined;
    // Open for both ends first: neither of the others waits. A description of its own each, since make 4.3 sets
    // O_NONBLOCK on the one that it reads from.
    const take = (flags: number): number => {
      const descriptor = openSync(path, flags | O_NOFOLLOW);
      open.push(descriptor);
      return descriptor;
    };
    const own = take(O_RDWR | O_NONBLOCK);
    const descriptors = [take(O_RDONLY), take(O_WRONLY)] as const;
    const put = (): void => {
      try {
        if (open.length > 0) writeSync(own, '+');
      } catch {
        // EAGAIN: somebody who shares them has filled the pipe, where there are slots enough.
      }
    };
    let free = Math.min(processors, MAX_SLOTS) - sharers;
    for (let slot = 0; slot < free; slot += 1) put();
    const ended = (): void => {
      free += 1;
      if (free > 0) put();
    };
    return { descriptors, makeFlags: MAKE_FLAGS, ended, close };
  } catch {
    close();
    return undefined;
  } finally {
    if (isMade) await rm(path, { force: true });
  }
}
