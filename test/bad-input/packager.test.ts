import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownedName } from '../../src/create/owner.js';
import { ROOT } from '../docs/support.js';
import type { PackagerSetting, Place, Row, TypeOptions } from './packager-place.js';
import { contentsOf, NOBODY, packagerSetting, standIn, tryRow } from './packager-place.js';
import { badInputTable } from './table.js';

/*
 * The built command, typed as a packager would, on a machine without a container engine: a stand-in for
 * docker answers, and the manifest asks for no packages. With a real engine: collecting.docker.test.ts.
 */

const table = badInputTable('packager');
let setting: PackagerSetting;
beforeAll(async () => {
  setting = await packagerSetting();
}, 120_000);
afterAll(() => setting.close());

const create = (place: Place, more: readonly string[] = [], key = setting.key): readonly string[] => [
  ...['create', place.manifest, '--key', key, '--out', place.out, '--cache', place.cache],
  ...more,
];

const tried = (row: Row, place?: Place): Promise<void> => tryRow(setting, table, row, create, place);

/** Typed by an account that owns none of the files. */
function asNobody(row: Row): void {
  it(row.what, async ({ skip }) => {
    const seen = process.getuid?.() === 0 ? spawnSync('test', ['-r', TOOLS], { uid: NOBODY }).status : 1;
    if (seen !== 0) {
      table.untried(row.what);
      skip('this takes root, and a clone that others may read');
    }
    await tried({ ...row, options: () => ({ uid: NOBODY }) });
  });
}

/** What every command loads. */
const TOOLS = path.join(ROOT, 'node_modules/commander/package.json');

/** The lock that the good manifest gets: it has no mistake besides the row's own. */
async function locks(place: Place): Promise<void> {
  const answer = await setting.bundle(['lock', place.manifest, '--cache', place.cache]);
  expect(answer.exit, answer.stderr).toBe(0);
}

/** Writes the manifest with one text in the place of another, which must be there. */
const changed =
  (from: string, to: string) =>
  (place: Place): undefined => {
    expect(place.good).toContain(from);
    writeFileSync(place.manifest, place.good.replace(from, to));
  };
const written =
  (bytes: string | Uint8Array) =>
  (place: Place): undefined => {
    writeFileSync(place.manifest, bytes);
  };

/** "Billion laughs": each line repeats the one before ten times. */
function bomb(): string {
  const lines = ['a0: &a0 [x]'];
  for (let level = 1; level < 9; level += 1)
    lines.push(`a${String(level)}: &a${String(level)} [${`*a${String(level - 1)}, `.repeat(10)}]`);
  return `${lines.join('\n')}\n`;
}

describe('the command line', () => {
  it.each<Row>([
    { what: 'an unknown command', exit: 2, code: 'COMMAND_LINE', mistake: () => ['creat', 'it.yaml'] },
    {
      what: 'an unknown option',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: (place) => create(place, ['--lokced']),
      says: /bundle create --help/,
    },
    {
      what: 'an option without its value',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: () => ['create', 'it.yaml', '--key'],
    },
    {
      what: '`create` without `--key`',
      exit: 2,
      code: 'NO_KEY',
      mistake: () => ['create', 'it.yaml'],
    },
    {
      what: '`lock` without a manifest',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: () => ['lock'],
    },
    {
      what: 'one argument too many',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: (place) => create(place, ['again.yaml']),
    },
    {
      what: 'an engine that is not known',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: (place) => create(place, ['--engine', 'lxc']),
    },
    {
      what: 'the same in `AIRBUNDLE_ENGINE`',
      exit: 2,
      code: 'COMMAND_LINE',
      at: 'AIRBUNDLE_ENGINE',
      options: () => ({ env: { AIRBUNDLE_ENGINE: 'lxc' } }),
    },
    {
      what: 'a number of days that is none',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: () => ['cache', 'prune', '--older-than', 'soon'],
    },
    {
      what: '`lock` with a component, without `--update`',
      exit: 2,
      code: 'COMPONENTS_WITHOUT_UPDATE',
      mistake: (place) => ['lock', place.manifest, 'thing'],
      says: /bundle lock \S+it\.yaml --update thing/,
    },
    {
      what: '`lock --update` with a component that is not in the manifest',
      exit: 2,
      code: 'UNKNOWN_COMPONENT',
      mistake: (place) => ['lock', place.manifest, '--update', 'think', '--cache', place.cache],
      says: /It has: thing/,
    },
    {
      what: 'on a node: an unknown command',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: () => ['instal', '/media/usb'],
      options: () => ({ program: 'installer.cjs' }),
    },
    {
      what: 'on a node: an unknown option',
      exit: 2,
      code: 'COMMAND_LINE',
      mistake: () => ['install', '/media/usb', '--forse'],
      options: () => ({ program: 'installer.cjs' }),
      says: /airbundle install --help/,
    },
  ])('$what', (row) => tried(row));
});

