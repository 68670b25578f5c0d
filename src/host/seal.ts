import { constants, promises as fs } from 'node:fs';
import type { SealedEntry, SealedFolder } from './host.js';

/** Folders in folders: each one holds a descriptor open while what is below it is read. */
const MAX_DEPTH = 64;

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Takes a folder from whoever filled it, from the top down: each directory is opened without following a
 * link, becomes this process's own and closed to others, and only then are its names read. From there on nobody
 * else can put another name, directory or link anywhere below, whatever they still hold open; so paths
 * below it lead where they were seen to lead.
 * @param uid whose directories these may be
 * @param maxEntries no more names than this are read
 */
export async function sealFolder(path: string, uid: number, maxEntries: number): Promise<SealedFolder> {
  const entries: SealedEntry[] = [];
  const foreign: string[] = [];
  let isWhole = true;
  const mine = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };

  const seal = async (at: string, below: string, depth: number): Promise<void> => {
    const handle = await fs.open(at, DIRECTORY);
    try {
      const stats = await handle.stat();
      if (stats.uid !== uid && stats.uid !== mine.uid) {
        foreign.push(below === '' ? '/' : below);
        return;
      }
      await handle.chown(mine.uid, mine.gid);
      await handle.chmod(0o700);
      // Through the descriptor: neither a name nor a path's length can lead elsewhere.
      const self = `/proc/self/fd/${String(handle.fd)}`;
      for await (const { name } of await fs.opendir(self, { encoding: 'latin1' })) {
        if (entries.length === maxEntries || depth === MAX_DEPTH) {
          isWhole = false;
          return;
        }
        const bytes = Buffer.from(name, 'latin1');
        const text = bytes.toString('utf8');
        const facts = await fs.lstat(Buffer.concat([Buffer.from(`${self}/`), bytes]));
        const entry: SealedEntry = {
          path: `${below}/${text}`,
          isText: Buffer.from(text, 'utf8').equals(bytes),
          kind: facts.isDirectory()
            ? 'directory'
            : facts.isFile()
              ? 'file'
              : facts.isSymbolicLink()
                ? 'link'
                : 'other',
          mode: facts.mode & 0o7777,
          uid: facts.uid,
          gid: facts.gid,
          sizeBytes: facts.size,
          modifiedMs: facts.mtimeMs,
        };
        entries.push(entry);
        if (entry.kind === 'directory' && entry.isText) await seal(`${self}/${text}`, entry.path, depth + 1);
      }
    } finally {
      await handle.close();
    }
  };

  await seal(path, '', 0);
  return { entries, foreign, isWhole };
}
