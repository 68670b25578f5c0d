import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { writeFolder } from '../../src/create/pack-folder.js';
import type { PackMember } from '../../src/create/pack.js';
import type { BundledComponent, BundledRpm, Contents } from '../../src/model/contents.js';
import { ContentsSchema, formatContents } from '../../src/model/contents.js';
import { BundlePath, Sha256 } from '../../src/model/grammar.js';
import { fingerprint, keyId } from '../../src/model/signature.js';

/*
 * Small bundles, made with the product's own packing and signing. One component, "hello": two shell
 * scripts and whatever files a test gives it.
 */

export interface TestKey {
  readonly privateKey: KeyObject;
  readonly pem: string;
  readonly keyId: string;
  readonly fingerprint: string;
}

export function makeKey(): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return {
    privateKey,
    pem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    keyId: keyId(publicKey),
    fingerprint: fingerprint(publicKey),
  };
}

export interface SmallBundle {
  /** What X.sha256 says instead of what bundle.json says; `bundle create` never makes such a bundle. */
  readonly release?: { readonly sequence: number };
  /** Scratch space of this bundle. */
  readonly work: string;
  readonly key: TestKey;
  readonly sequence?: number;
  readonly name?: string;
  readonly version?: string;
  /** The component's source: relative path → text. */
  readonly source?: Readonly<Record<string, string>>;
  readonly component?: Partial<BundledComponent>;
  /** RPM files with what their headers say. */
  readonly rpms?: readonly { readonly file: string; readonly nevra: BundledRpm['nevra'] }[];
  /** Real files, or a few bytes that stand for them. */
  readonly runtime?: string;
  readonly installer?: string;
  /** A bundle of before the jump host's program has none. */
  readonly deploy?: string;
  readonly installSh?: string;
  readonly contents?: (contents: Contents) => Contents;
}

export interface MadeBundle {
  readonly folder: string;
  readonly stem: string;
  readonly contents: Contents;
}

/** Shell only, so that a node without make builds it. */
const HELLO_SOURCE = {
  'build.sh': "printf '#!/bin/sh\\necho hello\\n' >hello\n",
  'install.sh': [
    'set -e',
    'mkdir -p "$1/usr/local/bin" "$1/usr/local/share/hello"',
    'install -m 755 hello "$1/usr/local/bin/hello"',
    'echo greeting >"$1/usr/local/share/hello/greeting"',
    '',
  ].join('\n'),
};

export const sha256Of = (bytes: string | Uint8Array): Sha256 =>
  Sha256.parse(createHash('sha256').update(bytes).digest('hex'));

export function helloComponent(given: Partial<BundledComponent> = {}): BundledComponent {
  return {
    name: 'hello',
    version: '1.0',
    licence: 'MIT',
    packages: [],
    source: {
      path: BundlePath.parse('sources/hello-000000000000.tar'),
      url: 'https://example.org/hello.git',
      ref: 'v1.0',
      commit: '0'.repeat(40) as BundledComponent['source']['commit'],
      tree: '1'.repeat(40) as BundledComponent['source']['tree'],
    },
    build: [['sh', 'build.sh', '{jobs}']],
    install: ['sh', 'install.sh', '{destdir}'],
    files: ['/usr/local/bin/hello', '/usr/local/share/hello/*'],
    discard: [],
    links: [],
    ...given,
  };
}

/** A folder as `bundle create` would make it. */
export async function makeBundle(given: SmallBundle): Promise<MadeBundle> {
  const { work, key } = given;
  const parts = path.join(work, 'parts');
  mkdirSync(parts, { recursive: true });
  const component = helloComponent(given.component);
  const file = (name: string, text: string): string => {
    const at = path.join(parts, name);
    mkdirSync(path.dirname(at), { recursive: true });
    writeFileSync(at, text);
    return at;
  };
  for (const [name, text] of Object.entries({ ...HELLO_SOURCE, ...given.source }))
    file(`hello/${name}`, text);
  const sourceTar = path.join(parts, 'hello.tar');
  execFileSync('tar', ['-C', parts, '--owner=0', '--group=0', '-cf', sourceTar, 'hello']);

  const member = (name: string, from: string, mode: 0o644 | 0o755 = 0o644): PackMember => ({
    path: BundlePath.parse(name),
    mode,
    file: from,
    sizeBytes: statSync(from).size,
    sha256: sha256Of(readFileSync(from)),
  });
  const rpmPath = (from: string): string => `rpms/${path.basename(from)}`;
  const members = [
    ...(given.rpms ?? []).map((rpm) => member(rpmPath(rpm.file), rpm.file)),
    member(component.source.path, sourceTar),
    member('runtime/node', given.runtime ?? file('node', '#!/bin/sh\n'), 0o755),
    member('installer.cjs', given.installer ?? file('installer.cjs', '// nothing\n')),
    ...(given.deploy === undefined ? [] : [member('deploy.cjs', given.deploy)]),
  ];
  const plain = ContentsSchema.parse({
    airbundle: 1,
    name: given.name ?? 'small',
    version: given.version ?? '1.0.0',
    sequence: given.sequence ?? 1,
    description: 'a small bundle',
    target: { os: 'el7', arch: 'x86_64', releases: ['7.5'] },
    members: members.map(({ path: name, mode, sizeBytes, sha256 }) => ({
      path: name,
      mode,
      sizeBytes,
      sha256,
    })),
    rpms: (given.rpms ?? []).map((rpm) => bundledRpm(rpm.nevra, rpmPath(rpm.file))),
    components: [component],
    collector: { image: 'test', contextSha256: null },
    runtime: { path: 'runtime/node', origin: 'test', version: '16.20.2' },
  });
  const contents = given.contents?.(plain) ?? plain;
  const { folder, stem } = await writeFolder({
    out: path.join(work, 'dist'),
    release: {
      name: contents.name,
      version: contents.version,
      sequence: contents.sequence,
      target: 'el7.x86_64',
      ...given.release,
    },
    payload: { first: { path: 'bundle.json', bytes: Buffer.from(formatContents(contents)) }, members },
    installSh: Buffer.from(given.installSh ?? '#!/bin/sh\n'),
    key: key.privateKey,
    force: true,
  });
  return { folder, stem, contents };
}

export function bundledRpm(nevra: BundledRpm['nevra'], at: string): BundledRpm {
  return {
    path: BundlePath.parse(at),
    nevra,
    signer: 'A'.repeat(40),
    licence: 'MIT',
    summary: 'a package',
    sourceRpm: 'x.src.rpm',
    origin: { repository: 'os', path: at },
  };
}
