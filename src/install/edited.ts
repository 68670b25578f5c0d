import type { ConfiguredFile } from '../configure/types.js';
import { isDigestOf } from './guarded-digest.js';
import type { Facts } from './probe.js';

/**
 * Whether somebody changed this file since the last installation wrote it. What a killed run has put there already
 * is no such change.
 */
export function isEdited(file: Pick<ConfiguredFile, 'path' | 'content'>, facts: Facts): boolean {
  return (
    facts.edited.has(file.path) && !isDigestOf(facts.files.get(file.path)?.sha256, file.path, file.content)
  );
}
