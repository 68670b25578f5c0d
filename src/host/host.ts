import type { JobSlots, SlotCounts } from './job-slots.js';
import type { Argv, LoggedOptions, LoggedResult, RunOptions, RunResult } from './process.js';

/** What lstat tells of one path. */
export interface FileFacts {
  readonly kind: 'file' | 'directory' | 'link' | 'other';
  /** Permission bits with setuid, setgid and sticky (0o7777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

export interface WriteOptions {
  /** Permission bits, exactly: the umask does not count. */
  readonly mode: number;
  readonly uid?: number;
  readonly gid?: number;
}

export interface CopyOptions extends WriteOptions {
  /** What the copy must have. */
  readonly sha256?: string;
}

/** A process that holds a lock. */
export interface LockHolder {
  readonly pid: number;
  /** Its command line. */
  readonly command: string;
  /** When it was started. */
  readonly since: Date;
}

/** One name below a sealed folder. */
export interface SealedEntry extends FileFacts {
  /** Absolute, with the sealed folder as "/". */
  readonly path: string;
  /** False: the name is no UTF-8, and `path` only shows it. */
  readonly isText: boolean;
}

export interface SealedFolder {
  readonly entries: readonly SealedEntry[];
  /** Directories of another user than the one who may have filled the folder: not entered. */
  readonly foreign: readonly string[];
  /** False: there is more than was read, or it is nested too deep. */
  readonly isWhole: boolean;
}

export interface OpenFile {
  write(bytes: Uint8Array): Promise<void>;
  /** Modes set, closed; not synced: what is staged is staged again after a power cut. */
  close(): Promise<void>;
}

/**
 * One machine, as the target's side sees it. Commands get an explicit environment: the caller's
 * environment never reaches a child.
 */
export interface Host {
  /** Runs in the clean environment plus `env`, in a session of its own: Ctrl-C does not reach it. */
  run(argv: Argv, options?: RunOptions): Promise<RunResult>;
  /**
   * The same with its output appended to a file, which only root reads. It ends with the command itself:
   * what the command left running does not hold it up.
   */
  runLogged(argv: Argv, log: string, options?: LoggedOptions): Promise<LoggedResult>;
  /**
   * Slots for commands of `runLogged` that run at the same time.
   * @param path a name in a folder that only root may write, used for a moment
   * @returns undefined where they cannot be made
   */
  jobSlots(path: string, counts: SlotCounts): Promise<JobSlots | undefined>;
  /** undefined when there is no such file. */
  read(path: string): Promise<Buffer | undefined>;
  /**
   * A regular file's bytes in pieces of at most 1 MiB; links are not followed.
   * @param buffer each piece is read into the one that it gives; otherwise into a fresh one
   */
  chunks(path: string, buffer?: () => Promise<Buffer>): AsyncIterable<Buffer>;
  /** A new file that must not exist yet. */
  create(path: string, options: WriteOptions): Promise<OpenFile>;
  lstat(path: string): Promise<FileFacts | undefined>;
  /** Names in a directory, sorted; empty when there is none. */
  list(path: string): Promise<string[]>;
  /** SHA-256 of a regular file; undefined when there is none. Links are not followed. */
  sha256(path: string): Promise<string | undefined>;
  realpath(path: string): Promise<string | undefined>;
  /** What a symbolic link says; undefined when there is none. */
  readlink(path: string): Promise<string | undefined>;
  /** Makes it, or gives the one that is there these permissions. */
  makeDirectory(path: string, options: WriteOptions): Promise<void>;
  /**
   * Makes it and its parents, root's and 0755, where they are missing; what is there is left as it is.
   * @returns the directories that were made, the outermost first
   */
  ensureDirectory(path: string): Promise<readonly string[]>;
  /** Removes an empty directory; false when it is not empty or not there. */
  removeDirectory(path: string): Promise<boolean>;
  /** Temporary file in the same directory, fsync, SELinux label, rename, fsync of the directory. */
  writeDurable(path: string, bytes: string | Uint8Array, options: WriteOptions): Promise<void>;
  /**
   * The same from another file, hashed while it is copied; links are not followed.
   * @param options with `sha256`, other bytes are not put in place
   * @returns the SHA-256 of what was read
   */
  copyDurable(from: string, path: string, options: CopyOptions): Promise<string>;
  /** Makes `path` a symbolic link to `to`, over whatever was there. */
  linkDurable(path: string, to: string): Promise<void>;
  appendDurable(path: string, text: string): Promise<void>;
  append(path: string, text: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  /** Takes a folder that `uid` filled away from everybody else, and tells what is in it (seal.ts). */
  seal(path: string, uid: number, maxEntries: number): Promise<SealedFolder>;
  /** An exclusive lock held by this process until `release`, or until it dies. undefined: somebody holds it. */
  lock(path: string): Promise<{ release(): Promise<void> } | undefined>;
  /** Who holds it now, as the kernel says; undefined: nobody does, or it cannot be seen. */
  lockHolder(path: string): Promise<LockHolder | undefined>;
}

/** What looking at a bundle takes: nothing that writes, nothing that runs. */
export type ReadHost = Pick<Host, 'lstat' | 'list' | 'read' | 'chunks' | 'sha256' | 'realpath'>;
