import type { Socket } from 'node:net';
import { connect } from 'node:net';

/**
 * A connection on which everything that is written in one turn of the event loop leaves in one call. ssh2 writes
 * each packet in three pieces, of 4 bytes, 32 KiB and 16 bytes: thousands of calls for a large file.
 */
export function batchedSocket(host: string, port: number): Socket {
  const socket = connect(port, host);
  const write = socket.write.bind(socket) as (...given: unknown[]) => boolean;
  let isHeld = false;
  // Only now: connect() gives a socket its own write again.
  socket.write = (...given: unknown[]): boolean => {
    if (!isHeld) {
      isHeld = true;
      socket.cork();
      process.nextTick(() => {
        isHeld = false;
        socket.uncork();
      });
    }
    return write(...given);
  };
  return socket;
}
