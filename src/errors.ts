/** Exit codes of every command (docs/reference/exit-codes.md). */
export const EXIT = {
  done: 0,
  internal: 1,
  usage: 2,
  invalid: 3,
  untrusted: 4,
  refused: 5,
  stepFailed: 6,
  someNodesFailed: 7,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface BundleErrorDetails {
  /** Stable, SCREAMING_SNAKE word for scripts and the troubleshooting guide. */
  readonly code: string;
  /** What happened, one sentence, for the person who must act. */
  readonly message: string;
  /** file:line:col, a step's id, a node or a command. */
  readonly where?: string;
  /** What to do next, with commands and paths that can be pasted. */
  readonly hint?: string;
  /** Evidence: the place with a caret, a command's last lines, every problem of a file. */
  readonly details?: readonly string[];
  readonly exit: ExitCode;
  readonly cause?: unknown;
}

/** The only error class that carries a message to a person; anything else is a bug in this program. */
export class BundleError extends Error {
  readonly code: string;
  readonly where: string | undefined;
  readonly hint: string | undefined;
  readonly details: readonly string[];
  readonly exit: ExitCode;

  constructor(given: BundleErrorDetails) {
    super(given.message, given.cause === undefined ? undefined : { cause: given.cause });
    this.name = 'BundleError';
    this.code = given.code;
    this.where = given.where;
    this.hint = given.hint;
    this.details = given.details ?? [];
    this.exit = given.exit;
  }

  /** The shape of an error in `-o json` and in NDJSON logs. */
  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      where: this.where,
      hint: this.hint,
      details: this.details,
      exit: this.exit,
    };
  }
}

type WithoutExit = Omit<BundleErrorDetails, 'exit'>;

/** Exit 2: the command line is wrong. */
export const usageError = (given: WithoutExit): BundleError =>
  new BundleError({ ...given, exit: EXIT.usage });

/** Exit 3: a manifest, lock, site or plan is wrong. */
export const invalidError = (given: WithoutExit): BundleError =>
  new BundleError({ ...given, exit: EXIT.invalid });

/** Exit 4: a signature, digest or package did not prove what it should. */
export const untrustedError = (given: WithoutExit): BundleError =>
  new BundleError({ ...given, exit: EXIT.untrusted });

/** Exit 5: refused before any change. */
export const refusedError = (given: WithoutExit): BundleError =>
  new BundleError({ ...given, exit: EXIT.refused });

/** Exit 6: a step failed; the message says what was undone and how to go on. */
export const stepError = (given: WithoutExit): BundleError =>
  new BundleError({ ...given, exit: EXIT.stepFailed });

/** Lines for a person: what, where, evidence, what next. */
export function describeError(error: unknown): string[] {
  if (!(error instanceof BundleError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return [`error[INTERNAL]: this is a bug in airbundle`, ...text.split('\n').map((line) => `  ${line}`)];
  }
  return [
    `error[${error.code}]: ${error.message}`,
    ...(error.where === undefined ? [] : [`  at: ${error.where}`]),
    ...error.details.map((line) => `  | ${line}`),
    ...(error.hint === undefined ? [] : [`  next: ${error.hint.split('\n').join('\n        ')}`]),
  ];
}

export function exitCodeOf(error: unknown): ExitCode {
  return error instanceof BundleError ? error.exit : EXIT.internal;
}
