import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildInto, ROOT } from '../docs/support.js';
import { skipUnless } from '../support/skip.js';
import { callsIn, hasStrace, systemCallsOf } from '../support/system-calls.js';
import { builtProgram } from './measure.js';
import type { FileSet, MadeFolder } from './payloads.js';
import { makeFiles, makeFolder, MIB, SMALL_FILE } from './payloads.js';

const LARGE = 3 * MIB + 5;

describe('the work on a payload', { timeout: 120_000 }, () => {
  skipUnless(hasStrace, 'strace is not installed: sh test/lab/prepare.sh');

  let scratch = '';
  let passes = '';
  let files: FileSet;
  let made: MadeFolder;
  let sha256 = '';
  beforeAll(async () => {
    scratch = realpathSync(mkdtempSync(path.join(tmpdir(), 'airbundle-work-')));
    passes = await builtProgram('passes');
    const small = makeFiles(scratch, 'files small', 30 * SMALL_FILE, SMALL_FILE);
    const large = makeFiles(scratch, 'files large', 2 * LARGE, LARGE);
    const renamed = large.members.map((member, index) => ({ ...member, path: small.members[index]!.path }));
    const members = [...small.members.slice(renamed.length), ...renamed];
    files = { ...small, members, sizeBytes: members.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
    made = await makeFolder(scratch, members);
    sha256 = readFileSync(path.join(made.folder, `${made.stem}.sha256`), 'utf8')
      .split('\n')[1]!
      .slice(0, 64);
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('is, for packing: each byte read once and written once, each file opened once, one sync', () => {
    const list = path.join(scratch, 'members.json');
    const output = path.join(scratch, 'out.tar');
    writeFileSync(list, JSON.stringify(files.members));
    const calls = systemCallsOf([process.execPath, passes, 'pack', list, output]);
    expect({
      read: calls.readBytes(path.join(scratch, 'files-')),
      opened: calls.opened(path.join(scratch, 'files-')),
      written: calls.writtenBytes(output),
      openedOutput: calls.opened(output),
      synced: calls.synced(),
    }).toEqual({
      read: files.sizeBytes,
      opened: files.members.length,
      written: statSync(output).size,
      openedOutput: 1,
      synced: 1,
    });
  });

  it('is, for verifying: each byte read once, and nothing written', () => {
    const calls = systemCallsOf([process.execPath, passes, 'read', made.tar, sha256]);
    expect({
      read: calls.readBytes(made.tar),
      opened: calls.opened(made.tar),
      written: calls.writtenBytes(scratch),
      synced: calls.synced(),
    }).toEqual({ read: statSync(made.tar).size, opened: 1, written: 0, synced: 0 });
  });

  it('is, for staging: each byte read once, those of members written once, the medium opened once', () => {
    const into = path.join(scratch, 'stage');
    mkdirSync(into);
    const calls = systemCallsOf([process.execPath, passes, 'unpack', made.tar, sha256, into]);
    const contentsBytes = statSync(path.join(into, 'bundle.json')).size;
    expect({
      read: calls.readBytes(made.tar),
      opened: calls.opened(made.tar),
      written: calls.writtenBytes(into),
      openedThere: calls.opened(into),
      readThere: calls.readBytes(into),
    }).toEqual({
      read: statSync(made.tar).size,
      opened: 1,
      written: files.sizeBytes + contentsBytes,
      openedThere: files.members.length + 1,
      readThere: 0,
    });
  });
});

describe('a start of the command', { timeout: 120_000 }, () => {
  skipUnless(hasStrace, 'strace is not installed: sh test/lab/prepare.sh');

  let folder = '';
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'airbundle-start-')));
    for (const name of ['node_modules', 'package.json'])
      symlinkSync(path.join(ROOT, name), path.join(folder, name));
    buildInto(path.join(folder, 'build'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['--version', ['commander']],
    ['create --help', ['commander']],
    ['keygen --help', ['commander']],
    ['verify --help', ['commander', 'zod']],
    ['receipts --help', ['commander', 'zod']],
    ['--help', ['commander', 'yaml', 'zod']],
  ])('reads for "bundle %s" the modules of %j and of no other package', (words, packages) => {
    const modules = path.join(realpathSync(path.join(ROOT, 'node_modules')), '/');
    const calls = systemCallsOf([
      process.execPath,
      path.join(folder, 'build', 'cli.js'),
      ...words.split(' '),
    ]);
    const names = ['commander', 'execa', 'fast-glob', 'ssh2', 'tar', 'yaml', 'zod'];
    expect(names.filter((name) => calls.opened(path.join(modules, name, '/')) > 0)).toEqual(packages);
  });
});

describe('a trace of system calls', () => {
  it('is read with calls that stand on two lines, and without those that failed', () => {
    const trace = [
      '11 openat(AT_FDCWD</work>, ""..., O_RDONLY|O_CLOEXEC) = 17</data/a>',
      '11 read(17</data/a>,  <unfinished ...>',
      '12 write(18</data/out>, ""..., 5 <unfinished ...>',
      '11 <... read resumed>""..., 10)    = 7',
      '12 <... write resumed>)              = 5',
      '11 openat(AT_FDCWD</work>, ""..., O_RDONLY) = -1 ENOENT (No such file or directory)',
      '11 +++ exited with 0 +++',
      '',
    ].join('\n');
    expect(callsIn(trace)).toEqual([
      { name: 'openat', path: '/data/a', result: 17 },
      { name: 'read', path: '/data/a', result: 7 },
      { name: 'write', path: '/data/out', result: 5 },
    ]);
  });
});
