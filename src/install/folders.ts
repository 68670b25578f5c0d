import type { Configuration, ConfiguredDirectory } from '../configure/types.js';
import type { FileFacts } from '../host/host.js';
import { octal } from '../model/octal.js';

/** What stands at the place of a declared folder, links followed. */
export type FolderState = Pick<FileFacts, 'kind' | 'mode' | 'uid' | 'gid'>;

/** The part of the node's facts that folders are compared with. */
export interface FolderFacts {
  /** Path → what is there; null: an inventory of before that was read, which knows only that something is. */
  readonly directories: ReadonlyMap<string, FolderState | null>;
  /** The same of the folders above them. */
  readonly parents: ReadonlyMap<string, FolderState>;
  readonly users: ReadonlyMap<string, { readonly uid: number; readonly gid: number }>;
  readonly groups: ReadonlyMap<string, number>;
}

/** The folders above those that are declared, without "/": whoever may change one of them can put another in its place. Pure. */
export function parentsOf({ directories }: Pick<Configuration, 'directories'>): string[] {
  const declared = new Set(directories.map(({ path }) => path));
  const above = directories.flatMap(({ path }) => {
    const names = path.split('/');
    return names.slice(2).map((_, index) => names.slice(0, index + 2).join('/'));
  });
  return [...new Set(above)].filter((path) => !declared.has(path));
}

/**
 * Why a place cannot be the folder that is declared, or lead there. Who owns a folder, or may write to it, can put
 * another file in the place of ours, whatever the modes of the files are: that may be root, the owner that is
 * declared, and the accounts of this software. Pure.
 */
export function folderRefusals(configuration: Configuration, facts: FolderFacts): string[] {
  const ours = accountsOf(configuration, facts);
  return [
    ...configuration.directories.flatMap((directory) => {
      const there = facts.directories.get(directory.path);
      return there ? judge(directory, there, ours, facts) : [];
    }),
    ...parentsOf(configuration).flatMap((path) => {
      const there = facts.parents.get(path);
      if (there === undefined || isSticky(there)) return [];
      return judge({ path, ...PARENT }, there, ours, facts);
    }),
  ];
}

/** As /tmp: what is root's there, others can neither rename nor remove, and what they put there first shows its owner. */
const isSticky = ({ kind, mode, uid }: FolderState): boolean =>
  kind === 'directory' && uid === 0 && (mode & 0o1000) !== 0;

const PARENT = { mode: 0o755, owner: 'root', group: 'root' } as const;

function judge(
  { path, mode, owner, group }: Pick<ConfiguredDirectory, 'path' | 'mode' | 'owner' | 'group'>,
  there: FolderState,
  ours: ReadonlySet<number>,
  facts: FolderFacts,
): string[] {
  if (there.kind !== 'directory')
    return [`${path} is to be a folder and is none (see: stat ${path}): move it away`];
  if (!ours.has(there.uid))
    return [
      `${path} belongs to ${ownerOf(there, facts)}, who can replace what the service reads there (chown ${owner}:${group} ${path})`,
    ];
  const writers = writersOf(there) & ~mode;
  if (writers === 0) return [];
  return [
    `${path} can be written by ${(writers & 0o002) === 0 ? 'its group' : 'everybody'} (${octal(there.mode)}): who may write there can replace what the service reads (chmod ${octal(mode)} ${path})`,
  ];
}

/** The numbers of root and of whoever this configuration names; an account that is yet to be made has none. */
function accountsOf({ users, directories }: Configuration, facts: FolderFacts): Set<number> {
  const names = [...users.map(({ name }) => name), ...directories.map(({ owner }) => owner)];
  return new Set([0, ...names.flatMap((name) => facts.users.get(name)?.uid ?? [])]);
}

/** What is there already keeps its mode and owner, as somebody else's may; that it does is said. Pure. */
export function folderNotes({ directories }: Configuration, facts: FolderFacts): string[] {
  return directories.flatMap((directory) => {
    const there = facts.directories.get(directory.path);
    if (there?.kind !== 'directory' || directory.shared || isAsDeclared(directory, there, facts)) return [];
    const { path, mode, owner, group } = directory;
    const once = facts.users.has(owner) && facts.groups.has(group) ? '' : 'once that account is there: ';
    return [
      `${path} is there as ${octal(there.mode)} ${ownerOf(there, facts)} and stays so; a new one would be ${octal(mode)} ${owner}:${group} (${once}chown ${owner}:${group} ${path} && chmod ${octal(mode)} ${path})`,
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