describe('the manifest', () => {
  const wrong = { exit: 3, code: 'BAD_MANIFEST' } as const;
  it.each<Row>([
    {
      what: 'no such manifest',
      exit: 2,
      code: 'NO_MANIFEST',
      at: 'it.yaml',
      mistake: ({ manifest }) => {
        rmSync(manifest);
      },
    },
    {
      what: 'the manifest is a folder',
      exit: 2,
      code: 'NO_MANIFEST',
      at: 'it.yaml',
      mistake: ({ manifest }) => {
        rmSync(manifest);
        mkdirSync(manifest);
      },
    },
    {
      what: 'the manifest is a named pipe',
      exit: 2,
      code: 'NO_MANIFEST',
      at: 'it.yaml',
      mistake: ({ manifest }) => {
        rmSync(manifest);
        execFileSync('mkfifo', [manifest]);
      },
    },
    { what: 'an empty manifest', ...wrong, at: 'it.yaml:1:1', mistake: written('') },
    { what: 'a manifest of comments', ...wrong, at: 'it.yaml:1:1', mistake: written('# nothing\n') },
    {
      what: 'a manifest that is not UTF-8',
      ...wrong,
      at: 'it.yaml',
      mistake: written(Buffer.from('name: \xc7\xd1', 'latin1')),
    },
    {
      what: 'a manifest of 10 MB',
      ...wrong,
      at: 'it.yaml',
      mistake: ({ manifest }) => {
        truncateSync(manifest, 10_000_000);
      },
    },
    { what: 'a list instead of keys and values', ...wrong, at: 'it.yaml:1:1', mistake: written('- a\n') },
    {
      what: 'a bracket that is not closed',
      ...wrong,
      at: 'it.yaml:',
      mistake: changed('packages: []', 'packages: ['),
    },
    {
      what: 'a tab for indentation',
      ...wrong,
      at: 'it.yaml:17:1',
      mistake: changed('    version: "1.0"', '\tversion: "1.0"'),
    },
    { what: 'aliases that multiply', ...wrong, at: 'it.yaml', mistake: written(bomb()) },
    {
      what: 'a key twice',
      ...wrong,
      at: 'it.yaml:5:1',
      mistake: changed('sequence: 1', 'sequence: 1\nsequence: 2'),
    },
    {
      what: 'an unknown key',
      ...wrong,
      at: 'it.yaml:4:1',
      mistake: changed('sequence: 1', 'sequense: 1\nsequence: 1'),
    },
    {
      what: 'a key that is missing',
      ...wrong,
      at: 'it.yaml:',
      mistake: changed('sequence: 1\n', ''),
      says: /sequence: is missing/,
    },
    { what: 'a number for a version', ...wrong, at: 'it.yaml:17:14', mistake: changed('"1.0"', '7.10') },
    {
      what: 'a later version of this format',
      ...wrong,
      at: 'it.yaml:1:12',
      mistake: changed('airbundle: 1', 'airbundle: 2'),
    },
    {
      what: 'a component twice',
      ...wrong,
      at: 'it.yaml:24:11',
      mistake: ({ manifest, good }) => {
        appendFileSync(manifest, good.slice(good.indexOf('  - name: thing')));
      },
    },
    {
      what: 'a ref that would be an option',
      ...wrong,
      at: 'it.yaml:20:',
      mistake: changed('ref: v1.0', 'ref: "--upload-pack=x"'),
    },
    {
      what: 'a package name with a blank',
      ...wrong,
      at: 'it.yaml:19:',
      mistake: changed('packages: []', 'packages: ["a; rm -rf /"]'),
    },
    {
      what: 'a `file://` repository',
      ...wrong,
      at: 'it.yaml:8:',
      mistake: changed('http://mirror.example/os', 'file:///mnt/os'),
    },
    {
      what: 'a source over plain http, without `commit:`',
      ...wrong,
      at: 'it.yaml:20:',
      mistake: changed('../upstream', 'http://git.example/a.git'),
    },
    {
      what: 'a source that is neither URL nor path',
      ...wrong,
      at: 'it.yaml:20:',
      mistake: changed('../upstream', 'upstream'),
    },
    {
      what: 'a fingerprint with a digit missing',
      ...wrong,
      at: 'it.yaml:10:',
      mistake: changed('0EB5', '0EB'),
    },
  ])('$what', (row) => tried(row));
  asNobody({
    what: 'a manifest that you may not read',

    exit: 2,
    code: 'NO_MANIFEST',
    at: 'it.yaml',
    mistake: ({ manifest }) => {
      chmodSync(manifest, 0o600);
    },
  });

  it('may name a collector and keys outside its folder: they are the packager’s own, hashed and pinned', async () => {
    const place = setting.place();
    const collector = path.join(setting.folder, 'collector');
    mkdirSync(collector);
    writeFileSync(path.join(collector, 'Dockerfile'), 'FROM scratch\n');
    changed('{ image: "collector" }', '{ dockerfile: ../collector }')(place);
    const answer = await setting.bundle(['lock', place.manifest, '--cache', place.cache], {
      path: `${standIn(path.join(place.folder, 'bin'), 'docker', 'case "$1" in image) echo \'[{"Id":"sha256:0","Config":{"Labels":{}}}]\' ;; esac')}:${process.env['PATH'] ?? ''}`,
    });
    expect(answer.exit, answer.stderr).toBe(0);
    expect(existsSync(place.lock)).toBe(true);
  });
});

