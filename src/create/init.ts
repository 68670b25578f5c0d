import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { usageError } from '../errors.js';
import { unwritable } from './store.js';

/** From the package to the new folder; a folder means all files in it. */
const PARTS = [
  ['manifests/start', '.'],
  ['dockerfiles/centos-7.5', 'collector'],
  ['docs/schema', 'schema'],
] as const;

/** What the shipped start says about its neighbours, and what it says in its new place. */
const MOVED = [
  ['../../docs/schema/', 'schema/'],
  ['../../dockerfiles/centos-7.5', 'collector'],
] as const;

/**
 * Writes a manifest, its templates and a site to start from, with the collector's Dockerfile and the
 * schemas that editors look for beside them.
 * @param packageFolder where this program is installed
 * @returns the written files, relative to `folder`
 * @throws BundleError exit 2 when one of them is there already; nothing is written then
 */
export async function initFolder(packageFolder: string, folder: string): Promise<string[]> {
  const files = [];
  for (const [from, to] of PARTS)
    for (const name of await filesBelow(path.join(packageFolder, from)))
      files.push({ from: path.join(packageFolder, from, name), to: path.join(to, name) });

  const taken = [];
  for (const { to } of files) if (await isThere(path.join(folder, to))) taken.push(to);
  if (taken.length > 0)
    throw usageError({
      code: 'INIT_EXISTS',
      message: `${taken.join(', ')} ${taken.length === 1 ? 'is' : 'are'} there already; nothing was written`,
      where: folder,
      hint: 'Give a new folder: bundle init my-bundle',
    });

  for (const { from, to } of files) {
    const target = path.join(folder, to);
    let text = await readFile(from, 'utf8');
    if (to.endsWith('.yaml')) for (const [there, here] of MOVED) text = text.replaceAll(there, here);
    try {
      await mkdir(path.dirname(target), { recursive: true });
      await writeFile(target, text, { flag: 'wx' });
    } catch (cause) {
      throw unwritable(target, cause);
    }
  }
  return files.map(({ to }) => to);
}

async function filesBelow(folder: string): Promise<string[]> {
  const found = [];
  for (const name of (await readdir(folder, { recursive: true })).sort())
    if ((await stat(path.join(folder, name))).isFile()) found.push(name);
  return found;
}

const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );
