import { sign } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatChecksums } from '../../src/model/checksums.js';
import type { BundledComponent } from '../../src/model/contents.js';
import { BundledConfiguration } from '../../src/model/declared.js';
import { BLOCK_BYTES, paddingBytes } from '../../src/model/ustar.js';
import type { MadeBundle, SmallBundle, TestKey } from '../install/bundle.js';
import { makeKey, sha256Of } from '../install/bundle.js';
import type { Packer } from '../e2e/install-lab.js';
import { changedHeader, rawMember, rawTar } from '../review/bundle.js';
import type { RawMember } from '../review/bundle.js';

/*
 * What the packager of these tests carries to the node: /media/usb/NAME, each with its four files. The
 * runtime in them is a stand-in, a script that starts the real one, which lies on the node already: dozens
 * of bundles of one megabyte. install-sh.test.ts installs with the real one inside.
 */

/** Where the real runtime lies on the node. */
export const RUNTIME = '/opt/lab-node/node';
export const MEDIUM = '/media/usb';

const install = (...lines: string[]): string =>
  [
    'set -e',
    'mkdir -p "$1/usr/local/bin" "$1/usr/local/share/hello"',
    'install -m 755 hello "$1/usr/local/bin/hello"',
    'echo greeting >"$1/usr/local/share/hello/greeting"',
    ...lines,
    '',
  ].join('\n');

/** Another recipe than that of the installed one: it is built again. */
const again = (word: string, more: Partial<BundledComponent> = {}): Partial<BundledComponent> => ({
  build: [['sh', 'build.sh', word]],
  ...more,
});

const DECLARED = BundledConfiguration.parse({
  values: { port: { type: 'port' } },
  files: [{ path: '/etc/hello.conf', content: 'port {{port}}\n' }],
  checks: [{ listen: '127.0.0.1:{{port}}' }],
});

/** Bundles that a packager could have made; whatever is not here is as in the installed one, but newer. */
const given = (pack: Packer): Record<string, Partial<SmallBundle>> => ({
  installed: { version: '1.0.0', sequence: 5 },
  good: { version: '1.1.0' },
  lower: { version: '0.9.0', sequence: 4 },
  equal: { version: '1.0.1', sequence: 5 },
  'other-name': { name: 'other' },
  'other-signer': { key: makeKey() },
  'other-release': { release: { sequence: 9 } },
  'other-arch': {
    contents: (contents) => ({
      ...contents,
      target: { ...contents.target, arch: 'aarch64' as typeof contents.target.arch },
    }),
  },
  declared: { component: again('declared', { configuration: DECLARED }) },
  keepalived: { component: { name: 'keepalived', configuration: 'keepalived' } },
  'lacking-rpm': { rpms: [pack.rpm({ name: 'lacking', requires: 'nothing-that-is-anywhere' })] },
  'with-rpm': {
    rpms: [pack.rpm({ name: 'other' })],
    component: again('rpm', { configuration: { ...DECLARED, checks: [] } }),
  },
  'build-fails': {
    component: again('fails', { build: [['sh', '-c', 'echo hello.c:1: no such header >&2; exit 2']] }),
  },
  'build-waits': { component: again('waits', { build: [['sh', '-c', 'echo building; sleep 120']] }) },
  'build-large': {
    component: again('large', { build: [['sh', '-c', 'dd if=/dev/zero of=hello bs=1M count=4']] }),
  },
  'installs-large': {
    component: again('large', {
      build: [['sh', '-c', 'head -c 300000 /dev/zero >hello']],
    }),
  },
  undeclared: {
    component: again('undeclared'),
    source: { 'install.sh': install('echo x >"$1/usr/local/bin/backdoor"') },
  },
  undone: {
    component: again('undone'),
    source: { 'install.sh': install('rm "$1/usr/local/bin/hello"') },
  },
  setuid: {
    component: again('setuid'),
    source: { 'install.sh': install('chmod 4755 "$1/usr/local/bin/hello"') },
  },
  linked: {
    component: again('linked'),
    source: { 'install.sh': install('ln -s /etc/shadow "$1/usr/local/bin/hi"') },
  },
});