describe('the collector’s folder', () => {
  const wrong = { exit: 3, code: 'BAD_COLLECTOR' } as const;
  const named = changed('{ image: "collector" }', '{ dockerfile: ./collector }');
  it.each<Row>([
    { what: '`dockerfile:` names no folder', ...wrong, at: 'collector/Dockerfile', mistake: named },
    {
      what: '`dockerfile:` names the Dockerfile itself',
      ...wrong,
      at: 'collector',
      mistake: (place) => {
        writeFileSync(path.join(place.folder, 'collector'), 'FROM scratch\n');
        named(place);
      },
    },
    {
      what: 'a Dockerfile without FROM',
      ...wrong,
      at: 'collector/Dockerfile',
      mistake: (place) => {
        mkdirSync(path.join(place.folder, 'collector'));
        writeFileSync(path.join(place.folder, 'collector/Dockerfile'), 'RUN true\n');
        named(place);
      },
    },
    {
      what: 'a link in the collector’s folder',
      ...wrong,
      at: 'collector/x',
      mistake: (place) => {
        mkdirSync(path.join(place.folder, 'collector'));
        writeFileSync(path.join(place.folder, 'collector/Dockerfile'), 'FROM scratch\n');
        symlinkSync('/etc/hostname', path.join(place.folder, 'collector/x'));
        named(place);
      },
    },
  ])('$what', (row) => tried(row));
});

