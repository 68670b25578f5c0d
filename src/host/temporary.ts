import { basename, dirname, join } from 'node:path';

const ENDING = '.airbundle-new';

/**
 * Where a file is written before it is renamed into its place. Always the same name: only the holder of the
 * lock writes, and what a killed run left is written over by the next one.
 */
export function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}${ENDING}`);
}

/** What a write leaves when it is killed. @param name without its folder */
export function isTemporary(name: string): boolean {
  return name.startsWith('.') && name.endsWith(ENDING);
}
