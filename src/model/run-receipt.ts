import { z } from 'zod';
import { Sha256 } from './grammar.js';

const MAX_WORDS = 100_000;
const words = z.array(z.string()).max(MAX_WORDS);

/** What is at a path; null: nothing. */
const PathState = z.union([
  z.strictObject({
    sha256: Sha256,
    /** Octal, as chmod takes it. */
    mode: z.string(),
    uid: z.int(),
    gid: z.int(),
  }),
  z.strictObject({ link: z.string() }),
]);
export type PathState = z.infer<typeof PathState>;

/** A user, and what says so. */
const Person = z.strictObject({ uid: z.int(), name: z.string().nullable() });

const Who = z.strictObject({
  /** The user that the program ran as. */
  uid: z.int(),
  /** The user that logged in, as the kernel's audit remembers; null: it does not. */
  login: Person.nullable(),
  /** The user of the nearest process above this one that is not root's; null: all are root's. */
  above: Person.nullable(),
  /** What an environment above says; whoever started the program could have written it. */
  sudo: Person.nullable(),
  /** The terminal and its owner; null: there was none. */
  terminal: z.strictObject({ path: z.string(), owner: Person }).nullable(),
});
export type Who = z.infer<typeof Who>;

const RecordedCommand = z.strictObject({
  argv: words,
  /** null: it never ran, or a signal ended it. */
  exitCode: z.int().nullable(),
  signal: z.string().optional(),
  /** ENOENT and the like, when it could not be started. */
  startError: z.string().optional(),
  timedOut: z.literal(true).optional(),
  durationMs: z.number(),
});
export type RecordedCommand = z.infer<typeof RecordedCommand>;

const Packages = z.strictObject({
  count: z.int(),
  /** SHA-256 of the sorted NEVRAs, one a line. */
  digest: Sha256,
});

const UnitState = z.strictObject({ active: z.string(), enabled: z.string() });

/** One run that changed this node, or began to. `null` anywhere: not known, or it does not apply. */
export const RunReceiptSchema = z.strictObject({
  airbundleRunReceipt: z.literal(1),
  /** 1, 2, 3 …: none is missing. */
  number: z.int().min(1),
  /** SHA-256 of the bytes of the record before; null for the first. */
  previous: Sha256.nullable(),
  run: z.string(),
  command: z.string(),
  outcome: z.enum(['done', 'failed', 'interrupted', 'killed']),
  /** `journal`: the run could not write this itself; the next one did, with what the journal knows. */
  source: z.enum(['run', 'journal']),
  host: z.string(),
  who: Who.nullable(),
  /** UTC. */
  startedAt: z.string(),
  endedAt: z.string().nullable(),
  /** By the monotonic clock. */
  durationMs: z.number().nullable(),
  program: z.strictObject({ version: z.string(), sha256: Sha256.nullable() }).nullable(),
  bundle: z
    .strictObject({
      name: z.string(),
      version: z.string(),
      sequence: z.int().nullable(),
      digest: z.string(),
    })
    .nullable(),
  keys: z.strictObject({ verified: words, threshold: z.int() }).nullable(),
  site: z.strictObject({ node: z.string().nullable(), digest: z.string().nullable() }).nullable(),
  flags: words,
  /** SHA-256 of the plan as JSON, as it was shown. */
  planDigest: Sha256.nullable(),
  verified: z
    .strictObject({
      /** null: it was not read, because no step needed it. */
      payload: Sha256.nullable(),
      members: z.int(),
      rpms: z.record(z.string(), z.string()),
    })
    .nullable(),
  commands: z
    .strictObject({
      list: z.array(RecordedCommand).max(MAX_WORDS),
      /** How many more there were. */
      more: z.int(),
    })
    .nullable(),
  packages: z.strictObject({ before: Packages.nullable(), after: Packages.nullable() }),
  files: z.record(
    z.string(),
    z.strictObject({
      before: PathState.nullable(),
      after: PathState.nullable(),
      /** What is at the path was not looked at any more. */
      afterUnknown: z.literal(true).optional(),
    }),
  ),
  /** How many more files there were. */
  moreFiles: z.int(),
  services: z.record(
    z.string(),
    z.strictObject({ before: UnitState.nullable(), after: UnitState.nullable() }),
  ),
  /** What a person agreed to, where it has no plan. */
  changes: words,
  warnings: words,
  error: z
    .strictObject({ code: z.string(), exit: z.int(), message: z.string(), where: z.string().nullable() })
    .nullable(),
});
export type RunReceipt = z.infer<typeof RunReceiptSchema>;

const NAME = /^(\d{6,9})-([0-9A-Za-z][0-9A-Za-z._-]{0,99})\.json$/;

export function receiptName(number: number, run: string): string {
  return `${String(number).padStart(6, '0')}-${run}.json`;
}

/** undefined: no name of a record. */
export function parseReceiptName(
  name: string,
): { readonly number: number; readonly run: string } | undefined {
  const [, number, run] = NAME.exec(name) ?? [];
  return number === undefined || run === undefined ? undefined : { number: Number(number), run };
}
