import { basename, dirname, join } from 'node:path';

const ENDING = '.airbundle-new';
const CANDIDATE_ENDING = '.airbundle-test';

/**
 * Where a file is written before it is renamed into its place. Always the same name: only the holder of the
 * lock writes, and what a killed run left is written over by the next one.
 */
export function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}${ENDING}`);
}

/** Where a file is tested: beside its place, so that what it names relatively is found. */
export function candidateName(path: string): string {
  return join(dirname(path), `.${basename(path)}${CANDIDATE_ENDING}`);
}

/** What a killed run can leave beside a path that it was writing. */
export function leftoversBeside(path: string): readonly string[] {
  const candidate = candidateName(path);
  return [temporaryName(path), candidate, temporaryName(candidate)];
}

/** What a write leaves when it is killed. @param name without its folder */
export function isTemporary(name: string): boolean {
  return name.startsWith('.') && name.endsWith(ENDING);
}

/** What a killed test of a file leaves. @param name without its folder */
export function isCandidate(name: string): boolean {
  return name.startsWith('.') && name.endsWith(CANDIDATE_ENDING);
}
