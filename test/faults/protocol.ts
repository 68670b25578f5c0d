/* What the campaign (on the host) and its driver (on the node) say to each other. */

/** One run of the command with one thing that goes wrong. */
export interface Fault {
  /** Variables of shim.c; `FAULT_FIRED` and `LD_PRELOAD` are added. */
  readonly shim?: Readonly<Record<string, string>>;
  /** Loads shim.c into rpm instead of the installer. */
  readonly inRpm?: boolean;
  /** SIGKILL to everything of the run once the installer is dead, as a power cut would: rpm and builds too. */
  readonly everything?: boolean;
  /** SIGKILL after so many milliseconds: to the program, or with `everything` to all of the run. */
  readonly killAfterMs?: number;
  /** The milliseconds of `killAfterMs` begin when this line is printed. */
  readonly killAfterLine?: string;
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
  /** What is typed afterwards, without any fault. */
  readonly then: string;
  /** The state in which it has to end. */
  readonly end: string;
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
  /** When each line was printed that begins a step, in milliseconds. */
  readonly steps?: readonly (readonly [ms: number, line: string])[];
  /** Against the state from which it started; present where it was asked for. */
  readonly changed?: readonly string[];
  /** What its error said was typed first, then it again. */
  readonly advised?: boolean;
  /** The service's answers while it ran, in the order in which they changed; "-" is none. */
  readonly answers?: readonly string[];
}

export interface CaseResult {
  readonly id: string;
  readonly attempts: readonly Attempt[];
  /** What was typed afterwards, without any fault. */
  readonly last: Attempt;
  /** The locks of an rpm that was killed were removed first, as the program (or rpm itself) had asked for. */
  readonly advised?: boolean;
  readonly digest: string;
  /** Against the state in which it has to end. */
  readonly differs: readonly string[];
  readonly error?: string;
}

/** What is looked at on a node, besides /etc, /usr, /opt and the rpmdb. */
export interface Subject {
  readonly units: readonly string[];
  /** Names for `rpm -V`, where they are installed. */
  readonly packages: readonly string[];
  readonly folders: readonly string[];
  /** Patterns of paths that differ from one fresh node to the next. */
  readonly differing: readonly string[];
  /** The miniature's socket is asked. */
  readonly answers: boolean;
  readonly commandMs?: number;
}

/** A node's state, and its documents without times and run ids. */
export interface Look {
  readonly state: readonly (readonly [string, string])[];
  readonly documents: readonly (readonly [string, string])[];
}

/** One run of a command with one thing that goes wrong. */
export interface Strike {
  readonly command: string;
  /** The last words: nothing goes wrong now, and what an error says after a power cut is typed. */
  readonly fault: Fault | 'power cut before';
}
