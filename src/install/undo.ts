import { dirname } from 'node:path';
import { stepError } from '../errors.js';
import type { Host, WriteOptions } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Displaced, Journal, Unsettled } from './journal.js';
import { NOTHING_UNSETTLED } from './journal.js';

/**
 * What this run has put in place, and how to take it back. Displaced files are kept under the run's
 * backup folder, by their own absolute path. What a killed run displaced counts as displaced by this one:
 * taking back leads to what was there before both.
 */
export interface Changes {
  /** Keeps what is at `path` now; call before writing there. Once per path counts. @throws BundleError exit 6 for a directory */
  keep(path: string): Promise<void>;
  /** host.ensureDirectory, remembered. */
  ensureDirectory(path: string): Promise<void>;
  /** host.makeDirectory, remembered where there was none. */
  makeDirectory(path: string, options: WriteOptions): Promise<void>;
  /** Puts everything back, the last change first. Never throws: one file that cannot be put back keeps no other from it. */
  restore(): Promise<Restored>;
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
  const kept = [...before.displaced];
  const made = [...before.made];
  const seen = new Set(kept.map((entry) => entry.path));

  const remember = async (paths: readonly string[]): Promise<void> => {
    for (const path of paths) {
      made.push(path);
      await journal.record({ event: 'made', path });
    }
  };
  const ensureDirectory = async (path: string): Promise<void> => {
    await remember(await host.ensureDirectory(path));
  };

  return {
    ensureDirectory,
    async keep(path) {
      if (seen.has(path)) return;
      const entry = await keptFrom(host, path, `${target.backup}/${runId}${path}`);
      await journal.record({ event: 'displaced', ...entry });
      seen.add(path);
      kept.push(entry);
    },
    async makeDirectory(path, options) {
      const there = await host.lstat(path);
      await ensureDirectory(dirname(path));
      await host.makeDirectory(path, options);
      if (there === undefined) await remember([path]);
    },
    async restore() {
      const paths: string[] = [];
      const problems: string[] = [];
      for (const entry of [...kept].reverse()) {
        try {
          await putBack(host, entry);
          paths.push(entry.path);
        } catch (error) {
          problems.push(
            `${entry.path} could not be put back (${error instanceof Error ? error.message : String(error)}); by hand: ${byHand(entry)}`,
          );
        }
      }
      // Outermost last. One that something else lies in by now stays.
      for (const path of [...made].reverse()) await host.removeDirectory(path).catch(() => false);
      kept.length = 0;
      made.length = 0;
      seen.clear();
      return { paths, problems };
    },
  };
}

async function keptFrom(host: Host, path: string, backup: string): Promise<Displaced> {
  const facts = await host.lstat(path);
  const entry = {
    path,
    backup: null,
    link: null,
    mode: facts?.mode ?? 0,
    uid: facts?.uid ?? 0,
    gid: facts?.gid ?? 0,
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
  await host.copyDurable(path, backup, { mode: 0o600 });
  return { ...entry, backup };
}

async function putBack(host: Host, entry: Displaced): Promise<void> {
  const { path, backup, link, mode, uid, gid } = entry;
  if (link !== null) await host.linkDurable(path, link);
  else if (backup !== null) await host.copyDurable(backup, path, { mode, uid, gid });
  else await host.remove(path);
}

function byHand({ path, backup, link, mode, uid, gid }: Displaced): string {
  if (link !== null) return `ln -sfn ${link} ${path}`;
  if (backup === null) return `rm -f ${path}`;
  return `install -m ${mode.toString(8).padStart(4, '0')} -o ${uid} -g ${gid} ${backup} ${path}`;
}
