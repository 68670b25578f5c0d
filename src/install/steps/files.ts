import { dirname } from 'node:path';
import { stepError } from '../../errors.js';
import type { Host } from '../../host/host.js';
import { Sha256 } from '../../model/grammar.js';
import type { Built } from '../build.js';
import { placedFile, placedLink } from '../placed.js';
import type { InstalledFile, InstalledLink } from '../receipt.js';
import { ownerOf } from '../rpm.js';
import type { Changes } from '../undo.js';

export interface PlacedFiles {
  readonly files: readonly InstalledFile[];
  readonly links: readonly InstalledLink[];
}

/** @param takeOver files of installed packages may be overwritten */
export async function placeFiles(
  host: Host,
  built: readonly Built[],
  takeOver: boolean,
  changes: Changes,
): Promise<PlacedFiles> {
  if (!takeOver) await requireUnowned(host, built);
  const placed: { files: InstalledFile[]; links: InstalledLink[] } = { files: [], links: [] };
  for (const { component, files } of built) {
    for (const file of files) {
      await changes.ensureDirectory(dirname(file.path));
      const sha256 = Sha256.parse(await host.sha256(file.from));
      await changes.keep(file.path, placedFile(sha256));
      requireUnchanged(
        file.from,
        sha256,
        await host.copyDurable(file.from, file.path, { mode: file.mode, sha256 }),
      );
      placed.files.push({ component: component.name, path: file.path, sha256, mode: file.mode });
    }
    for (const link of component.links) {
      await changes.ensureDirectory(dirname(link.path));
      await changes.keep(link.path, placedLink(link.to));
      await host.linkDurable(link.path, link.to);
      placed.links.push({ component: component.name, path: link.path, to: link.to });
    }
  }
  return placed;
}

/** The build's processes have ended: only root could have written there since. */
function requireUnchanged(from: string, expected: string, actual: string): void {
  if (expected === actual) return;
  throw stepError({
    code: 'BUILD_OUTPUT',
    message: 'a built file changed while it was put in place',
    where: from,
    hint: 'Who else is root on this node? Run the same command again.',
  });
}

/** A file of a package is not overwritten: rpm would call it damaged, and an update would put it back. */
async function requireUnowned(host: Host, built: readonly Built[]): Promise<void> {
  const owned: string[] = [];
  for (const { component, files } of built)
    for (const { path } of [...files, ...component.links]) {
      if ((await host.lstat(path)) === undefined) continue;
      const owner = await ownerOf(host, path);
      if (owner !== undefined) owned.push(`${path} belongs to ${owner}`);
    }
  if (owned.length > 0)
    throw stepError({
      code: 'OWNED_BY_RPM',
      message: 'the build would overwrite files of installed packages',
      where: 'step files',
      details: owned.slice(0, 20),
      hint: 'Remove the package, or run again with --take-over.',
    });
}
