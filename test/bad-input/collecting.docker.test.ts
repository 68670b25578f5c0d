import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { create as createTar } from 'tar';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findEngine } from '../../src/create/engine.js';
import { readPublicKey } from '../../src/create/openpgp.js';
import { makeRepository } from '../create/create-support.js';
import { docker } from '../lab/docker.js';
import { baseImage, builderImage, collectorImage } from '../lab/images.js';
import { serveRepository } from '../lab/serve.js';
import type { ServedFolder } from '../lab/serve.js';
import { skipUnless } from '../support/skip.js';
import type { PackagerSetting, Place, Row } from './packager-place.js';
import { packagerSetting, tryRow } from './packager-place.js';
import { badInputTable } from './table.js';

/*
 * The built command against real origins that are wrong: a repository over http, git, npm's registry. The
 * engine is real; dnf 4 and rpm 4.16 stand in the collector for yum 3.4.3 and rpm 4.11.
 */

const env = { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent' };
const engine = await findEngine({ env, engine: 'docker' }).catch(() => undefined);

describe('collecting', () => {
  skipUnless(engine !== undefined, 'docker does not answer');

  const table = badInputTable('collecting');
  let setting: PackagerSetting;
  let repository: ServedFolder;
  let broken: ServedFolder;
  let registry: Server;
  let image = '';
  let fingerprint = '';
  let label = '';
  const below = (...parts: readonly string[]): string => path.join(setting.folder, ...parts);

  beforeAll(async () => {
    if (engine === undefined) return;
    setting = await packagerSetting();
    label = `airbundle.test=${path.basename(setting.folder)}`;
    image = await collectorImage();
    mkdirSync(below('made'));
    const script = path.join(import.meta.dirname, 'collecting-repository.sh');
    await docker([
      ...['run', '--rm', '--network', 'none', '--label', label, '-v', `${script}:/make.sh:ro`],
      ...['-v', `${below('made')}:/out`, await builderImage(), 'sh', '/make.sh'],
    ]);
    fingerprint = readPublicKey(readFileSync(keyFile('good')), 'good').fingerprint;
    repository = await serveRepository({ dir: below('made/repo') });
    cpSync(below('made/repo'), below('broken'), { recursive: true });
    broken = await serveRepository({ dir: below('broken') });
    registry = await npmRegistry(below('npm'));
    // What every row begins with is right: it also fills the cache.
    const place = setting.place();
    good(place);
    const answer = await setting.bundle(lock(place), typing());
    expect(answer.exit, answer.stderr).toBe(0);
    writeFileSync(below('good.lock.json'), readFileSync(place.lock));
  });
  afterAll(async () => {
    if (engine === undefined) return;
    registry.close();
    await broken.close();
    await repository.close();
    await setting.close();
  });
  afterEach(async () => {
    if (engine === undefined) return;
    const left = await docker(['ps', '-a', '--filter', `label=${label}`, '--format', '{{.Names}}']);
    expect(left, 'a container stayed behind').toBe('');
  });

  const keyFile = (who: 'good' | 'other'): string => below('made/keys', who);
  const typing = (more: Readonly<Record<string, string>> = {}) => ({
    path: env.PATH,
    env: { AIRBUNDLE_ENGINE_ARGS: `--label ${label}`, ...more },
  });
  const lock = (place: Place): readonly string[] => ['lock', place.manifest, '--cache', below('cache')];
  const tried = (row: Row): Promise<void> =>
    tryRow(setting, table, { options: () => typing(), ...row }, lock).then(() => {
      expect(leftovers(), 'temporary files in the cache').toEqual([]);
    });
  const leftovers = (): string[] => {
    const folder = below('cache/tmp');
    return existsSync(folder) ? readdirSync(folder) : [];
  };

  /** Text in the good manifest → another in its place. */
  type Changes = Readonly<Record<string, string>>;
  const good = (place: Place, changes: Changes = {}): void => {
    let text = place.good
      .replace('image: "collector"', `image: "${image}"`)
      .replace('http://mirror.example/os', repository.url)
      .replace(
        /fingerprint: "[^"]*", file: \.\/key/,
        `fingerprint: "${fingerprint}", file: ../made/keys/good`,
      )
      .replace('packages: []', 'packages: [fine]');
    for (const [from, to] of Object.entries(changes)) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    writeFileSync(place.manifest, text);
  };
  const changed =
    (changes: () => Changes) =>
    (place: Place): undefined => {
      good(place, changes());
    };
  const without = (changes: () => Changes) =>
    changed(() => ({ 'packages: [fine]': 'packages: []', ...changes() }));

  describe('the image', () => {
    it.each<Row>([
      {
        what: 'an image that is not there and cannot be pulled',
        exit: 5,
        code: 'IMAGE_MISSING',
        mistake: changed(() => ({ [image]: '127.0.0.1:9/none:1' })),
        says: /docker load -i FILE/,
      },
      {
        what: 'an image without yum',
        exit: 6,
        code: 'COLLECTOR_UNFIT',
        mistake: async (place) => {
          good(place, { [image]: await baseImage() });
          return undefined;
        },
      },
      {
        what: 'a Dockerfile that cannot be built',
        exit: 6,
        code: 'IMAGE_BUILD_FAILED',
        at: 'collector/Dockerfile',
        mistake: (place) => {
          mkdirSync(path.join(place.folder, 'collector'));
          writeFileSync(path.join(place.folder, 'collector/Dockerfile'), 'FROM scratch\nRUN nothing\n');
          good(place, { [`image: "${image}"`]: 'dockerfile: ./collector' });
          return undefined;
        },
        says: /docker build \S+collector$/m,
      },
    ])('$what', tried);
  });

  describe('the keys of RPMs', () => {
    it.each<Row>([
      {
        what: 'a key file that is not there',
        exit: 3,
        code: 'KEY_FILE_MISSING',
        at: 'made/keys/god',
        mistake: changed(() => ({ 'keys/good': 'keys/god' })),
      },
      {
        what: 'a key file that is a folder',
        exit: 3,
        code: 'KEY_FILE_MISSING',
        at: 'made/keys',
        mistake: changed(() => ({ 'keys/good': 'keys' })),
      },
      {
        what: 'a key file that holds no key',
        exit: 4,
        code: 'BAD_KEY',
        at: 'good.lock.json',
        mistake: changed(() => ({ 'made/keys/good': 'good.lock.json' })),
      },
      {
        what: 'a key file with another key than the pinned one',
        exit: 4,
        code: 'KEY_MISMATCH',
        at: 'made/keys/other',
        mistake: changed(() => ({ 'keys/good': 'keys/other' })),
      },
      {
        what: 'a key that the image does not have',
        exit: 3,
        code: 'KEY_FILE_MISSING',
        at: '/etc/pki/none',
        mistake: changed(() => ({ 'file: ../made/keys/good': 'image: /etc/pki/none' })),
      },
    ])('$what', tried);
  });

  describe('packages and repositories', () => {
    const packages = (list: string) => changed(() => ({ 'packages: [fine]': `packages: [${list}]` }));
    const from = (url: () => string) => changed(() => ({ [repository.url]: url() }));
    /** The repository with one package in another state; its metadata stays. */
    const served =
      (name: string, change: (file: string) => void) =>
      (place: Place): undefined => {
        const file = below('broken/Packages', `${name}-1-1.noarch.rpm`);
        rmSync(file, { force: true });
        cpSync(below('made/repo/Packages', `${name}-1-1.noarch.rpm`), file);
        change(file);
        good(place, { [repository.url]: broken.url });
      };
    it.each<Row>([
      {
        what: 'a package that no repository has',
        exit: 3,
        code: 'PACKAGE_UNKNOWN',
        mistake: packages('openssl-devl'),
      },
      {
        what: 'the same among good ones',
        exit: 3,
        code: 'PACKAGE_UNKNOWN',
        mistake: packages('fine, openssl-devl'),
      },
      {
        what: 'a dependency that no repository has',
        exit: 6,
        code: 'DEPENDENCY_MISSING',
        mistake: packages('needy'),
      },
      {
        what: 'a repository that is down',
        exit: 6,
        code: 'REPOSITORY_UNREACHABLE',
        mistake: async (place) => {
          const closed = await serveRepository({ dir: below('made/repo') });
          await closed.close();
          good(place, { [repository.url]: closed.url });
          return undefined;
        },
      },
      {
        what: 'a repository address with a mistake (404)',
        exit: 6,
        code: 'REPOSITORY_UNREACHABLE',
        mistake: from(() => `${repository.url}none/`),
      },
      {
        what: 'a repository whose name is not found (DNS)',
        exit: 6,
        code: 'REPOSITORY_UNREACHABLE',
        mistake: from(() => 'http://vault.example.invalid/'),
        // The container's own loopback: no question leaves it.
        options: () => typing({ AIRBUNDLE_ENGINE_ARGS: `--label ${label} --dns 127.0.0.1` }),
      },
      {
        what: 'an RPM that is listed and not served',
        exit: 6,
        code: 'PACKAGE_NOT_SERVED',
        mistake: served('fine', (file) => {
          rmSync(file);
        }),
      },
      {
        what: 'an RPM that is cut off',
        exit: 4,
        code: 'DOWNLOAD_ALTERED',
        mistake: served('fine', (file) => {
          truncateSync(file, 1000);
        }),
      },
      {
        what: 'an RPM with one bit flipped',
        exit: 4,
        code: 'DOWNLOAD_ALTERED',
        mistake: served('fine', (file) => {
          const bytes = readFileSync(file);
          bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 1;
          writeFileSync(file, bytes);
        }),
      },
      {
        what: 'an HTML page for an RPM',
        exit: 4,
        code: 'DOWNLOAD_ALTERED',
        mistake: served('fine', (file) => {
          writeFileSync(file, '<html>Sign in to the proxy</html>\n');
        }),
      },
      {
        what: 'an RPM without a signature (dnf says it itself; yum 3.4.3 lets it through)',
        exit: 4,
        code: 'YUM_KEY_REFUSED',
        mistake: packages('unsigned'),
      },
      {
        what: 'an RPM of a key that is not pinned (dnf says it itself; yum 3.4.3 lets it through)',
        exit: 4,
        code: 'YUM_KEY_REFUSED',
        mistake: packages('foreign'),
      },
    ])('$what', tried);
  });

  describe('an RPM that came past yum', () => {
    /** In the cache, and in the lock in the place of the good one: as if yum had let it through. */
    const letThrough =
      (bytes: () => Buffer) =>
      (place: Place): undefined => {
        good(place);
        const sha256 = createHash('sha256').update(bytes()).digest('hex');
        const file = below('cache/sha256', sha256.slice(0, 2), sha256.slice(2));
        mkdirSync(path.dirname(file), { recursive: true });
        writeFileSync(file, bytes());
        const text = readFileSync(below('good.lock.json'), 'utf8');
        const locked = JSON.parse(text) as { rpms: { sha256: string }[] };
        writeFileSync(place.lock, text.replace(locked.rpms[0]?.sha256 ?? '', sha256));
      };
    const rpm = (name: string) => () => readFileSync(below('made/repo/Packages', `${name}-1-1.noarch.rpm`));
    it.each<Row>([
      {
        what: 'an RPM without a signature',
        exit: 4,
        code: 'RPM_UNSIGNED',
        mistake: letThrough(() => rpm('unsigned')()),
      },
      {
        what: 'an RPM of a key that is not pinned',
        exit: 4,
        code: 'RPM_OTHER_KEY',
        mistake: letThrough(() => rpm('foreign')()),
        masked: [[/\b[0-9a-f]{16}\b/g, 'KEYID']],
      },
      {
        what: 'an RPM that is cut off, in the cache',
        exit: 4,
        code: 'RPM_DAMAGED',
        mistake: letThrough(() => rpm('fine')().subarray(0, -5)),
      },
      {
        what: 'an HTML page in the cache',
        exit: 4,
        code: 'RPM_NOT_RPM',
        mistake: letThrough(() => Buffer.from('<html>\n')),
      },
      {
        what: 'another good RPM than the lock names',
        exit: 4,
        code: 'LOCK_NOT_REPRODUCED',
        mistake: letThrough(() => rpm('needy')()),
        says: /bundle lock \S+it\.yaml --update/,
      },
      {
        what: 'a locked RPM that the repository no longer has',
        exit: 4,
        code: 'LOCK_NOT_REPRODUCED',
        mistake: (place) => {
          good(place);
          const text = readFileSync(below('good.lock.json'), 'utf8');
          const locked = JSON.parse(text) as { rpms: { sha256: string }[] };
          writeFileSync(place.lock, text.replace(locked.rpms[0]?.sha256 ?? '', '0'.repeat(64)));
          return undefined;
        },
        says: /bundle lock \S+it\.yaml --update$/m,
      },
    ])('$what', tried);
  });

  describe('the source', () => {
    const git = (url: string, ref = 'v1.0', commit = '') =>
      without(() => ({
        'git: ../upstream, ref: v1.0': `git: "${url}", ref: ${ref}${commit === '' ? '' : `, commit: ${commit}`}`,
      }));
    it.each<Row>([
      {
        what: 'a git server that is down',
        exit: 6,
        code: 'GIT_UNREACHABLE',
        mistake: git('https://127.0.0.1:9/thing.git'),
      },
      { what: 'a path that is no git repository', exit: 6, code: 'GIT_UNREACHABLE', mistake: git('../made') },
      { what: 'a path that is not there', exit: 6, code: 'GIT_UNREACHABLE', mistake: git('../none') },
      {
        what: 'a tag that is not there',
        exit: 3,
        code: 'NO_SUCH_REF',
        at: 'components: thing',
        mistake: git('../upstream', 'v1.00'),
        says: /it has: v1\.0/,
      },
      {
        what: 'a commit that is shortened',
        exit: 3,
        code: 'NO_SUCH_REF',
        at: 'components: thing',
        mistake: git('../upstream', 'abcdef1'),
        says: /all of its 40 digits/,
      },
      {
        what: 'a commit that is not there',
        exit: 6,
        code: 'GIT_FETCH_FAILED',
        mistake: git('../upstream', 'a'.repeat(40)),
      },
      {
        what: '`commit:` is another than the tag’s',
        exit: 4,
        code: 'REF_MOVED',
        at: '../upstream',
        mistake: git('../upstream', 'v1.0', 'b'.repeat(40)),
      },
      {
        what: 'a tag that has moved since it was locked',
        exit: 4,
        code: 'REF_MOVED',
        at: '../moving',
        mistake: async (place) => {
          const moving = makeRepository(below('moving'));
          moving.commit({ 'a.c': 'int moving;\n' });
          moving.git('tag', 'v1.0');
          good(place, { '../upstream': '../moving', 'packages: [fine]': 'packages: []' });
          const words = ['lock', place.manifest, '--cache', below('cache-elsewhere')];
          const locked = await setting.bundle(words, typing());
          expect(locked.exit, locked.stderr).toBe(0);
          moving.commit({ 'a.c': 'int b;\n' });
          moving.git('tag', '--force', 'v1.0');
          return undefined;
        },
        says: /bundle lock \S+it\.yaml --update thing$/m,
      },
    ])('$what', (row) => tried({ ...row, masked: [...(row.masked ?? []), [setting.folder, 'SETTING']] }));

    it('a machine without git', () => {
      const bin = below('no-git');
      mkdirSync(bin);
      symlinkSync(
        execFileSync('sh', ['-c', 'command -v docker'], { encoding: 'utf8' }).trim(),
        path.join(bin, 'docker'),
      );
      return tried({
        what: 'a machine without git',
        exit: 5,
        code: 'NO_GIT',
        mistake: without(() => ({})),
        options: () => ({ ...typing(), path: bin }),
      });
    });
  });

  describe('the runtime', () => {
    const hash = createHash('sha256').update('node').digest('hex');
    // Another digest too: what the cache has is not fetched.
    const address = (url: () => string) =>
      without(() => ({ [setting.runtime]: url(), [hash]: 'a'.repeat(64) }));
    const npm =
      (integrity: string) =>
      (place: Place): undefined => {
        good(place, { 'packages: [fine]': 'packages: []' });
        const text = readFileSync(place.manifest, 'utf8');
        const runtime = `runtime: { npm: "some-node@1.0.0", integrity: "${integrity}" }\n`;
        writeFileSync(place.manifest, text.replace(/runtime:\n(?: {2}.*\n)+/, runtime));
      };
    const npmSettings = (): Record<string, string> => ({
      npm_config_registry: `http://127.0.0.1:${String((registry.address() as AddressInfo).port)}/`,
      npm_config_fetch_retries: '0',
      npm_config_cache: below('npm-cache'),
      HOME: setting.folder,
    });
    it.each<Row>([
      {
        what: 'a runtime address that nobody serves',
        exit: 6,
        code: 'RUNTIME_UNREACHABLE',
        mistake: address(() => 'http://127.0.0.1:9/node'),
      },
      {
        what: 'a runtime address with a mistake (404)',
        exit: 6,
        code: 'RUNTIME_UNREACHABLE',
        mistake: address(() => `http://127.0.0.1:${String((registry.address() as AddressInfo).port)}/none`),
      },
      {
        what: 'a runtime of another SHA-256',
        exit: 4,
        code: 'WRONG_DIGEST',
        mistake: without(() => ({ [hash]: 'a'.repeat(64) })),
      },
      {
        what: '`path:` in a runtime that is no tarball',
        exit: 3,
        code: 'NO_RUNTIME_FILE',
        mistake: without(() => ({ 'version: "16.20.2"': 'version: "16.20.2"\n  path: bin/node' })),
      },
      {
        what: 'an npm package of another integrity',
        exit: 4,
        code: 'WRONG_INTEGRITY',
        mistake: npm(`sha512-${'A'.repeat(86)}==`),
        options: () => typing(npmSettings()),
        says: /npm view some-node@1\.0\.0 dist\.integrity/,
      },
      {
        what: 'npm’s registry is down',
        exit: 6,
        code: 'NPM_FAILED',
        mistake: npm(`sha512-${'A'.repeat(86)}==`),
        options: () => typing({ ...npmSettings(), npm_config_registry: 'http://127.0.0.1:9/' }),
        says: /npm config list/,
      },
    ])('$what', (row) => tried({ ...row, masked: [[/127\.0\.0\.1:\d{2,}/g, 'ADDRESS']] }));
  });

  it('has these rows in docs/reference/bad-input.md and no other', () => {
    table.complete();
  });
});

/** npm's registry with one package, as `npm pack` asks it. */
async function npmRegistry(folder: string): Promise<Server> {
  mkdirSync(path.join(folder, 'package/bin'), { recursive: true });
  writeFileSync(path.join(folder, 'package/package.json'), '{"name":"some-node","version":"1.0.0"}');
  writeFileSync(path.join(folder, 'package/bin/node'), 'node');
  await createTar({ gzip: true, cwd: folder, file: path.join(folder, 'p.tgz') }, ['package']);
  const archive = readFileSync(path.join(folder, 'p.tgz'));
  const server = createServer((request, response) => {
    const url = `http://${request.headers.host ?? ''}/p.tgz`;
    const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
    const one = { name: 'some-node', version: '1.0.0', dist: { tarball: url, integrity } };
    if (request.url === '/p.tgz') response.end(archive);
    else if (request.url === '/some-node')
      response.end(
        JSON.stringify({ name: 'some-node', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': one } }),
      );
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return server;
}
