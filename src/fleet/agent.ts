import type { Argv, RunResult } from '../host/process.js';

/** A line of output of a command that runs on a node, as it comes. */
export type OnLine = (line: string) => void;

export interface RemoteRunOptions {
  readonly input?: string | Buffer;
  /** Through sudo when the login is not root. */
  readonly asRoot?: boolean;
  readonly timeoutMs?: number;
  readonly onLine?: OnLine;
}

/** Bytes that were sent, and those that were there already. */
export interface UploadResult {
  /** The folder of the bundle on the node, absolute. */
  readonly folder: string;
  /** The site file on the node, with the secrets beside it. */
  readonly site: string;
  /** The public key on the node, for a node that trusts none yet. */
  readonly key: string;
  readonly sentBytes: number;
  readonly keptBytes: number;
}

export interface UploadProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A run of the node's own installer, which goes on when the connection does not. */
export interface FollowedRun {
  /** null: it was ended by a signal. */
  readonly exitCode: number | null;
  /** Everything that it printed. */
  readonly log: string;
  /** True: it had been started by an earlier deploy, and was only followed. */
  readonly wasRunning: boolean;
}

/**
 * One node of a site as a rollout sees it. host/ssh.ts and fleet/remote-node.ts make it real; a rollout's tests
 * drive it without a network.
 */
export interface NodeAgent {
  /** Its name in the site file. */
  readonly name: string;
  /** One command, waited for; a non-zero exit is a result. @throws BundleError when the node cannot be reached */
  run(argv: Argv, options?: RemoteRunOptions): Promise<RunResult>;
  /** Brings the folder of the bundle and the site files there: resumed, verified, skipped when it is there. */
  upload(onProgress: (progress: UploadProgress) => void): Promise<UploadResult>;
  /**
   * Starts a command of the node's own installer as root, detached from the connection, and follows it to its end,
   * through lost connections. One that is running already from the same `id` is followed on.
   */
  follow(id: string, argv: Argv, onLine: OnLine): Promise<FollowedRun>;
  close(): Promise<void>;
}
