import type { Configuration, ConfiguredDirectory } from '../configure/types.js';
import type { FileFacts } from '../host/host.js';

/** What stands at the place of a declared folder, links followed. */
export type FolderState = Pick<FileFacts, 'kind' | 'mode' | 'uid' | 'gid'>;

/** The part of the node's facts that folders are compared with. */
export interface FolderFacts {
  /** Path → what is there; null: an inventory of before that was read, which knows only that something is. */
  readonly directories: ReadonlyMap<string, FolderState | null>;
  readonly users: ReadonlyMap<string, { readonly uid: number; readonly gid: number }>;
  readonly groups: ReadonlyMap<string, number>;
}

/** Permission bits as four octal digits: "0755". */
export const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

/**
 * Why a place cannot be the folder that is declared. A folder that others may write to would let them put
 * another file in the place of ours, whatever the modes of the files are. Pure.
 */
export function folderRefusals({ directories }: Configuration, facts: FolderFacts): string[] {
  return directories.flatMap((directory) => {
    const there = facts.directories.get(directory.path);
    if (there === undefined || there === null) return [];
    if (there.kind !== 'directory')
      return [`${directory.path} is to be a folder and is none (see: stat ${directory.path}): move it away`];
    const writers = writersOf(there) & ~directory.mode;
    if (directory.shared || writers === 0) return [];
    return [
      `${directory.path} can be written by ${(writers & 0o002) === 0 ? 'its group' : 'everybody'} (${octal(there.mode)}): who may write there can replace what the service reads (chmod ${octal(directory.mode)} ${directory.path})`,
    ];
  });
}

/** What is there already keeps its mode and owner, as somebody else's may; that it does is said. Pure. */
export function folderNotes({ directories }: Configuration, facts: FolderFacts): string[] {
  return directories.flatMap((directory) => {
    const there = facts.directories.get(directory.path);
    if (there?.kind !== 'directory' || directory.shared || isAsDeclared(directory, there, facts)) return [];
    const { path, mode, owner, group } = directory;
    return [
      `${path} is there as ${octal(there.mode)} ${ownerOf(there, facts)} and stays so; a new one would be ${octal(mode)} ${owner}:${group} (chown ${owner}:${group} ${path} && chmod ${octal(mode)} ${path})`,
    ];
  });
}

/** "root:root", USER:GROUP; the numbers of whoever has no name here. */
export function ownerOf({ uid, gid }: FolderState, { users, groups }: FolderFacts): string {
  const user = [...users].find(([, account]) => account.uid === uid)?.[0] ?? String(uid);
  const group = [...groups].find(([, id]) => id === gid)?.[0] ?? String(gid);
  return `${user}:${group}`;
}

function isAsDeclared(directory: ConfiguredDirectory, there: FolderState, facts: FolderFacts): boolean {
  return (
    there.mode === directory.mode &&
    there.uid === facts.users.get(directory.owner)?.uid &&
    there.gid === facts.groups.get(directory.group)
  );
}

/** Those besides the owner; root's group is root. */
function writersOf({ mode, gid }: FolderState): number {
  return mode & (gid === 0 ? 0o002 : 0o022);
}
