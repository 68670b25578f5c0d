import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeFolder } from '../../src/create/pack-folder.js';
import { fingerprint, keyId } from '../../src/model/signature.js';
import { buildInto, read, ROOT, shellBlocksOf } from './support.js';

/*
 * Commands of the pages, typed as they stand there: keys by `bundle`, a small bundle by the product's own
 * packer, the rest by openssl, sha256sum and tar.
 */

let folder = '';
const X = 'tts-ha-1.0.0-el7.x86_64';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'airbundle-typed-'));
  for (const name of ['node_modules', 'package.json', 'dockerfiles'])
    symlinkSync(join(ROOT, name), join(folder, name));
  buildInto(join(folder, 'build'));
  mkdirSync(join(folder, 'bin'));
  for (const name of ['bundle', 'airbundle'])
    symlinkSync(join(folder, 'build', 'cli.js'), join(folder, 'bin', name));
}, 120_000);
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function type(text: string, cwd: string): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, PATH: `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}` };
  return spawnSync('sh', ['-eu', '-c', text], { cwd, env, encoding: 'utf8' });
}

/** The first shell block of a page that has all of these words. */
function block(page: string, ...words: readonly string[]): string {
  const found = shellBlocksOf(page).find(({ text }) => words.every((word) => text.includes(word)));
  if (found === undefined) throw new Error(`${page} has no block with ${words.join(' ')}`);
  return found.text;
}

describe("the packager's guide, typed", () => {
  const PAGE = 'docs/guides/packager.md';
  let work = '';
  beforeAll(() => {
    work = join(folder, 'packager');
    mkdirSync(work);
  });

  it('makes a key pair and prints the fingerprint that openssl computes', () => {
    const made = type(block(PAGE, 'keygen', 'keys/packager'), work);
    expect(made.stderr).toBe('');
    expect(made.status).toBe(0);
    const printed = /fingerprint {2}(.*)/.exec(made.stdout)?.[1]?.replaceAll(' ', '');
    const computed = type('openssl pkey -pubin -in keys/packager.pub.pem -outform DER | sha256sum', work);
    expect(computed.stdout).toBe(`${printed ?? ''}  -\n`);
    expect(statSync(join(work, 'keys/packager.key.pem')).mode & 0o777).toBe(0o600);
  });

  it('makes an encrypted one with a passphrase file', () => {
    writeFileSync(join(work, 'keys/passphrase'), 'a long one\n');
    expect(type(block(PAGE, 'keygen', '--passphrase-file'), work).status).toBe(0);
    expect(readFileSync(join(work, 'keys/release.key.pem'), 'utf8')).toContain('ENCRYPTED');
  });

  it('prints the version of the package', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(type('bundle --version', work).stdout).toBe(`${version}\n`);
  });

  it('refuses the same key again, with the exit code and the words of the reference', () => {
    const again = type('bundle keygen --out keys/packager', work);
    expect(again.status).toBe(5);
    expect(again.stderr).toMatch(/^error\[KEY_EXISTS\]: /);
    expect(again.stderr).toMatch(/^ {2}next: /m);
    const json = type('bundle keygen --out keys/packager --log-format json', work);
    expect(JSON.parse(json.stderr)).toMatchObject({ kind: 'error', code: 'KEY_EXISTS', exit: 5 });
  });

  it('exits with 2 for a wrong option and for a missing manifest, 3 for a wrong manifest', () => {
    expect(type('bundle create --kye k m.yaml', work).status).toBe(2);
    expect(type('bundle create manifests/none.yaml --key keys/packager.key.pem', work).status).toBe(2);
    writeFileSync(join(work, 'm.yaml'), 'airbundle: 1\nnmae: x\n');
    const wrong = type('bundle create m.yaml --key keys/packager.key.pem', work);
    expect(wrong.status).toBe(3);
    expect(wrong.stderr).toMatch(/^ {2}at: m\.yaml:\d+:\d+$/m);
  });
});

describe("the reviewer's commands, typed over a small bundle", () => {
  let bundle = '';
  let id = '';
  let print = '';

  beforeAll(async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    id = keyId(publicKey);
    print = fingerprint(publicKey);
    const written = await writeFolder({
      out: join(folder, 'dist'),
      release: { name: 'tts-ha', version: '1.0.0', sequence: 1, target: 'el7.x86_64' },
      payload: { first: { path: 'bundle.json', bytes: Buffer.from('{"airbundle": 1}\n') }, members: [] },
      installSh: readFileSync(join(ROOT, 'src/install/install.sh')),
      key: privateKey,
      force: false,
    });
    bundle = written.folder;
    writeFileSync(join(folder, 'packager.pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    expect(written.stem).toBe(X);
  });

  /** A page's text with this bundle's names; the key lies beside the folder's files. */
  const filled = (text: string): string =>
    text
      .replaceAll('KEYID', id)
      .replaceAll(/\bX(?=\.(?:sha256|tar))/g, X)
      .replaceAll(/(?<=(?:-in|-verify) )packager\.pub\.pem/g, join(folder, 'packager.pub.pem'));

  it('accept it as the README has them, and the fingerprint is the one that keygen prints', () => {
    const done = type(filled(block('README.md', 'openssl pkey', 'tar -xOf')), bundle);
    expect(done.stderr).toBe('');
    expect(done.status).toBe(0);
    expect(done.stdout).toBe(`${print}  -\nVerified OK\n${X}.tar: OK\ninstall.sh: OK\n{"airbundle": 1}\n`);
  });

  it('accept it as the guide has them', () => {
    const done = type(filled(block('docs/guides/reviewer.md', 'ls -l', 'head -1')), bundle);
    expect(done.status).toBe(0);
    expect(done.stdout).toContain('Verified OK');
    expect(done.stdout).toContain(`# airbundle-1 name=tts-ha version=1.0.0 sequence=1 target=el7.x86_64\n`);
    const listed = block('docs/guides/reviewer.md', 'tar -tvf').replace('/tmp/', `${folder}/`);
    expect(type(filled(listed), bundle).stdout).toContain('bundle.json');
    expect(readFileSync(join(folder, 'bundle.json'), 'utf8')).toBe('{"airbundle": 1}\n');
  });

  it.each([`${X}.tar`, `${X}.sha256`, 'install.sh'])(
    'stop before install.sh, as the README chains them, when %s has one more byte',
    (name) => {
      const copy = mkdtempSync(join(folder, 'changed-'));
      cpSync(bundle, copy, { recursive: true });
      writeFileSync(join(copy, name), Buffer.concat([readFileSync(join(copy, name)), Buffer.from('#')]));
      const chain = filled(block('README.md', 'openssl dgst', 'sh install.sh')).replace(
        'airbundle status',
        '',
      );
      expect(chain.match(/&&/g)).toHaveLength(2);
      const done = type(chain.replace('sh install.sh', 'echo reached'), copy);
      expect(done.status).not.toBe(0);
      expect(done.stdout).not.toContain('reached');
    },
  );
});
