import { dirname } from 'node:path';
import { stepError } from '../errors.js';
import type { Host, WriteOptions } from '../host/host.js';
import { leftoversBeside, temporaryName } from '../host/temporary.js';
import { target } from '../model/layout.js';
import { octal } from '../model/octal.js';
import type { Displaced, Journal, Placed } from './journal.js';
import type { Unsettled } from './unsettled.js';
import { NOTHING_UNSETTLED } from './unsettled.js';

/**
 * What this run has put in place, and how to take it back. Displaced files are kept under the run's
 * backup folder, by their own absolute path. What a killed run displaced counts as displaced by this one:
 * taking back leads to what was there before both.
 */
export interface Changes {
  /**
   * Keeps what is at `path` now; call before writing `after` there. The first time per path counts.
   * @throws BundleError exit 6 for a directory
   */
  keep(path: string, after: Placed): Promise<void>;
  /** host.ensureDirectory, remembered. */
  ensureDirectory(path: string): Promise<void>;
  /** host.makeDirectory, remembered where there was none. */
  makeDirectory(path: string, options: WriteOptions): Promise<void>;
  /** Puts everything back, the last change first. Never throws: one file that cannot be put back keeps no other from it. */
  restore(): Promise<Restored>;
  /** Everything of this run and of the unfinished ones that it goes on with, for undo.json. */
  all(): { readonly displaced: readonly Displaced[]; readonly made: readonly string[] };
}

export interface Restored {
  readonly paths: readonly string[];
  /** What could not be put back, with a command to do it by hand. */
  readonly problems: readonly string[];
}

export function trackChanges(
  host: Host,
  journal: Journal,
  runId: string,
  before: Pick<Unsettled, 'displaced' | 'made'> = NOTHING_UNSETTLED,
): Changes {
  const kept = new Map(before.displaced.map((entry) => [entry.path, entry]));
  const made = [...before.made];

  /** Before they are made: a run that is killed in between must not leave a folder that nobody knows of. */
  const announceMissing = async (path: string): Promise<void> => {
    if ((await host.lstat(path)) !== undefined) return;
    await announceMissing(dirname(path));
    if (made.includes(path)) return;
    made.push(path);
    await journal.record({ event: 'made', path });
  };
  const ensureDirectory = async (path: string): Promise<void> => {
    await announceMissing(path);
    await host.ensureDirectory(path);
  };

  return {
    ensureDirectory,
    async keep(path, after) {
      const known = kept.get(path);
      if (known !== undefined) {
        if (known.after?.sha256 === after.sha256 && known.after.link === after.link) return;
        await journal.record({ event: 'placed', path, after });
        kept.set(path, { ...known, after });
        return;
      }
      const entry = { ...(await keptFrom(host, path, `${target.backup}/${runId}${path}`)), after };
      await journal.record({ event: 'displaced', ...entry });
      kept.set(path, entry);
    },
    async makeDirectory(path, options) {
      await announceMissing(path);
      await host.ensureDirectory(dirname(path));
      await host.makeDirectory(path, options);
    },
    async restore() {
      const paths: string[] = [];
      const problems: string[] = [];
      for (const entry of [...kept.values()].reverse()) {
        try {
          await dropHalfWritten(host, entry.path);
          await putBack(host, entry);
          paths.push(entry.path);
        } catch (error) {
          problems.push(
            `${entry.path} could not be put back (${error instanceof Error ? error.message : String(error)}); by hand: ${byHand(entry)}`,
          );
        }
      }
      // Outermost last. One that something else lies in by now stays.
      for (const path of [...made].reverse())
        for (const one of [temporaryName(path), path]) await host.removeDirectory(one).catch(() => false);
      kept.clear();
      made.length = 0;
      return { paths, problems };
    },
    all: () => ({ displaced: [...kept.values()], made: [...made] }),
  };
}

async function keptFrom(host: Host, path: string, backup: string): Promise<Omit<Displaced, 'after'>> {
  const facts = await host.lstat(path);
  const entry = {
    path,
    backup: null,
    link: null,
    mode: facts?.mode ?? 0,
    uid: facts?.uid ?? 0,
    gid: facts?.gid ?? 0,
    sha256: null,
  };
  if (facts === undefined) return entry;
  if (facts.kind === 'link') return { ...entry, link: (await host.readlink(path)) ?? null };
  if (facts.kind !== 'file')
    throw stepError({
      code: 'NOT_A_FILE',
      message: `there is a ${facts.kind === 'directory' ? 'directory' : 'special file'} where a file has to go`,
      where: path,
      hint: `See: ls -ld ${path}; move it away: mv ${path} ${path}.old`,
    });
  await host.ensureDirectory(dirname(backup));
  const sha256 = await host.copyDurable(path, backup, { mode: 0o600 });
  return { ...entry, backup, sha256 };
}

/**
 * What a killed run had begun to write or to test beside a path that it announced. The same command writes over
 * it and removes it; a run that goes back instead would leave it there.
 */
export async function dropHalfWritten(host: Host, path: string): Promise<void> {
  for (const left of leftoversBeside(path)) {
    const kind = (await host.lstat(left))?.kind;
    if (kind === 'file' || kind === 'link') await host.remove(left);
  }
}

export async function putBack(host: Host, entry: Omit<Displaced, 'after'>): Promise<void> {
  const { path, backup, link, mode, uid, gid } = entry;
  if (link !== null) await host.linkDurable(path, link);
  else if (backup !== null) await host.copyDurable(backup, path, { mode, uid, gid });
  else await host.remove(path);
}

export function byHand({ path, backup, link, mode, uid, gid }: Omit<Displaced, 'after'>): string {
  if (link !== null) return `ln -sfn ${link} ${path}`;
  if (backup === null) return `rm -f ${path}`;
  return `install -m ${octal(mode)} -o ${uid} -g ${gid} ${backup} ${path}`;
}