describe('a template', () => {
  const withTemplate =
    (name: string, write?: (file: string) => void) =>
    (place: Place): undefined => {
      const text = `    configuration: { files: [{ path: /etc/thing.conf, template: ${name} }] }\n`;
      writeFileSync(place.manifest, place.good + text);
      write?.(path.join(place.folder, name));
    };
  const text = (bytes: string | Uint8Array) => (file: string) => {
    writeFileSync(file, bytes);
  };
  it.each<Row>([
    {
      what: 'no such template',
      exit: 3,
      code: 'NO_TEMPLATE',
      at: 'thing.conf',
      mistake: withTemplate('thing.conf'),
    },
    {
      what: 'the template is a folder',
      exit: 3,
      code: 'NO_TEMPLATE',
      at: 'thing.conf',
      mistake: withTemplate('thing.conf', (file) => {
        mkdirSync(file);
      }),
    },
    {
      what: 'an unknown name in a template',
      exit: 3,
      code: 'BAD_TEMPLATE',
      at: 'thing.conf:2:',
      mistake: withTemplate('thing.conf', text('a\nport {{node.nam}}\n')),
    },
    {
      what: 'a bracket of a template that is not closed',
      exit: 3,
      code: 'BAD_TEMPLATE',
      at: 'thing.conf:1:',
      mistake: withTemplate('thing.conf', text('port {{node.name\n')),
    },
    {
      what: 'a template that is not UTF-8',
      exit: 3,
      code: 'BAD_TEMPLATE',
      at: 'thing.conf',
      mistake: withTemplate('thing.conf', text(Buffer.from([0xff]))),
    },
    {
      what: 'a template of 65 KiB',
      exit: 3,
      code: 'BAD_TEMPLATE',
      at: 'thing.conf',
      mistake: withTemplate('thing.conf', text('x'.repeat(65 * 1024))),
    },
    {
      what: 'a template path that climbs out',
      exit: 3,
      code: 'BAD_MANIFEST',
      at: 'it.yaml:24:',
      mistake: withTemplate('../../etc/shadow'),
    },
    {
      what: 'an absolute template path',
      exit: 3,
      code: 'BAD_MANIFEST',
      at: 'it.yaml:24:',
      mistake: withTemplate('/etc/shadow'),
    },
    {
      what: 'a template that is a link out of the folder',
      exit: 3,
      code: 'BAD_TEMPLATE',
      at: 'thing.conf',
      mistake: withTemplate('thing.conf', (file) => {
        symlinkSync('/etc/hostname', file);
      }),
    },
  ])('$what', (row) => tried(row));
});

