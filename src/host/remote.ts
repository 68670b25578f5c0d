import type { Duplex, Readable, Writable } from 'node:stream';
import type { BundleError } from '../errors.js';

/** One command on another machine. */
export interface RemoteProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * Its end, both outputs read by then. `exitCode` null: a signal ended it.
   * @throws BundleError CONNECTION_LOST when the connection went before the command told its end
   */
  readonly ended: Promise<RemoteEnd>;
  /** Gives it up: its channel is closed. */
  abandon(): void;
}

export interface RemoteEnd {
  readonly exitCode: number | null;
  readonly signal: string | undefined;
}

/** A connection that has proved whom it reaches and who asks. */
export interface RemoteSession {
  /** False once it is lost or closed. */
  readonly isOpen: boolean;
  /** @param command a line for the login's shell */
  exec(command: string): Promise<RemoteProcess>;
  /** A TCP connection that the far machine makes. */
  forward(host: string, port: number): Promise<Duplex>;
  close(): void;
}

/** One way to prove who asks; of an agent's keys only these public ones, when there is a list. */
export type LoginAttempt =
  | { readonly kind: 'none' }
  | { readonly kind: 'agent'; readonly socket: string; readonly only?: readonly Buffer[] }
  | { readonly kind: 'key'; readonly file: string; readonly key: Buffer; readonly passphrase?: string }
  | { readonly kind: 'password'; readonly password: string };

/** Told which methods the far machine still takes; undefined: nothing is left to try. */
export type NextAttempt = (methods: readonly string[]) => Promise<LoginAttempt | undefined>;

export interface DialRequest {
  /** For messages: the node's name and address. */
  readonly where: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The connection that carries this one. */
  readonly via: RemoteSession | undefined;
  /** Host key algorithms that are offered, the preferred one first. */
  readonly hostKeyAlgorithms: readonly string[];
  /** Asked once, before anything of the login is sent; an error ends the connection. */
  readonly judgeHostKey: (key: Buffer) => BundleError | undefined;
  readonly nextAttempt: NextAttempt;
  /** What was tried and what was not, for the words of a refusal. */
  readonly told: () => readonly string[];
  /** Until the host key was seen. */
  readonly timeoutMs: number;
}

/** host/ssh.ts; tests put their own in its place only to cut it. */
export type Dial = (request: DialRequest) => Promise<RemoteSession>;
