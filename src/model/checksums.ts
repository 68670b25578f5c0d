import { z } from 'zod';
import { untrustedError } from '../errors.js';
import { Name, Sha256, Version } from './grammar.js';

const Header = z.strictObject({
  name: Name,
  version: Version,
  sequence: z.coerce.number().int().min(1),
  target: z.literal('el7.x86_64'),
});

/** X.sha256: a header line, then `sha256sum -c` lines. The only file that is signed. */
export interface Checksums {
  readonly name: string;
  readonly version: string;
  readonly sequence: number;
  readonly target: string;
  /** File name → SHA-256, in the file's order: the payload first, then install.sh. */
  readonly files: readonly { readonly name: string; readonly sha256: Sha256 }[];
}

/** Hostile inputs: X.sha256 holds a handful of lines. */
export const MAX_CHECKSUMS_BYTES = 64 * 1024;

export function formatChecksums(checksums: Checksums): string {
  const { name, version, sequence, target, files } = checksums;
  return [
    `# airbundle-1 name=${name} version=${version} sequence=${String(sequence)} target=${target}`,
    ...files.map((file) => `${file.sha256}  ${file.name}`),
    '',
  ].join('\n');
}

/**
 * Reads X.sha256, strictly: one form, so that what sha256sum reads and what is read here cannot differ.
 * @throws BundleError exit 4
 */
export function parseChecksums(text: string, where: string): Checksums {
  const bad = (message: string, line: number): Error =>
    untrustedError({
      code: 'BAD_CHECKSUMS',
      message,
      where: `${where}:${String(line)}`,
      hint: 'The folder is damaged or was not made by airbundle: copy it again from its origin.',
    });
  const lines = text.split('\n');
  if (lines.pop() !== '') throw bad('the last line is cut off', lines.length + 1);
  const [first = '', ...rest] = lines;
  // Read before anything is proved: each pair ends in one way only, so that no line takes long.
  const match = /^# airbundle-1 ([a-z]+=[^ =]+(?: [a-z]+=[^ =]+)*)$/.exec(first);
  if (match?.[1] === undefined) throw bad('this is not an airbundle-1 checksum file', 1);
  const header = Header.safeParse(Object.fromEntries(match[1].split(' ').map((pair) => pair.split('='))));
  if (!header.success) throw bad('the header line is not complete', 1);
  const files = rest.map((line, index) => {
    const parts = /^([0-9a-f]{64}) {2}([A-Za-z0-9][A-Za-z0-9._+-]*)$/.exec(line);
    if (parts?.[1] === undefined || parts[2] === undefined)
      throw bad('this is not a checksum line', index + 2);
    return { sha256: Sha256.parse(parts[1]), name: parts[2] };
  });
  const checksums = { ...header.data, files };
  const wanted = [`${stemOf(checksums)}.tar`, 'install.sh'];
  if (files.length !== wanted.length || files.some((file, index) => file.name !== wanted[index]))
    throw bad(`the files must be ${wanted.join(' and ')}`, 2);
  if (formatChecksums(checksums) !== text) throw bad('the header line is not in its one form', 1);
  return checksums;
}

/** X = NAME-VERSION-el7.x86_64: the folder's name and the beginning of its files' names. */
export function stemOf(release: {
  readonly name: string;
  readonly version: string;
  readonly target: string;
}): string {
  return `${release.name}-${release.version}-${release.target}`;
}
