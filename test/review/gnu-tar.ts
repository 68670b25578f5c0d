import { spawnSync } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packTar } from '../../src/create/pack.js';
import { localHost } from '../../src/host/local.js';
import type { Member } from '../../src/model/contents.js';
import { formatContents } from '../../src/model/contents.js';
import { BundlePath } from '../../src/model/grammar.js';
import { readPayload } from '../../src/review/payload.js';
import { sha256Of } from '../create/create-support.js';
import { makeContents } from './bundle.js';

/** A member as a reader of archives sees it. */
export interface Seen {
  readonly path: string;
  readonly mode: number;
  readonly bytes: Buffer;
}

const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', TZ: 'UTC' };

/** Its stdout. @throws Error when it fails, or warns of anything */
export function gnuTar(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('tar', args, { env, encoding: 'utf8' });
  if (status !== 0 || stderr !== '') throw new Error(`tar ${args.join(' ')}: ${String(status)}: ${stderr}`);
  return stdout;
}

/** A bundle.json that names these members, in this order; there is at least one. */
export function contentsOf(members: readonly Seen[]): string {
  const named = members.map(({ path: name, mode, bytes }): Member => ({
    // bundle.json of an attacker: whatever the archive holds is named, the reader judges it.
    path: name as BundlePath,
    mode: mode as Member['mode'],
    sizeBytes: bytes.length,
    sha256: sha256Of(bytes),
  }));
  const [first] = named;
  if (first === undefined) throw new Error('a bundle has members');
  return formatContents(
    makeContents(({ runtime, components, ...contents }) => ({
      ...contents,
      members: named,
      rpms: [],
      runtime: { ...runtime, path: first.path },
      components: components
        .slice(0, 1)
        .map((component) => ({ ...component, source: { ...component.source, path: first.path } })),
    })),
  );
}

/** What the reader of payloads sees, with the bytes that it hands on. @throws what the reader throws */
export async function readOurs(tar: string): Promise<Seen[]> {
  const seen: { path: string; mode: number; pieces: Buffer[] }[] = [];
  await readPayload(localHost(), tar, {
    open: async ({ path: name, mode }) => {
      const pieces: Buffer[] = [];
      seen.push({ path: name, mode, pieces });
      return {
        write: async (piece) => {
          pieces.push(Buffer.from(piece));
        },
        close: async () => undefined,
      };
    },
  });
  return seen.map(({ path: name, mode, pieces }) => ({ path: name, mode, bytes: Buffer.concat(pieces) }));
}

/** What GNU tar lists and extracts as root: regular files only, otherwise this throws. */
export function readGnu(tar: string, scratch: string): Seen[] {
  const into = mkdtempSync(path.join(scratch, 'extracted-'));
  gnuTar('-xpf', tar, '-C', into, '--warning=all');
  const listed = gnuTar('-tvf', tar, '--numeric-owner', '--full-time', '--quoting-style=escape');
  const seen = listed
    .split('\n')
    .slice(0, -1)
    .map((line): Seen => {
      const match = /^-([rwx-]{9}) 0\/0 +(\d+) 1970-01-01 00:00:00 (\S+)$/.exec(line);
      if (match === null) throw new Error(`GNU tar lists: ${line}`);
      const [, letters = '', size = '', name = ''] = match;
      const bits = [...letters].map((letter) => (letter === '-' ? '0' : '1')).join('');
      const facts = lstatSync(path.join(into, name));
      const mode = parseInt(bits, 2);
      if (!facts.isFile() || (facts.mode & 0o7777) !== mode || facts.size !== Number(size))
        throw new Error(
          `GNU tar lists ${line}, and makes mode ${facts.mode.toString(8)}, ${String(facts.size)} bytes`,
        );
      return { path: name, mode, bytes: readFileSync(path.join(into, name)) };
    });
  const there = readdirSync(into, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => path.relative(into, path.join(entry.parentPath, entry.name)));
  const names = seen.map((member) => member.path);
  if (there.sort().join('\n') !== [...names].sort().join('\n'))
    throw new Error(`GNU tar lists ${names.join(' ')} and makes ${there.join(' ')}`);
  return seen;
}

/** What the packer writes for these members, the first of them from memory as `create` does. */
export async function packed(members: readonly Seen[], scratch: string): Promise<string> {
  const folder = mkdtempSync(path.join(scratch, 'packed-'));
  const [first, ...rest] = members;
  if (first === undefined) throw new Error('a payload has members');
  const output = path.join(folder, 'out.tar');
  await packTar({
    first: { path: first.path, bytes: first.bytes },
    members: rest.map(({ path: name, mode, bytes }, index) => {
      const file = path.join(folder, String(index));
      writeFileSync(file, bytes);
      return {
        path: BundlePath.parse(name),
        mode: mode as Member['mode'],
        sizeBytes: bytes.length,
        sha256: sha256Of(bytes),
        file,
      };
    }),
    output,
  });
  return output;
}