describe('the signing key', () => {
  const pem = { type: 'pkcs8', format: 'pem' } as const;
  const withKey =
    (make: (file: string) => void, more: (place: Place) => readonly string[] = () => []) =>
    (place: Place): readonly string[] => {
      const file = path.join(place.folder, 'my.key.pem');
      make(file);
      return create(place, more(place), file);
    };
  const text = (bytes: string | Buffer, mode = 0o600) =>
    withKey((file) => {
      writeFileSync(file, bytes, { mode });
    });
  const encrypted = (make: (place: Place) => readonly string[]) =>
    withKey((file) => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      writeFileSync(file, privateKey.export({ ...pem, cipher: 'aes-256-cbc', passphrase: 'right' }), {
        mode: 0o600,
      });
    }, make);
  const passphrase =
    (bytes: string) =>
    (place: Place): readonly string[] => {
      const file = path.join(place.folder, 'passphrase');
      writeFileSync(file, bytes, { mode: 0o600 });
      return ['--passphrase-file', file];
    };
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export(pem);

  it.each<Row>([
    {
      what: 'no such key',
      exit: 2,
      code: 'NO_KEY',
      at: 'my.key.pem',
      mistake: withKey(() => undefined),
      says: /bundle keygen --out \S+\/my$/m,
    },
    {
      what: 'the key is a folder',
      exit: 2,
      code: 'KEY_UNREADABLE',
      at: 'my.key.pem',
      mistake: withKey((file) => {
        mkdirSync(file);
      }),
    },
    { what: 'the key file is empty', exit: 2, code: 'WRONG_KEY_TYPE', at: 'my.key.pem', mistake: text('') },
    {
      what: 'the key file is another text',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: text('hello\n'),
    },
    {
      what: 'the public key for the private one',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'packager.pub.pem',
      mistake: (place) => create(place, [], setting.key.replace('.key.', '.pub.')),
    },
    {
      what: 'an OpenSSH key',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: text('-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n'),
    },
    {
      what: 'an RSA key',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: withKey((file) => {
        writeFileSync(file, rsa(), { mode: 0o600 });
      }),
    },
    {
      what: 'an RSA key that others may read',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: withKey((file) => {
        writeFileSync(file, rsa(), { mode: 0o644 });
      }),
    },
    {
      what: 'an Ed25519 key',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: text(generateKeyPairSync('ed25519').privateKey.export(pem)),
    },
    {
      what: 'a P-384 key',
      exit: 2,
      code: 'WRONG_KEY_TYPE',
      at: 'my.key.pem',
      mistake: text(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey.export(pem)),
    },
    {
      what: 'a key that is damaged',
      exit: 2,
      code: 'KEY_UNREADABLE',
      at: 'my.key.pem',
      mistake: text('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
    },
    {
      what: 'a key that others may read',
      exit: 5,
      code: 'KEY_READABLE',
      at: 'my.key.pem',
      mistake: withKey((file) => {
        writeFileSync(file, readFileSync(setting.key), { mode: 0o640 });
      }),
      says: /chmod 600 \S+my\.key\.pem/,
    },
    {
      what: 'an encrypted key without its passphrase',
      exit: 2,
      code: 'PASSPHRASE_NEEDED',
      at: 'my.key.pem',
      mistake: encrypted(() => []),
    },
    {
      what: 'a wrong passphrase',
      exit: 2,
      code: 'WRONG_PASSPHRASE',
      at: 'my.key.pem',
      mistake: encrypted(passphrase('wrong\n')),
    },
    {
      what: 'an empty passphrase file',
      exit: 2,
      code: 'NO_PASSPHRASE',
      at: 'passphrase',
      mistake: encrypted(passphrase('')),
    },
    {
      what: 'no such passphrase file',
      exit: 2,
      code: 'NO_PASSPHRASE',
      at: 'passphrase',
      mistake: encrypted(({ folder }) => ['--passphrase-file', path.join(folder, 'passphrase')]),
    },
    {
      what: '`keygen` where a key is',
      exit: 5,
      code: 'KEY_EXISTS',
      at: 'packager.key.pem',
      mistake: () => ['keygen', '--out', setting.key.replace('.key.pem', '')],
    },
    {
      what: '`keygen` below a file',
      exit: 6,
      code: 'CANNOT_WRITE',
      mistake: ({ manifest }) => ['keygen', '--out', path.join(manifest, 'packager')],
    },
  ])('$what', (row) => tried(row));
  asNobody({
    what: 'the key of another user',
    exit: 2,
    code: 'KEY_UNREADABLE',
    at: 'packager.key.pem',
  });
});

describe('the lock', () => {
  const locked = (place: Place): readonly string[] => create(place, ['--locked']);
  it.each<Row>([
    {
      what: '`--locked` without a lock',
      exit: 3,
      code: 'LOCK_MISSING',
      at: 'it.lock.json',
      mistake: locked,
      says: /bundle lock \S+it\.yaml$/m,
    },
    {
      what: '`--locked` with a stale lock',
      exit: 3,
      code: 'LOCK_OUT_OF_DATE',
      at: 'it.lock.json',
      mistake: async (place) => {
        await locks(place);
        changed('ref: v1.0', 'ref: v1.1')(place);
        return locked(place);
      },
      says: /locked "v1\.0", the manifest says "v1\.1"/,
    },
    {
      what: '`--locked` with the lock of another manifest',
      exit: 3,
      code: 'LOCK_OUT_OF_DATE',
      at: 'it.lock.json',
      mistake: async (place) => {
        await locks(place);
        changed('name: thing', 'name: other')(place);
        return locked(place);
      },
      says: /thing: only in the lock/,
    },
    {
      what: 'a lock that is cut off',
      exit: 3,
      code: 'BAD_LOCK',
      at: 'it.lock.json',
      mistake: async (place) => {
        await locks(place);
        truncateSync(place.lock, 100);
      },
      says: /bundle lock \S+it\.yaml --update$/m,
    },
    {
      what: 'a lock that is another JSON file',
      exit: 3,
      code: 'BAD_LOCK',
      at: 'it.lock.json',
      mistake: ({ lock }) => {
        writeFileSync(lock, '{}');
      },
    },
    {
      what: 'the lock is a folder',
      exit: 2,
      code: 'LOCK_UNREADABLE',
      at: 'it.lock.json',
      mistake: ({ lock }) => {
        mkdirSync(lock);
      },
    },
  ])('$what', (row) => tried(row));
});

