import { dirname } from 'node:path';
import type { DocumentOutput } from './commandline.js';
import { usageError } from './errors.js';
import type { Host } from './host/host.js';
import { plain, plainJson, plainLines } from './model/plain.js';

/** Before the work begins: whether a document can go there at all. @throws BundleError exit 2 */
export async function requirePlace(host: Host, { file }: DocumentOutput): Promise<void> {
  if (file === undefined) return;
  const there = await host.lstat(file);
  const folder = await host.realpath(dirname(file));
  const kind = folder === undefined ? undefined : (await host.lstat(folder))?.kind;
  if (kind === 'directory' && (there === undefined || there.kind === 'file')) return;
  throw usageError({
    code: 'BAD_OUTPUT',
    message:
      kind !== 'directory'
        ? 'there is no such folder to write the document to'
        : 'this is not a regular file: the document does not go over it',
    where: plain(file),
    hint: 'Give another path: -o FILE.json',
  });
}

/** Text, or the document, to stdout; the document to its file, durably, which only this user reads. */
export async function putDocument(
  host: Host,
  { form, file }: DocumentOutput,
  document: { readonly value: unknown; readonly bytes: string; readonly text: string },
): Promise<void> {
  if (file !== undefined)
    await host.writeDurable(file, document.bytes, {
      mode: 0o600,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
    });
  await printed(form === 'json' ? `${plainJson(document.value)}\n` : plainLines(document.text));
}

/** Until it is out: the process ends right after, and a reader may have gone already (`| head`). */
async function printed(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const gone = (error?: NodeJS.ErrnoException | null): void => {
      if (error === undefined || error === null || error.code === 'EPIPE') resolve();
      else reject(error);
    };
    process.stdout.once('error', gone).write(text, gone);
  });
}
