import type { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** Enough for this rate over any line: twice what a gigabit line takes. */
const BYTES_PER_MS = 256 * 1024;

/** Five times what OpenSSH takes before it makes room for more (3 packets of 32 KiB). */
const LEAST_BYTES = 512 * 1024;

/** What is known of a connection before anything is sent over it. */
export interface Line {
  /** Time that one question and its answer took, and no less; undefined until then. */
  roundTripMs: number | undefined;
  isOpenSsh: boolean;
}

/**
 * Watches a connection that was begun at `fromMs` (performance.now()). The time that it took to stand is one round
 * trip at least: too long a time makes for more on the way, as without this.
 */
export function watchLine(sock: Duplex, fromMs: number): Line {
  const took = (): number => performance.now() - fromMs;
  const isUnderWay = 'connecting' in sock && sock.connecting === true;
  const line: Line = { roundTripMs: isUnderWay ? undefined : took(), isOpenSsh: false };
  if (isUnderWay)
    sock.once('connect', () => {
      line.roundTripMs = took();
    });
  // RFC 4253, 4.2: whatever comes first, the version is in it, nearly always in one piece.
  sock.once('data', (first: Buffer) => {
    line.isOpenSsh = /^SSH-2\.0-OpenSSH_/m.test(first.toString('latin1'));
  });
  return line;
}

/**
 * Leaves less of what may be on its way to a command there (its window) where a short line needs no more. What sshd
 * has taken and its command has not lies in buffers that sshd moves about: with all of the 2 MiB that it offers, an
 * upload costs it a third more time. Other servers may make room only once half of their window is used up.
 */
export function narrow(channel: ClientChannel, { roundTripMs, isOpenSsh }: Line): void {
  if (roundTripMs === undefined || !isOpenSsh) return;
  const outgoing = channel.outgoing as { window: number };
  outgoing.window = Math.min(outgoing.window, Math.max(LEAST_BYTES, Math.ceil(roundTripMs * BYTES_PER_MS)));
}
