import { createHash } from 'node:crypto';

/** What a node looks like: paths and other names, and what is there in words. */
export type State = ReadonlyMap<string, string>;

export const digestOf = (state: State): string =>
  createHash('sha256')
    .update(
      [...state]
        .map(([path, entry]) => `${path}\t${entry}\n`)
        .sort()
        .join(''),
    )
    .digest('hex');

export function differences(before: State, after: State): string[] {
  const found: string[] = [];
  for (const [path, entry] of before)
    if (after.get(path) !== entry)
      found.push(after.has(path) ? `~ ${path}: ${entry} → ${after.get(path) ?? ''}` : `- ${path}`);
  for (const path of after.keys()) if (!before.has(path)) found.push(`+ ${path}`);
  return found.sort();
}
