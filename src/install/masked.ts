/** What stands for a line that holds a secret. */
export const MASK = '(a line that may hold a secret; not shown)';

export interface MaskedText {
  readonly text: string;
  /** At least one line is not shown. */
  readonly masked: boolean;
}

/** Words beside which passwords and keys are written, in any program's configuration. */
const SENSITIVE =
  /pass(?!ive)|secret|token|credential|private|api[-_]?key|auth(?!entication\b|_type\b|ors?\b)|community|\bkey\b|\bpsk\b|keytab/i;
/** "auth_type PASS" names the kind of a secret, and holds none. */
const KIND_OF_SECRET = /^\s*auth_type\s+\w+\s*$/;
const PRIVATE_KEY = { begin: /-----BEGIN [A-Z ]*PRIVATE KEY/, end: /-----END [A-Z ]*PRIVATE KEY/ };
/** A shorter secret is part of too many other words; the word beside it hides its line. */
const MIN_SECRET = 4;

/**
 * The text without lines that hold one of these secrets, look like another secret's, or have one of these shapes.
 * The same text again when it is masked again. Pure.
 */
export function maskSecrets(
  text: string,
  secrets: readonly string[],
  shapes: readonly RegExp[] = [],
): MaskedText {
  let masked = false;
  let inKey = false;
  const lines = text.split('\n').map((line) => {
    const begins = PRIVATE_KEY.begin.test(line);
    inKey ||= begins;
    const hidden =
      inKey || (line !== '' && (isSecret(line, secrets) || shapes.some((one) => one.test(line))));
    if (PRIVATE_KEY.end.test(line)) inKey = false;
    if (!hidden && line !== MASK) return line;
    masked = true;
    return MASK;
  });
  return { text: lines.join('\n'), masked };
}

function isSecret(line: string, secrets: readonly string[]): boolean {
  return line !== MASK && (holdsOne(line, secrets) || SENSITIVE.test(line.replace(KIND_OF_SECRET, '')));
}

function holdsOne(line: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret.length >= MIN_SECRET && line.includes(secret));
}

/**
 * What the lines with secrets look like in a text that was rendered with them: an older text of the same
 * file may hold another secret in the same place.
 */
export function secretShapes(rendered: string, secrets: readonly string[]): RegExp[] {
  return rendered.split('\n').flatMap((line) => {
    const secret = secrets.find((one) => one.length >= MIN_SECRET && line.includes(one));
    if (secret === undefined) return [];
    const [before = '', ...after] = line.split(secret).map((part) => part.trim());
    const around = [before, after[after.length - 1] ?? ''].map(escapeRegExp);
    return [new RegExp(`^\\s*${around[0] ?? ''}.*${around[1] ?? ''}\\s*$`)];
  });
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

export interface MaskedPair {
  readonly before: string | undefined;
  readonly after: string | undefined;
  /** Lines of one of the two are not shown; its digest would let the rest be guessed. */
  readonly masked: boolean;
}

/**
 * What was at a path and what will be, fit for a plan. A file that is said to be secret and in which no secret is
 * found is not shown at all.
 */
export function maskPair(
  before: string | undefined,
  after: { readonly content: string; readonly secret: boolean },
  secrets: readonly string[],
): MaskedPair {
  const shapes = after.secret ? secretShapes(after.content, secrets) : [];
  const now = maskSecrets(after.content, secrets);
  if (after.secret && !now.masked) return { before: undefined, after: undefined, masked: true };
  const then = before === undefined ? undefined : maskSecrets(before, secrets, shapes);
  return {
    before: then?.text,
    after: now.text,
    masked: after.secret || now.masked || then?.masked === true,
  };
}
