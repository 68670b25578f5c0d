import { dirname, join } from 'node:path';
import type { BundleError } from '../errors.js';
import { refusedError } from '../errors.js';
import type { FileFacts, Host } from '../host/host.js';
import { target } from '../model/layout.js';
import { octal } from '../model/octal.js';
import { plain } from '../model/plain.js';

/** What this program believes without a signature lies here: the stage, the journal, the receipt, the keys, itself. */
const PLACES = [target.state, target.log, dirname(target.trust), target.trust, target.libexec] as const;

const OTHERS_WRITE = 0o022;

/**
 * Nobody but root may be able to put anything at these places, or another place in their stead: each folder
 * on the way is a real folder, root's, and not writable by others. What is there already was made by root.
 * Such a folder is refused, not repaired: others may have filled it.
 * @throws BundleError exit 5 with the place
 */
export async function requirePrivatePlaces(host: Pick<Host, 'lstat' | 'list'>): Promise<void> {
  const seen = new Set<string>();
  for (const place of PLACES)
    for (const folder of [...parentsOf(place), place]) {
      if (seen.has(folder)) continue;
      seen.add(folder);
      const facts = await host.lstat(folder);
      if (facts === undefined) break;
      const wrong = wrongWith(facts);
      if (wrong !== undefined) throw notPrivate(folder, wrong, facts);
      if (folder === place) await requireOwnNames(host, place);
    }
}

/**
 * The folders have the modes that they were just given. A filesystem without owners and modes (vfat, some
 * network ones) takes a chmod and forgets it.
 * @throws BundleError exit 5
 */
export async function requireModes(host: Pick<Host, 'lstat'>): Promise<void> {
  for (const folder of [target.stage, target.backup, target.log]) {
    const facts = await host.lstat(folder);
    if (facts?.kind === 'directory' && facts.uid === 0 && facts.mode === 0o700) continue;
    throw refusedError({
      code: 'PLACE_WITHOUT_MODES',
      message: `this folder was closed to others (0700) and is ${facts === undefined ? 'not there' : `${octal(facts.mode)}, owner ${String(facts.uid)}`}`,
      where: folder,
      hint: `Its filesystem keeps no owners and modes: use one that does (ext4, xfs). See: findmnt -T ${folder}`,
    });
  }
}

function parentsOf(path: string): string[] {
  const parents: string[] = [];
  for (let at = dirname(path); ; at = dirname(at)) {
    parents.unshift(at);
    if (at === '/') return parents;
  }
}

/** Whatever lies in the folder is root's too: one that was open to others once may still hold their things. */
async function requireOwnNames(host: Pick<Host, 'lstat' | 'list'>, folder: string): Promise<void> {
  for (const name of await host.list(folder)) {
    const path = join(folder, name);
    const facts = await host.lstat(path);
    if (facts === undefined || (facts.kind === 'link' && facts.uid === 0)) continue;
    const wrong = facts.uid === 0 && (facts.mode & OTHERS_WRITE) === 0 ? undefined : wrongWith(facts);
    if (wrong !== undefined) throw notPrivate(path, wrong, facts);
  }
}

function wrongWith({ kind, uid, mode }: FileFacts): string | undefined {
  if (kind === 'link') return 'is a symbolic link';
  if (uid !== 0) return `belongs to the user ${String(uid)}, not to root`;
  if ((mode & OTHERS_WRITE) !== 0) return `can be written by others than root (${octal(mode)})`;
  return kind === 'directory' ? undefined : 'is not a folder';
}

function notPrivate(path: string, wrong: string, { kind }: FileFacts): BundleError {
  const isOurs = PLACES.some((place) => path === place || path.startsWith(`${place}/`));
  const mend =
    kind === 'link'
      ? `See: namei -l ${path}. The way there must be without links: mount --bind the place where there is room`
      : `See: ls -la ${path}. Then: chown root ${path}; chmod go-w ${path}`;
  return refusedError({
    code: path.startsWith(dirname(target.trust)) ? 'BAD_TRUST' : 'PLACE_NOT_PRIVATE',
    message: `${plain(path)} ${wrong}: others could change what is verified there. Nothing was changed`,
    where: plain(path),
    hint: isOurs
      ? `Find out who wrote there before you mend it; if you cannot tell, move it away: mv ${plain(path)} ${plain(path)}.doubtful. ${plain(mend)}`
      : plain(mend),
  });
}
