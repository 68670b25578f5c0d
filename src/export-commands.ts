import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions } from './commandline.js';
import { EXIT, BundleError } from './errors.js';
import { ansibleRole } from './fleet/ansible-role.js';

/** `export`: on the jump host and on the packager's machine. */
export function exportCommands(root: Command, version: () => string): void {
  const command = root.command('export').description('write what other tools need to work with bundles');
  commonOptions(command.command('ansible'))
    .description("write an Ansible role that uses the nodes' own installer")
    .argument('<folder>', 'where the role goes, for example roles/airbundle; it must not be there yet')
    .addHelpText('after', `\nExample:\n  ${root.name()} export ansible roles/airbundle`)
    .action(async (folder: string, options: CommonOptions) => {
      const files = ansibleRole(version());
      await writeNew(folder, files);
      process.stdout.write(
        options.output === 'json'
          ? `${JSON.stringify({ folder, files: files.map((file) => file.path) })}\n`
          : `${files.map((file) => join(folder, file.path)).join('\n')}\nnext: read ${join(folder, 'README.md')}\n`,
      );
    });
}

async function writeNew(folder: string, files: readonly { path: string; text: string }[]): Promise<void> {
  try {
    await mkdir(dirname(folder), { recursive: true });
    await mkdir(folder);
    for (const { path, text } of files) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text, { flag: 'wx' });
    }
  } catch (cause) {
    const isThere = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new BundleError({
      code: isThere ? 'EXPORT_EXISTS' : 'EXPORT_UNWRITABLE',
      message: isThere
        ? `${folder} is there already; nothing was written`
        : `${folder} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
      where: folder,
      hint: isThere
        ? 'Give another folder, or remove this one: nothing in it is needed by airbundle'
        : 'Give a folder that you may write',
      exit: EXIT.usage,
      cause,
    });
  }
}
