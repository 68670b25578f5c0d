import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { writeFolder } from '../../src/create/pack-folder.js';
import type { PackMember } from '../../src/create/pack.js';
import { localHost } from '../../src/host/local.js';
import { formatChecksums } from '../../src/model/checksums.js';
import type { Contents, Member } from '../../src/model/contents.js';
import { formatContents } from '../../src/model/contents.js';
import { BundlePath, GitObject } from '../../src/model/grammar.js';
import { keyId } from '../../src/model/signature.js';
import { BLOCK_BYTES, paddingBytes, trailerBytes, ustarHeader } from '../../src/model/ustar.js';
import type { TrustedKey } from '../../src/review/keys.js';
import { readKey } from '../../src/review/keys.js';
import { examine, locate } from '../../src/review/verify.js';
import type { Examination } from '../../src/review/verify.js';
import { recordingReporter, sha256Of, temporaryFolder } from '../create/create-support.js';

export interface Signer {
  readonly key: KeyObject;
  readonly trusted: TrustedKey;
}

export function makeSigner(): Signer {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = createPublicKey(privateKey.export({ type: 'pkcs8', format: 'pem' })).export({
    type: 'spki',
    format: 'pem',
  });
  return { key: privateKey, trusted: readKey(pem.toString(), 'made here') };
}

export const INSTALL_SH = '#!/bin/sh\nexit 0\n';

/** Every member after bundle.json and its bytes, in the tar's order. */
export const FILES: readonly (readonly [string, string])[] = [
  ['installer.cjs', 'console.log(1)\n'],
  ['runtime/node', 'a runtime'.repeat(300)],
  ['rpms/gcc-4.8.5-28.el7.x86_64.rpm', 'gcc'.repeat(1000)],
  ['rpms/glibc-2.17-222.el7.x86_64.rpm', 'glibc'.repeat(777)],
  ['rpms/pcre-devel-8.32-17.el7.x86_64.rpm', ''],
  ['sources/haproxy-1c0a722a83e7.tar', 'source'.repeat(500)],
  ['sources/keepalived-c40c4d12c79e.tar', 'x'],
];

const modeOf = (name: string): Member['mode'] => (name === 'runtime/node' ? 0o755 : 0o644);

export function makeContents(change: (contents: Contents) => Contents = (same) => same): Contents {
  const rpm = (
    name: string,
    version: string,
    release: string,
    licence: string,
  ): Contents['rpms'][number] => ({
    path: BundlePath.parse(`rpms/${name}-${version}-${release}.x86_64.rpm`),
    nevra: { name, epoch: 0, version, release, arch: 'x86_64' },
    signer: '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5',
    licence,
    summary: `the package ${name}`,
    sourceRpm: `${name}-${version}-${release}.src.rpm`,
    origin: { repository: 'os', path: `Packages/${name}-${version}-${release}.x86_64.rpm` },
  });
  const component = (name: string, commit: string, packages: string[]): Contents['components'][number] => ({
    name,
    version: '1.0',
    licence: 'GPL-2.0-or-later',
    packages,
    source: {
      path: BundlePath.parse(`sources/${name}-${commit.slice(0, 12)}.tar`),
      url: `https://example.org/${name}.git`,
      ref: 'v1.0',
      commit: GitObject.parse(commit),
      tree: GitObject.parse('a'.repeat(40)),
    },
    build: [['make', 'CFLAGS=-O2 -g']],
    install: ['make', 'install', 'DESTDIR={destdir}'],
    files: [`/usr/local/sbin/${name}`],
    discard: [],
    links: [],
  });
  return change({
    airbundle: 1,
    name: 'demo',
    version: '1.2.3',
    sequence: 7,
    description: 'a bundle for tests',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: FILES.map(([name, text]) => ({
      path: BundlePath.parse(name),
      mode: modeOf(name),
      sizeBytes: text.length,
      sha256: sha256Of(text),
    })),
    rpms: [
      rpm('gcc', '4.8.5', '28.el7', 'GPLv3+'),
      rpm('glibc', '2.17', '222.el7', 'LGPLv2+'),
      rpm('pcre-devel', '8.32', '17.el7', 'BSD'),
    ],
    components: [
      component('haproxy', '1c0a722a83e7c45456a2b82c15889ab9ab5c4948', ['gcc', 'pcre-devel.x86_64']),
      component('keepalived', 'c40c4d12c79e8004287e7ae1e1d862ab089afec8', ['gcc', 'pkgconfig']),
    ],
    collector: { image: 'centos:7.5.1804', contextSha256: null },
    runtime: { path: BundlePath.parse('runtime/node'), origin: 'npm:node@16.20.2', version: '16.20.2' },
  });
}

