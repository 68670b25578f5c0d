import type { Sha256 } from '../model/grammar.js';

/*
 * What the containers found out: facts, in yum's and rpm's own words, from an image that may be anyone's.
 * judge-yum.ts and judge-rpms.ts decide what they mean; both are pure.
 */

/** One yum run. */
export interface YumFacts {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Every name in the download folder, after a run with exit code 0. */
  readonly files: readonly string[];
}

/** One RPM, as examine-some.sh writes it down. */
export interface RpmFacts {
  /** Base name in its repository; for messages. */
  readonly name: string;
  readonly sha256: Sha256;
  /** What was computed in the container, over what rpm then read. */
  readonly computedSha256: string;
  /** First four bytes, hex. */
  readonly magic: string;
  readonly checkExitCode: number;
  /** `rpm -K -v`, in a database that holds the pinned keys only. */
  readonly check: string;
  readonly header: string;
}

/** `rpm -Uvh --test` of the whole set into an empty root. */
export interface ClosureFacts {
  readonly exitCode: number;
  readonly output: string;
}
