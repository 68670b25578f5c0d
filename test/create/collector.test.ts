import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readContext } from '../../src/create/collector-image.js';
import { yumArguments, yumConf } from '../../src/create/collector.js';
import { skipUnless } from '../support/skip.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'collector-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('readContext', () => {
  it('hashes names, executable bits and bytes, and nothing else', async () => {
    await writeFile(path.join(folder, 'Dockerfile'), 'FROM base:1\n', { mode: 0o600 });
    const first = await readContext(folder);
    expect(first.base).toBe('base:1');

    await chmod(path.join(folder, 'Dockerfile'), 0o664);
    await mkdir(path.join(folder, 'empty'));
    expect(await readContext(folder)).toEqual(first);

    await chmod(path.join(folder, 'Dockerfile'), 0o755);
    expect((await readContext(folder)).sha256).not.toBe(first.sha256);
    await chmod(path.join(folder, 'Dockerfile'), 0o644);
    await writeFile(path.join(folder, 'empty', 'x'), '');
    expect((await readContext(folder)).sha256).not.toBe(first.sha256);
  });

  it('follows ARG in FROM, where a digest is pinned', async () => {
    await writeFile(
      path.join(folder, 'Dockerfile'),
      '# x\nARG BASE=centos@sha256:abc\nFROM --platform=linux/amd64 ${BASE} AS it\nARG BASE=other\n',
    );
    expect((await readContext(folder)).base).toBe('centos@sha256:abc');
  });

  it('refuses a missing folder, a missing Dockerfile and links', async () => {
    await expect(readContext(path.join(folder, 'none'))).rejects.toMatchObject({
      code: 'BAD_COLLECTOR',
      exit: 3,
    });
    await expect(readContext(folder)).rejects.toMatchObject({ code: 'BAD_COLLECTOR', exit: 3 });
    await writeFile(path.join(folder, 'Dockerfile'), 'FROM centos\n');
    await symlink('/etc/hostname', path.join(folder, 'link'));
    await expect(readContext(folder)).rejects.toMatchObject({
      code: 'BAD_COLLECTOR',
      message: expect.stringContaining('plain files') as string,
    });
  });

  it('knows the base of the shipped collector', async () => {
    const shipped = fileURLToPath(new URL('../../dockerfiles/centos-7.5', import.meta.url));
    expect((await readContext(shipped)).base).toMatch(/^centos(?::7\.5\.1804|@sha256:[0-9a-f]{64})$/);
  });
});

describe("yum's configuration and arguments", () => {
  const key = { fingerprint: 'A'.repeat(40), keyId: 'a'.repeat(16), armored: '', subkeys: 0 };
  const conf = yumConf(
    [
      { id: 'os', url: 'http://x.example/os/' },
      { id: 'updates', url: 'http://x.example/updates/' },
    ],
    [key],
  );

  it("names the manifest's repositories and keys only", () => {
    expect(conf.match(/^\[.*\]$/gm)).toEqual(['[main]', '[os]', '[updates]']);
    expect(conf.match(/^gpgkey=.*$/gm)).toEqual([
      `gpgkey=file:///airbundle/keys/${key.fingerprint}.asc`,
      `gpgkey=file:///airbundle/keys/${key.fingerprint}.asc`,
    ]);
    expect(conf).toContain('reposdir=/dev/null');
  });

  it("keeps i686 out, and the image's plugins", () => {
    expect(conf).toMatch(/^exclude=\*\.i\?86$/m);
    expect(conf).toMatch(/^pluginpath=\/airbundle\/plugins$/m);
  });

  it('resolves into an empty root and does not tolerate missing names', () => {
    expect(yumArguments(['gcc', 'make'])).toEqual(
      expect.arrayContaining([
        '--installroot=/airbundle/root',
        '--releasever=7',
        '--setopt=skip_missing_names_on_install=0',
        '--downloadonly',
        'gcc',
        'make',
      ]),
    );
  });
});

describe('origins.py', () => {
  const script = fileURLToPath(new URL('../../dockerfiles/collector/origins.py', import.meta.url));
  const python = ['python3', 'python'].find((name) => {
    try {
      execFileSync(name, ['-c', 'import sqlite3, bz2']);
      return true;
    } catch {
      return false;
    }
  });
  skipUnless(python !== undefined, 'python is not here');
  const origins = (): string =>
    execFileSync(python ?? '', [script, folder], { input: 'zip-3.0-11.el7.x86_64.rpm\n', encoding: 'utf8' });
  const make = (code: string): void => {
    execFileSync(python ?? '', ['-c', code], { cwd: folder });
  };

  it('reads the XML that dnf keeps', () => {
    make(`
import gzip, os
os.makedirs('cache/os-0123456789abcdef/repodata')
gzip.open('cache/os-0123456789abcdef/repodata/x-primary.xml.gz', 'wb').write(b'''<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">
<package type="rpm"><name>zip</name><checksum type="sha256" pkgid="YES">aa</checksum><location href="Packages/zip-3.0-11.el7.x86_64.rpm"/></package>
<package type="rpm"><name>other</name><checksum type="sha256" pkgid="YES">bb</checksum><location href="Packages/other-1-1.noarch.rpm"/></package>
</metadata>''')`);
    expect(origins()).toBe('os-0123456789abcdef\tsha256\taa\tPackages/zip-3.0-11.el7.x86_64.rpm\n');
  });

  it('reads the SQLite that yum 3.4.3 keeps, packed or not', () => {
    make(`
import bz2, os, sqlite3
os.makedirs('cache/os/gen')
db = sqlite3.connect('cache/os/gen/primary_db.sqlite')
db.execute('create table packages (pkgId text, checksum_type text, location_href text)')
db.execute("insert into packages values ('aa', 'sha256', 'Packages/zip-3.0-11.el7.x86_64.rpm')")
db.commit()
db.close()
os.makedirs('cache/updates')
bz2.BZ2File('cache/updates/x-primary.sqlite.bz2', 'w').write(open('cache/os/gen/primary_db.sqlite', 'rb').read())`);
    expect(origins().split('\n').sort()).toEqual([
      '',
      'os\tsha256\taa\tPackages/zip-3.0-11.el7.x86_64.rpm',
      'updates\tsha256\taa\tPackages/zip-3.0-11.el7.x86_64.rpm',
    ]);
  });
});