export interface MadeBundle {
  readonly folder: string;
  readonly stem: string;
  readonly tar: string;
  readonly sums: string;
  readonly signature: string;
  readonly installSh: string;
}

export function placesOf(folder: string, stem: string, signer: Signer): MadeBundle {
  return {
    folder,
    stem,
    tar: path.join(folder, `${stem}.tar`),
    sums: path.join(folder, `${stem}.sha256`),
    signature: path.join(folder, `${stem}.sha256.${signer.trusted.keyId}.sig`),
    installSh: path.join(folder, 'install.sh'),
  };
}

/** A real folder, by the code that makes real ones. */
export async function makeBundle(
  signer: Signer,
  contents: Contents = makeContents(),
  installSh = INSTALL_SH,
): Promise<MadeBundle> {
  const out = temporaryFolder();
  const members = contents.members.map((member, index): PackMember => {
    const file = path.join(out, `member-${String(index)}`);
    writeFileSync(file, FILES[index]![1]);
    return { ...member, file };
  });
  const { name, version, sequence } = contents;
  const { folder, stem } = await writeFolder({
    out: path.join(out, 'dist'),
    release: { name, version, sequence, target: 'el7.x86_64' },
    payload: { first: { path: 'bundle.json', bytes: Buffer.from(formatContents(contents)) }, members },
    installSh: Buffer.from(installSh),
    key: signer.key,
    force: false,
  });
  return placesOf(folder, stem, signer);
}

/** A folder around any payload, signed: what an attacker with a key, or a bug of ours, could make. */
export function foldPayload(signer: Signer, payload: Uint8Array, installSh = INSTALL_SH): MadeBundle {
  const folder = path.join(temporaryFolder(), 'folded');
  const made = placesOf(folder, 'demo-1.2.3-el7.x86_64', signer);
  const sums = formatChecksums({
    name: 'demo',
    version: '1.2.3',
    sequence: 7,
    target: 'el7.x86_64',
    files: [
      { name: path.basename(made.tar), sha256: sha256Of(payload) },
      { name: 'install.sh', sha256: sha256Of(installSh) },
    ],
  });
  mkdirSync(folder);
  writeFileSync(made.tar, payload);
  writeFileSync(made.installSh, installSh);
  writeFileSync(made.sums, sums);
  writeFileSync(made.signature, sign('sha256', Buffer.from(sums), { key: signer.key, dsaEncoding: 'der' }));
  return made;
}

export interface RawMember {
  readonly header: Buffer;
  readonly body: Buffer;
}

export function rawMember(name: string, body: string | Buffer, mode: number = modeOf(name)): RawMember {
  const bytes = Buffer.from(body);
  return { header: ustarHeader({ path: name, mode, sizeBytes: bytes.length }), body: bytes };
}

/** The members of the demo bundle, bundle.json first. */
export function rawMembers(contents = makeContents()): RawMember[] {
  return [
    rawMember('bundle.json', formatContents(contents)),
    ...FILES.map(([name, text]) => rawMember(name, text)),
  ];
}

export function rawTar(members: readonly RawMember[]): Buffer {
  const parts = members.flatMap(({ header, body }) => [
    header,
    body,
    Buffer.alloc(paddingBytes(body.length)),
  ]);
  const bodyBytes = parts.reduce((total, part) => total + part.length, 0);
  return Buffer.concat([...parts, Buffer.alloc(trailerBytes(bodyBytes))]);
}

/** A header after a change, with a checksum that is right again. */
export function changedHeader(header: Buffer, change: (block: Buffer) => void): Buffer {
  const block = Buffer.from(header);
  change(block);
  block.write(' '.repeat(8), 148, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  if (block.length !== BLOCK_BYTES) throw new Error('a header has one block');
  return block;
}

export async function examined(
  where: string,
  keys: readonly TrustedKey[],
  options: { readonly unsigned?: boolean; readonly signers?: number | 'every' } = {},
): Promise<Examination> {
  const host = localHost();
  return examine(host, {
    place: await locate(host, where),
    keys,
    signers: options.signers ?? 'every',
    unsigned: options.unsigned ?? false,
    reporter: recordingReporter(),
  });
}

/** `CODE where: message` of each problem, without the folder. */
export function wordsOf({ problems }: Examination, folder: string): string[] {
  return problems.map(
    ({ code, where, message }) => `${code} ${(where ?? '').replace(`${folder}/`, '')}: ${message}`,
  );
}

export const idOf = (signer: Signer): string => keyId(signer.trusted.key);
