import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { Sha256 } from '../../src/model/grammar.js';
import { createReporter } from '../../src/report.js';
import type { Reporter } from '../../src/report.js';

export { chunks } from './create-stream.js';

const made: string[] = [];

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-test-'));
  made.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true });
});

export function sha256Of(bytes: string | Uint8Array): Sha256 {
  return Sha256.parse(createHash('sha256').update(bytes).digest('hex'));
}

/** The environment of a packager, as an entry would pass it in. */
export function packagerEnv(extra: Record<string, string> = {}): Record<string, string> {
  const env = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return { ...Object.fromEntries(env), ...extra };
}

export interface Recorded extends Reporter {
  readonly lines: string[];
}

export function recordingReporter(): Recorded {
  const lines: string[] = [];
  const reporter = createReporter({
    format: 'text',
    quiet: false,
    color: false,
    now: () => 0,
    stream: { write: (text) => lines.push(text) },
  });
  return { ...reporter, lines };
}

/** The BundleError that the work ends with. */
export async function failureOf(work: Promise<unknown>): Promise<BundleError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

/** A real git repository with fixed authors and dates. */
export interface Repository {
  readonly folder: string;
  git(...args: string[]): string;
  commit(files: Readonly<Record<string, string>>, message?: string): string;
}

export function makeRepository(folder: string): Repository {
  mkdirSync(folder, { recursive: true });
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: '/nonexistent',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'A',
    GIT_AUTHOR_EMAIL: 'a@example.org',
    GIT_AUTHOR_DATE: '1600000000 +0900',
    GIT_COMMITTER_NAME: 'C',
    GIT_COMMITTER_EMAIL: 'c@example.org',
    GIT_COMMITTER_DATE: '1600000000 +0900',
  };
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: folder, env, encoding: 'utf8', stdio: 'pipe' }).trim();
  git('init', '--quiet', '--initial-branch=main');
  return {
    folder,
    git,
    commit(files, message = 'a change') {
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
        writeFileSync(path.join(folder, name), text);
      }
      git('add', '--all');
      git('commit', '--quiet', '--allow-empty', '-m', message);
      return git('rev-parse', 'HEAD');
    },
  };
}
