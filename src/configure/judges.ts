/*
 * What answers on a local socket mean. Install asks and hands the text over; the knowledge of a program
 * stays here, behind a name that a plan and a receipt can hold.
 */

/** Somewhere that a service sends its clients to. */
export interface BackendRow {
  readonly proxy: string;
  readonly server: string;
  /** UP, DOWN, `UP 1/3`, MAINT, `no check`, … */
  readonly status: string;
  /** The last health check, `L7OK`, `L4CON`, … with `* ` before it while one runs. */
  readonly check: string;
}

export interface Verdict {
  /** What is missing or not open: the check fails. */
  readonly problems: readonly string[];
  /** Backends that are not up: shown, but the other side may simply not be running yet. */
  readonly warnings: readonly string[];
}

/** Both throw an Error when the text is no such answer. */
export interface Judge {
  verdict(answer: string, expected: readonly string[]): Verdict;
  backends(answer: string): readonly { readonly row: BackendRow; readonly up: boolean }[];
}
