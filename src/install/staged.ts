import { stepError } from '../errors.js';
import type { Contents } from '../model/contents.js';
import { target } from '../model/layout.js';

/** @param staged where the payload was unpacked; undefined when no step of the plan needs it */
export function stagedFolder(staged: string | undefined): string {
  if (staged === undefined) throw new Error('this plan needs the payload, which was not staged');
  return staged;
}

export function digestOf(contents: Contents, path: string): string {
  const found = contents.members.find((entry) => entry.path === path)?.sha256;
  if (found === undefined) throw new Error(`${path} is no member of this bundle`);
  return found;
}

export function requireDigest(path: string, expected: string, actual: string): void {
  if (expected === actual) return;
  throw stepError({
    code: 'STAGE_CHANGED',
    message: `${path} changed since it was verified: SHA-256 is ${actual}, expected ${expected}`,
    where: target.stage,
    hint: 'Somebody or a failing disk changed the stage. Run the same command again; if it comes again, see: dmesg | tail',
  });
}
