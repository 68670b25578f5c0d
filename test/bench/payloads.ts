import { createHash, generateKeyPairSync, randomFillSync } from 'node:crypto';
import { closeSync, fdatasyncSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { writeFolder } from '../../src/create/pack-folder.js';
import type { PackMember } from '../../src/create/pack.js';
import type { Contents } from '../../src/model/contents.js';
import { formatContents } from '../../src/model/contents.js';
import { BundlePath, GitObject, Sha256 } from '../../src/model/grammar.js';

export const MIB = 1024 * 1024;
export const LARGE_FILE = 4 * MIB;
export const SMALL_FILE = 20 * 1024;

/** Files like the RPMs of a store: bytes that nothing compresses, each with a digest of its own. */
export interface FileSet {
  readonly name: string;
  readonly folder: string;
  readonly members: readonly PackMember[];
  readonly sizeBytes: number;
}

/**
 * Makes a set of files of one size, below folders of 256 as in a store.
 * @param name such as `1 GiB in 4 MiB files`
 */
export function makeFiles(scratch: string, name: string, sizeBytes: number, fileBytes: number): FileSet {
  const folder = path.join(scratch, name.replaceAll(' ', '-'));
  const piece = randomFillSync(Buffer.alloc(Math.min(fileBytes, MIB)));
  const members: PackMember[] = [];
  for (let index = 0; index * fileBytes < sizeBytes; index += 1) {
    const under = path.join(folder, (index % 256).toString(16).padStart(2, '0'));
    if (index < 256) mkdirSync(under, { recursive: true });
    const file = path.join(under, `member-${String(index)}.rpm`);
    const hash = createHash('sha256');
    const descriptor = openSync(file, 'w');
    for (let at = 0; at < fileBytes; at += piece.length) {
      piece.writeUInt32LE(index, 0);
      piece.writeUInt32LE(at, 4);
      const part = piece.subarray(0, fileBytes - at);
      hash.update(part);
      writeSync(descriptor, part);
    }
    if (fileBytes > MIB) fdatasyncSync(descriptor);
    closeSync(descriptor);
    members.push({
      path: BundlePath.parse(`rpms/member-${String(index)}.rpm`),
      mode: 0o644,
      sizeBytes: fileBytes,
      sha256: Sha256.parse(hash.digest('hex')),
      file,
    });
  }
  return { name, folder, members, sizeBytes: members.length * fileBytes };
}

export interface MadeFolder {
  readonly folder: string;
  readonly stem: string;
  readonly tar: string;
  readonly keyFile: string;
}

/** A signed folder of these files, as `bundle create` writes it. */
export async function makeFolder(scratch: string, members: readonly PackMember[]): Promise<MadeFolder> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const keyFile = path.join(scratch, 'packager.pub.pem');
  writeFileSync(keyFile, publicKey.export({ type: 'spki', format: 'pem' }));
  const { folder, stem } = await writeFolder({
    out: path.join(scratch, 'dist'),
    release: { name: 'bench', version: '1.0', sequence: 1, target: 'el7.x86_64' },
    payload: {
      first: { path: 'bundle.json', bytes: Buffer.from(formatContents(contentsOf(members))) },
      members,
    },
    installSh: Buffer.from('#!/bin/sh\n'),
    key: privateKey,
    force: true,
  });
  return { folder, stem, tar: path.join(folder, `${stem}.tar`), keyFile };
}

export function contentsOf(members: readonly PackMember[]): Contents {
  const [first] = members;
  if (first === undefined) throw new Error('a bundle without members');
  const object = GitObject.parse('a'.repeat(40));
  return {
    airbundle: 1,
    name: 'bench',
    version: '1.0',
    sequence: 1,
    description: '',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: members.map(({ path: name, mode, sizeBytes, sha256 }) => ({
      path: name,
      mode,
      sizeBytes,
      sha256,
    })),
    rpms: [],
    components: [
      {
        name: 'bench',
        version: '1.0',
        licence: 'MIT',
        packages: [],
        source: {
          path: first.path,
          url: 'https://example.org/x.git',
          ref: 'v1',
          commit: object,
          tree: object,
        },
        build: [['make']],
        install: ['make', 'install'],
        files: ['/usr/local/bin/bench'],
        discard: [],
        links: [],
      },
    ],
    collector: { image: 'none', contextSha256: null },
    runtime: { path: first.path, origin: 'none', version: '16.20.2' },
  };
}
