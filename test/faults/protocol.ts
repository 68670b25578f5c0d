/* What the campaign (on the host) and its driver (on the node) say to each other. */

/** One run of the command with one thing that goes wrong. */
export interface Fault {
  /** Variables of shim.c; `FAULT_FIRED` and `LD_PRELOAD` are added. */
  readonly shim?: Readonly<Record<string, string>>;
  /** Loads shim.c into rpm instead of the installer. */
  readonly inRpm?: boolean;
  /** SIGKILL to everything of the run once the installer is dead, as a power cut would: rpm and builds too. */
  readonly everything?: boolean;
  /** SIGKILL to everything of the run after so many milliseconds. */
  readonly killAfterMs?: number;
  /** Shell before and after this run. */
  readonly before?: string;
  readonly after?: string;
  /** Shell while it runs; the fault has fired when it exits 0. */
  readonly during?: string;
  /** Nothing has to fire: `before` is the fault, and a run that ends well in spite of it has not met it. */
  readonly standing?: boolean;
}

export interface Case {
  readonly id: string;
  /** The state from which it starts. */
  readonly from: string;
  readonly command: string;
  readonly faults: readonly Fault[];
  /** Compare what a faulted run leaves with `from`; otherwise only the end counts. */
  readonly compare?: boolean;
}

export interface Attempt {
  /** null: a signal ended it. */
  readonly exit: number | null;
  /** What shim.c wrote when it fired. */
  readonly fired: string | undefined;
  readonly said: string;
  readonly ms: number;
  /** Against the state from which it started; present where it was asked for. */
  readonly changed?: readonly string[];
  /** The service's answers while it ran, in the order in which they changed; "-" is none. */
  readonly answers?: readonly string[];
}

export interface CaseResult {
  readonly id: string;
  readonly attempts: readonly Attempt[];
  /** The same command, without any fault. */
  readonly last: Attempt;
  readonly digest: string;
  /** Against the end of the unbroken run. */
  readonly differs: readonly string[];
  readonly error?: string;
}
