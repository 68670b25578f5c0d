import { BundleError } from '../errors.js';
import { plain } from '../model/plain.js';

/** An error in one sentence. */
export function reasonOf(error: unknown): string {
  if (error instanceof BundleError) return error.message;
  return error instanceof Error ? error.message : String(error);
}

/** The same with its code, its evidence and the next step, a line each: for a list of several nodes' errors. */
export function reasonInFull(error: unknown): string {
  if (!(error instanceof BundleError)) return reasonOf(error);
  return [
    `error[${error.code}]: ${error.message}`,
    ...error.details.map((line) => `  ${line}`),
    ...(error.hint?.split('\n').map((line, index) => `  ${index === 0 ? 'next:' : '     '} ${line}`) ?? []),
  ].join('\n');
}

/** The line of a program's stderr that says what happened: the node's own error, or the last one. */
export function firstWords(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const told = lines.find((line) => line.startsWith('error['));
  return plain((told ?? lines[lines.length - 1] ?? 'it said nothing').trim());
}

/** The error block that the node's airbundle ends with, or its last lines. */
export function lastWords(log: string, count = 12): string[] {
  const lines = log.split('\n').filter((line) => line.trim() !== '');
  const at = lines.map((line) => line.startsWith('error[')).lastIndexOf(true);
  return (at < 0 ? lines.slice(-count) : lines.slice(at, at + count)).map((line) => plain(line));
}

/** A line of a node's own progress, as a note beside the step that it belongs to. */
export const noteOf = (line: string): string => plain(line.trim().replace(/^[…✓✗] (?:still: )?/, ''));

export const list = (names: readonly string[]): string =>
  names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names[names.length - 1] ?? ''}`;