describe('the container engine', () => {
  /** git and the system's tools without the engines that this machine has. */
  const only =
    (script?: string, name = 'docker') =>
    (place: Place): TypeOptions => {
      const bin = path.join(setting.folder, `only-${path.basename(place.folder)}`);
      mkdirSync(bin);
      symlinkSync(
        execFileSync('sh', ['-c', 'command -v git'], { encoding: 'utf8' }).trim(),
        path.join(bin, 'git'),
      );
      if (script !== undefined) standIn(bin, name, script);
      return { path: bin };
    };
  it.each<Row>([
    { what: 'neither docker nor podman is installed', exit: 5, code: 'ENGINE_MISSING', options: only() },
    {
      what: '`--engine podman` where only docker is (a stand-in)',
      exit: 5,
      code: 'ENGINE_MISSING',
      mistake: (place) => create(place, ['--engine', 'podman']),
      options: only('exit 0'),
    },
    {
      what: 'docker does not run (a stand-in with its words)',
      exit: 5,
      code: 'ENGINE_NOT_RUNNING',
      options: only(
        'echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1',
      ),
      says: /systemctl start docker/,
    },
    {
      what: 'docker may not be used (a stand-in with its words)',
      exit: 5,
      code: 'ENGINE_PERMISSION',
      options: only(
        'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1',
      ),
      says: /usermod -aG docker/,
    },
    {
      what: 'docker answers with something else (a stand-in)',
      exit: 6,
      code: 'ENGINE_FAILED',
      options: only('echo hello'),
    },
  ])('$what', (row) => tried(row));
});

describe('the cache', () => {
  const file = ({ cache }: Place): void => {
    writeFileSync(cache, '');
  };
  it.each<Row>([
    {
      what: 'the cache is a file',
      exit: 6,
      code: 'CANNOT_WRITE',
      at: 'cache',
      mistake: (place) => {
        file(place);
        return create(place);
      },
    },
    {
      what: '`cache list` of a file',
      exit: 2,
      code: 'CACHE_UNREADABLE',
      at: 'cache',
      mistake: (place) => {
        file(place);
        return ['cache', 'list', '--cache', place.cache];
      },
    },
    {
      what: '`cache prune` of a file',
      exit: 2,
      code: 'CACHE_UNREADABLE',
      at: 'cache',
      mistake: (place) => {
        file(place);
        return ['cache', 'prune', '--cache', place.cache];
      },
    },
    {
      what: '`cache prune` while another run uses the cache',
      exit: 5,
      code: 'CACHE_IN_USE',
      at: 'cache/tmp/run.',
      mistake: ({ cache }) => {
        mkdirSync(path.join(cache, 'tmp'), { recursive: true });
        // This process stands for the other run.
        writeFileSync(path.join(cache, 'tmp', ownedName('run')), '');
        return ['cache', 'prune', '--cache', cache, '--older-than', '0'];
      },
      says: new RegExp(`process ${String(process.pid)} `),
    },
    {
      what: '`cache prune` with a lock that is not there',
      exit: 2,
      code: 'LOCK_UNREADABLE',
      at: 'it.lock.json',
      mistake: ({ cache, lock }) => ['cache', 'prune', lock, '--cache', cache],
    },
    {
      what: '`cache prune` with a manifest for a lock',
      exit: 3,
      code: 'BAD_LOCK',
      at: 'it.yaml',
      mistake: ({ cache, manifest }) => ['cache', 'prune', manifest, '--cache', cache],
    },
  ])('$what', (row) => tried(row));
  const closed = ({ cache }: Place): void => {
    mkdirSync(cache, { mode: 0o700 });
  };
  asNobody({
    what: '`cache list` of another user’s cache',
    exit: 2,
    code: 'CACHE_UNREADABLE',
    at: 'cache',
    mistake: (place) => {
      closed(place);
      return ['cache', 'list', '--cache', place.cache];
    },
  });
  asNobody({
    what: '`cache prune` of another user’s cache',
    exit: 2,
    code: 'CACHE_UNREADABLE',
    at: 'cache',
    mistake: (place) => {
      closed(place);
      return ['cache', 'prune', '--cache', place.cache];
    },
  });
});

