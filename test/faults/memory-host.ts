import { createHash } from 'node:crypto';
import path from 'node:path';
import type { FileFacts, ReadHost } from '../../src/host/host.js';

/** A folder in memory, for the readers of a bundle: hundreds of thousands of damaged ones fit into minutes. */
export function memoryHost(folder: string, files: ReadonlyMap<string, Buffer>): ReadHost {
  const at = (given: string): Buffer | undefined => files.get(path.relative(folder, given));
  const facts = (kind: FileFacts['kind'], sizeBytes: number): FileFacts => ({
    kind,
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes,
    modifiedMs: 0,
  });
  return {
    read: (given) => Promise.resolve(at(given)),
    async *chunks(given, buffer) {
      const bytes = await Promise.resolve(at(given));
      if (bytes === undefined) throw Object.assign(new Error(`ENOENT: ${given}`), { code: 'ENOENT' });
      let offset = 0;
      while (offset < bytes.length) {
        const into = (await buffer?.()) ?? Buffer.alloc(1024 * 1024);
        const size = bytes.copy(
          into,
          0,
          offset,
          Math.min(bytes.length, offset + Math.min(into.length, 1024 * 1024)),
        );
        offset += size;
        yield into.subarray(0, size);
      }
    },
    lstat: (given) => {
      const bytes = at(given);
      if (given === folder) return Promise.resolve(facts('directory', 0));
      return Promise.resolve(bytes === undefined ? undefined : facts('file', bytes.length));
    },
    list: (given) => Promise.resolve(given === folder ? [...files.keys()].sort() : []),
    sha256: (given) => {
      const bytes = at(given);
      return Promise.resolve(
        bytes === undefined ? undefined : createHash('sha256').update(bytes).digest('hex'),
      );
    },
    realpath: (given) => Promise.resolve(given === folder || at(given) !== undefined ? given : undefined),
  };
}
