import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

/** The first 16 hex digits of the SHA-256 of `parts`, each preceded by its length. */
export const hashOf = (parts: readonly (string | Buffer)[]): string => {
  const hash = createHash('sha256');
  for (const part of parts) {
    hash.update(`${Buffer.byteLength(part)}\n`);
    hash.update(part);
  }
  return hash.digest('hex').slice(0, 16);
};

/** {@link hashOf} over the contents of `files`, in the order given, then `more`. */
export const hashOfFiles = async (files: readonly string[], more: readonly string[] = []): Promise<string> =>
  hashOf([...(await Promise.all(files.map((file) => readFile(file)))), ...more]);
