import { join } from 'node:path';
import type { Host } from '../../host/host.js';
import type { Contents } from '../../model/contents.js';
import { member, target } from '../../model/layout.js';
import { placedFile, placedLink, placedText } from '../placed.js';
import { commandScript } from '../plan.js';
import { digestOf, requireDigest } from '../staged.js';
import type { Changes } from '../undo.js';

/** The runtime, the programs that the bundle has and the command that starts them. @param alias also /usr/sbin/bundle */
export async function placeCommand(
  host: Host,
  { contents, staged, alias }: { contents: Contents; staged: string; alias: boolean },
  changes: Changes,
): Promise<void> {
  await changes.makeDirectory(target.libexec, { mode: 0o755 });
  const places = [
    { from: member.runtime, to: target.runtime, mode: 0o755 },
    { from: member.installer, to: target.installer, mode: 0o644 },
    { from: member.deploy, to: target.deploy, mode: 0o644 },
  ].filter(({ from }) => contents.members.some(({ path }) => path === from));
  for (const { from, to, mode } of places) {
    const sha256 = digestOf(contents, from);
    await changes.keep(to, placedFile(sha256));
    requireDigest(from, sha256, await host.copyDurable(join(staged, from), to, { mode, sha256 }));
  }
  await changes.keep(target.command, placedText(commandScript()));
  await host.writeDurable(target.command, commandScript(), { mode: 0o755 });
  if (!alias) return;
  await changes.keep(target.commandAlias, placedLink(target.command));
  await host.linkDurable(target.commandAlias, target.command);
}
