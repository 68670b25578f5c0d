import { untrustedError } from '../errors.js';
import type { ReadHost } from '../host/host.js';

/**
 * A file that somebody else made and that has to be small: never a pipe, a device or a link, never more
 * than the limit.
 * @returns undefined when there is none
 * @throws BundleError exit 4
 */
export async function readSmall(host: ReadHost, path: string, maxBytes: number): Promise<Buffer | undefined> {
  const facts = await host.lstat(path);
  if (facts === undefined) return undefined;
  const refuse = (message: string): Error =>
    untrustedError({
      code: 'BAD_FILE',
      message,
      where: path,
      hint: 'Copy it again from its origin.',
    });
  if (facts.kind !== 'file') throw refuse('this is not a regular file');
  if (facts.sizeBytes > maxBytes)
    throw refuse(`this has ${String(facts.sizeBytes)} bytes; at most ${String(maxBytes)} are read`);
  // What was looked at may be another file by now: the limits hold for what is read.
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const piece of host.chunks(path)) {
      sizeBytes += piece.length;
      if (sizeBytes > maxBytes)
        throw refuse(`this grows while it is read; at most ${String(maxBytes)} are read`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ELOOP')
      throw refuse('this is not a regular file');
    throw error;
  }
  return Buffer.concat(pieces);
}
