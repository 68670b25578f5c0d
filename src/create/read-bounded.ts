import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/**
 * A small file that a person named: no device, pipe or folder, and never more than `limitBytes` + 1 of it,
 * so that the caller's own check sees that it is too large.
 * @throws Error with an errno's code
 */
export async function readBounded(file: string, limitBytes: number): Promise<Buffer> {
  // Without O_NONBLOCK a named pipe that nobody writes to would wait for ever (open(2)).
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = await handle.stat();
    if (!found.isFile())
      throw new Error(found.isDirectory() ? 'it is a folder, not a file' : 'it is not a plain file');
    const bytes = Buffer.alloc(Math.min(found.size, limitBytes + 1));
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return bytes.subarray(0, length);
  } finally {
    await handle.close();
  }
}

/** undefined when there is nothing of that name. What may not be looked at is not absent: that error stays. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((cause: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw cause;
  });
}

/** The words for a failed read. */
export function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const words: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    ENOTDIR: 'a part of its path is not a folder',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder, not a file',
    ELOOP: 'its links go round in a circle',
    ENAMETOOLONG: 'its name is too long',
  };
  return words[code] ?? (cause instanceof Error ? cause.message : String(cause));
}
