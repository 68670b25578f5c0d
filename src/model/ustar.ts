import { invalidError } from '../errors.js';

/*
 * The one form of X.tar: POSIX ustar, regular files only, owner 0:0 without names, mtime 0, no
 * extensions. Whoever reads compares each header with the one that these functions make, byte by
 * byte, so that an extra, renamed, linked or doubled member cannot pass (POSIX.1-2001, pax, "ustar
 * Interchange Format").
 */

export const BLOCK_BYTES = 512;

/** What ustar defines of a header's block; the rest is zero. */
const HEADER_BYTES = 500;

/** GNU tar pads an archive to a multiple of this; so does the canonical form. */
export const RECORD_BYTES = 10_240;

/** The largest size that ustar's 11 octal digits hold. */
const MAX_MEMBER_BYTES = 8 ** 11 - 1;

/** @throws BundleError exit 3 when ustar cannot hold the path or the size */
export function ustarHeader(member: {
  readonly path: string;
  readonly mode: number;
  readonly sizeBytes: number;
}): Buffer {
  const { path, mode, sizeBytes } = member;
  if (path.length > 100 || !/^[\x21-\x7e]+$/.test(path))
    throw invalidError({
      code: 'USTAR_PATH',
      message: `the member path "${path}" does not fit a ustar header (100 plain ASCII characters)`,
      hint: 'Shorten the name of the component or file.',
    });
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0 || sizeBytes > MAX_MEMBER_BYTES)
    throw invalidError({
      code: 'USTAR_SIZE',
      message: `${path} has ${String(sizeBytes)} bytes; a ustar member holds less than 8 GiB`,
      hint: 'Split the file.',
    });
  const block = Buffer.alloc(BLOCK_BYTES);
  const text = (offset: number, value: string): void => {
    block.write(value, offset, 'latin1');
  };
  const octal = (offset: number, digits: number, value: number): void => {
    text(offset, `${value.toString(8).padStart(digits, '0')}\0`);
  };
  text(0, path);
  octal(100, 7, mode);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, sizeBytes);
  octal(136, 11, 0);
  text(148, ' '.repeat(8));
  text(156, '0');
  text(257, 'ustar\0' + '00');
  octal(329, 7, 0);
  octal(337, 7, 0);
  let sum = 0;
  for (let at = 0; at < HEADER_BYTES; at += 1) sum += block[at] ?? 0;
  text(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

/** Zero bytes after a member's data, up to the next block. */
export function paddingBytes(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/** Bytes of the end of an archive whose members take `bodyBytes`: two zero blocks, padded to a record. */
export function trailerBytes(bodyBytes: number): number {
  const withEnd = bodyBytes + 2 * BLOCK_BYTES;
  return Math.ceil(withEnd / RECORD_BYTES) * RECORD_BYTES - bodyBytes;
}

/** Path, mode and size of a header in the canonical form, or undefined when it has any other form. */
export function parseUstarHeader(
  block: Buffer,
): { path: string; mode: number; sizeBytes: number } | undefined {
  const path = block.toString('latin1', 0, 100).replace(/\0+$/, '');
  const mode = parseInt(block.toString('latin1', 100, 107), 8);
  const sizeBytes = parseInt(block.toString('latin1', 124, 135), 8);
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
  if (!isCount(mode) || !isCount(sizeBytes) || !/^[\x21-\x7e]{1,100}$/.test(path)) return undefined;
  return ustarHeader({ path, mode, sizeBytes }).equals(block) ? { path, mode, sizeBytes } : undefined;
}