const extra = (change: (header: Buffer) => void): RawMember => {
  const made = rawMember('sources/extra', '');
  return { ...made, header: changedHeader(made.header, change) };
};
const named = (name: string) => (header: Buffer) => {
  header.fill(0, 0, 100);
  header.write(name, 0, 'latin1');
};
const link = (type: string) => (header: Buffer) => {
  header.write(type, 156, 'latin1');
  header.write('/etc/shadow', 157, 'latin1');
};
const isSource = ({ header }: RawMember): boolean => header.toString('latin1', 0, 8) === 'sources/';

/** Payloads that no packager's program makes, by what is wrong with them; the N-th lies in MEDIUM/hostile-N. */
export const HOSTILE: Readonly<Record<string, (parts: readonly RawMember[]) => readonly RawMember[]>> = {
  'an extra member': (parts) => [...parts, rawMember('sources/extra', 'x')],
  'a missing member': (parts) => parts.filter((part) => !isSource(part)),
  'a doubled member': (parts) => [...parts, ...parts.slice(-1)],
  'a renamed member': (parts) =>
    parts.map((part) =>
      isSource(part) ? { ...part, header: changedHeader(part.header, named('sources/hello.tar')) } : part,
    ),
  'a symbolic link in it': (parts) => [...parts, extra(link('2'))],
  'a hard link in it': (parts) => [...parts, extra(link('1'))],
  'a member that climbs out of the folder': (parts) => [...parts, extra(named('../../../etc/cron.d/evil'))],
  'a member with an absolute path': (parts) => [...parts, extra(named('/etc/cron.d/evil'))],
};

function membersOf(bytes: Buffer): RawMember[] {
  const found: RawMember[] = [];
  for (let at = 0; bytes[at] !== 0;) {
    const from = at + BLOCK_BYTES;
    const size = parseInt(bytes.toString('latin1', at + 124, at + 135), 8);
    found.push({ header: bytes.subarray(at, from), body: bytes.subarray(from, from + size) });
    at = from + size + paddingBytes(size);
  }
  return found;
}

/** The same release with another payload. */
function fold(folder: string, from: MadeBundle, payload: Buffer, key: TestKey): void {
  const { name, version, sequence } = from.contents;
  const installSh = readFileSync(path.join(from.folder, 'install.sh'));
  const sums = formatChecksums({
    ...{ name, version, sequence, target: 'el7.x86_64' },
    files: [
      { name: `${from.stem}.tar`, sha256: sha256Of(payload) },
      { name: 'install.sh', sha256: sha256Of(installSh) },
    ],
  });
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${from.stem}.tar`), payload);
  writeFileSync(path.join(folder, 'install.sh'), installSh);
  writeFileSync(path.join(folder, `${from.stem}.sha256`), sums);
  writeFileSync(
    path.join(folder, `${from.stem}.sha256.${key.keyId}.sig`),
    sign('sha256', Buffer.from(sums), { key: key.privateKey, dsaEncoding: 'der' }),
  );
}

/** @returns the folder whose content belongs to MEDIUM on the node */
export async function makeMedium(pack: Packer): Promise<string> {
  const folder = path.join(pack.work, 'usb');
  mkdirSync(folder, { recursive: true });
  const runtime = path.join(pack.work, 'runtime-stand-in');
  writeFileSync(
    runtime,
    `#!/bin/sh\n# A stand-in of the tests: the real runtime lies there.\nexec ${RUNTIME} "$@"\n`,
  );
  let good: MadeBundle | undefined;
  let sequence = 10;
  for (const [name, words] of Object.entries(given(pack))) {
    sequence += 1;
    const made = await pack.pack({ runtime, version: `2.0.${String(sequence)}`, sequence, ...words });
    cpSync(made.folder, path.join(folder, name), { recursive: true });
    if (name === 'good') good = made;
  }
  if (good === undefined) throw new Error('no good bundle was made');
  const parts = membersOf(readFileSync(path.join(good.folder, `${good.stem}.tar`)));
  for (const [index, change] of Object.values(HOSTILE).entries())
    fold(path.join(folder, `hostile-${String(index)}`), good, rawTar(change(parts)), pack.key);
  return folder;
}
