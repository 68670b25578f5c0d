import { dirname } from 'node:path';
import type { Host } from '../host/host.js';
import { target } from '../model/layout.js';
import type { Journal } from './journal.js';

/**
 * Files that this run has put in place, and how to take them back. The displaced ones are kept under
 * the run's backup folder, by their own absolute path.
 */
export interface Changes {
  /** Keeps what is at `path` now; call before writing there. Once per path counts. */
  keep(path: string): Promise<void>;
  /** Puts everything back, the last change first. */
  restore(): Promise<readonly string[]>;
}

interface Kept {
  readonly path: string;
  readonly backup: string | undefined;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export function trackChanges(host: Host, journal: Journal, runId: string): Changes {
  const kept: Kept[] = [];
  const seen = new Set<string>();
  return {
    async keep(path) {
      if (seen.has(path)) return;
      seen.add(path);
      const facts = await host.lstat(path);
      const backup = facts?.kind === 'file' ? `${target.backup}/${runId}${path}` : undefined;
      if (backup !== undefined && facts !== undefined) {
        await host.ensureDirectory(dirname(backup));
        await host.copyDurable(path, backup, { mode: 0o600 });
      }
      await journal.record({ event: 'displaced', path, backup: backup ?? null });
      kept.push({ path, backup, mode: facts?.mode ?? 0, uid: facts?.uid ?? 0, gid: facts?.gid ?? 0 });
    },
    async restore() {
      const restored: string[] = [];
      for (const entry of [...kept].reverse()) {
        if (entry.backup === undefined) await host.remove(entry.path);
        else
          await host.copyDurable(entry.backup, entry.path, {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
          });
        restored.push(entry.path);
      }
      kept.length = 0;
      seen.clear();
      return restored;
    },
  };
}