describe('the output', () => {
  const made = async (place: Place): Promise<void> => {
    const answer = await setting.bundle(create(place));
    expect(answer.exit, answer.stderr).toBe(0);
  };
  it.each<Row>([
    {
      what: '`--out` is a file',
      exit: 6,
      code: 'CANNOT_WRITE',
      at: 'dist',
      mistake: ({ out }) => {
        writeFileSync(out, '');
      },
    },
    {
      what: '`--out` is below a file',
      exit: 6,
      code: 'CANNOT_WRITE',
      at: 'it.yaml',
      mistake: (place) => create({ ...place, out: path.join(place.manifest, 'dist') }),
    },
    {
      what: '`init` below a file',
      exit: 6,
      code: 'CANNOT_WRITE',
      at: 'it.yaml',
      mistake: ({ manifest }) => ['init', manifest],
    },
  ])('$what', (row) => tried(row));

  it('another bundle of this name and version', async () => {
    const place = setting.place();
    await made(place);
    changed('build: [[make]]', 'build: [[make, all]]')(place);
    const before = contentsOf(place);
    const answer = await setting.bundle(create(place));
    expect(contentsOf(place), 'the old one stays, and nothing else').toEqual(before);
    expect(answer.exit).toBe(5);
    table.row('another bundle of this name and version', answer);
    const file = path.join(place.out, 'it-1-el7.x86_64', 'it-1-el7.x86_64.tar');
    rmSync(file);
    const missing = await setting.bundle(create(place));
    expect(missing.exit).toBe(5);
    table.row('the folder is there and its payload is gone', missing);
  });
  asNobody({
    what: '`--out` is another user’s',
    exit: 6,
    code: 'CANNOT_WRITE',
    at: 'dist',
    mistake: (place) => {
      mkdirSync(place.out);
      // The lock, beside the manifest, could be written.
      execFileSync('chown', [String(NOBODY), place.folder]);
      return create(place, [], keyOfNobody(place));
    },
  });

  const keyOfNobody = (place: Place): string => {
    const file = path.join(place.folder, 'nobody.key.pem');
    writeFileSync(file, readFileSync(setting.key), { mode: 0o600 });
    execFileSync('chown', [String(NOBODY), file]);
    return file;
  };

  it.for([
    { what: '`--out` on a disk that is too small', limits: 'size=4k', code: 'NO_ROOM', exit: 5 },
    {
      what: '`--out` on a disk that takes no more files',
      limits: 'nr_inodes=2',
      code: 'CANNOT_WRITE',
      exit: 6,
    },
  ])('$what', async ({ what, limits, code, exit }, { skip }) => {
    const place = setting.place();
    await locks(place);
    mkdirSync(place.out);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', limits, 'tmpfs', place.out]);
    if (mounted.status !== 0) {
      table.untried(what);
      skip('this takes root, to mount a small tmpfs');
    }
    try {
      await tried({ what, exit, code, at: 'dist', masked: [[/takes \d+ bytes/g, 'takes N bytes']] }, place);
    } finally {
      execFileSync('umount', [place.out]);
    }
  });
});

describe('docs/reference/bad-input.md', () => {
  it('has these rows and no other', () => {
    table.complete();
  });
});
