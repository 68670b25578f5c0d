import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withoutCredentials } from '../../src/create/credentials.js';
import { lockManifest } from '../../src/create/create.js';
import type { LockRequest } from '../../src/create/create.js';
import { collectSources } from '../../src/create/sources.js';
import { openStore } from '../../src/create/store.js';
import type { LockedSource } from '../../src/model/lock.js';
import type { Manifest } from '../../src/model/manifest.js';
import { skipUnless } from '../support/skip.js';
import { manifestText } from './create-manifest.js';
import {
  failureOf,
  makeRepository,
  packagerEnv,
  recordingReporter,
  temporaryFolder,
} from './create-support.js';
import type { Recorded, Repository } from './create-support.js';

/* Real remotes of every kind, on this machine's loopback. */

const SSHD = '/usr/sbin/sshd';

let folder = '';
let home = '';
let upstream: Repository;
let reporter: Recorded;
const closers: (() => void | Promise<void>)[] = [];

beforeEach(() => {
  folder = temporaryFolder();
  home = path.join(folder, 'home');
  mkdirSync(home);
  upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({ 'a.c': 'int a;\n' });
  upstream.git('tag', '-a', 'v1.0', '-m', 'annotated');
  reporter = recordingReporter();
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function collect(
  git: string,
  env: Record<string, string> = {},
  trustHttp: readonly string[] = [],
): Promise<LockedSource> {
  const cacheDir = path.join(folder, 'cache');
  const [source] = await collectSources({
    manifest: { components: [{ name: 'thing', source: { git, ref: 'v1.0' } }] } as unknown as Manifest,
    manifestFolder: folder,
    lock: undefined,
    store: await openStore({ directory: cacheDir }),
    cacheDir,
    env: packagerEnv({ HOME: home, AIRBUNDLE_TIMEOUT: '20', ...env }),
    reporter,
    trustHttp,
  });
  return source as LockedSource;
}

/** git's own http-backend, as a web server would run it. */
function smartHttp(authorization?: string): RequestListener {
  return (request, response) => {
    if (authorization !== undefined && request.headers.authorization !== authorization) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return;
    }
    const url = new URL(request.url ?? '', 'http://x');
    const child = spawn('git', ['-c', 'safe.directory=*', 'http-backend'], {
      env: {
        PATH: process.env['PATH'] ?? '',
        GIT_PROJECT_ROOT: folder,
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method ?? '',
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    request.pipe(child.stdin);
    const parts: Buffer[] = [];
    child.stdout.on('data', (bytes: Buffer) => parts.push(bytes));
    child.on('close', () => {
      const answer = Buffer.concat(parts);
      const end = answer.indexOf('\r\n\r\n');
      for (const line of answer.subarray(0, end).toString().split('\r\n')) {
        const [name = '', value = ''] = line.split(': ');
        if (name === 'Status') response.statusCode = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.end(answer.subarray(end + 4));
    });
  };
}

async function listen(server: Server): Promise<number> {
  closers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

async function https(authorization?: string): Promise<{ readonly port: number; readonly ca: string }> {
  const [key, ca] = [path.join(folder, 'tls.key'), path.join(folder, 'ca.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', ca],
    ],
    { stdio: 'pipe' },
  );
  const server = createHttpsServer(
    { key: readFileSync(key), cert: readFileSync(ca) },
    smartHttp(authorization),
  );
  return { port: await listen(server), ca };
}

describe('a source over http', () => {
  it('is not fetched unless its first commit is accepted, also when git is only led there', async () => {
    const git = `http://127.0.0.1:${String(await listen(createHttpServer(smartHttp())))}/upstream`;
    for (const [address, env] of [
      [git, {}],
      [
        'https://git.example/upstream',
        {
          GIT_CONFIG_COUNT: '1',
          GIT_CONFIG_KEY_0: `url.${git}.insteadOf`,
          GIT_CONFIG_VALUE_0: 'https://git.example/upstream',
        },
      ],
    ] as const) {
      const failure = await failureOf(collect(address, env));
      expect([failure.exit, failure.code]).toEqual([6, 'GIT_UNREACHABLE']);
      expect(failure.hint).toContain('--trust-http COMPONENT');
    }
    const source = await collect(git, {}, ['thing']);
    expect(source.commit).toBe(upstream.git('rev-parse', 'v1.0^{commit}'));
  });

  it('is not fetched when an https server redirects to http', async () => {
    const plain = await listen(createHttpServer(smartHttp()));
    const { ca } = await https();
    const redirecting = createHttpsServer(
      { key: readFileSync(path.join(folder, 'tls.key')), cert: readFileSync(ca) },
      (request, response) => {
        response.writeHead(302, { location: `http://127.0.0.1:${String(plain)}${request.url ?? ''}` }).end();
      },
    );
    const git = `https://127.0.0.1:${String(await listen(redirecting))}/upstream`;
    const failure = await failureOf(collect(git, { GIT_SSL_CAINFO: ca }));
    expect([failure.exit, failure.code]).toEqual([6, 'GIT_UNREACHABLE']);
    expect(failure.hint).toContain('--trust-http COMPONENT');
  });
});

describe('--trust-http', () => {
  const request = (manifestPath: string, more: Partial<LockRequest> = {}): LockRequest => ({
    manifestPath,
    cacheDir: path.join(folder, 'cache'),
    reporter,
    env: packagerEnv({ HOME: home }),
    ...more,
  });
  const lock = (manifestPath: string, more: Partial<LockRequest> = {}): ReturnType<typeof lockManifest> =>
    lockManifest(request(manifestPath, more), () =>
      // A stand-in: RPMs need a container engine, and are not what this is about.
      Promise.resolve({ rpms: [], collector: { image: 'none', contextSha256: null }, imageId: 'none' }),
    );
  const write = async (git: string, more: { commit?: string } = {}): Promise<string> => {
    const node = createHttpServer((_, response) => response.end('node'));
    const runtimeUrl = `http://127.0.0.1:${String(await listen(node))}/node`;
    const file = path.join(folder, 'thing.yaml');
    writeFileSync(file, manifestText({ git, runtimeUrl, ...more }));
    return file;
  };

  it.each(['http', 'git'])('is named, with the place, where a %s source has no commit', async (protocol) => {
    const failure = await failureOf(lock(await write(`${protocol}://127.0.0.1:9/upstream`)));
    expect([failure.exit, failure.code]).toEqual([3, 'BAD_MANIFEST']);
    const said = [failure.where, ...failure.details].join('\n');
    expect(said).toMatch(/thing\.yaml:\d+:\d+/);
    expect(`${failure.message}\n${said}`).toContain('--trust-http thing');
  });

  it('takes the first commit, warns, and from then on the lock pins it', async () => {
    const git = `http://127.0.0.1:${String(await listen(createHttpServer(smartHttp())))}/upstream`;
    const file = await write(git);
    await lock(file, { trustHttp: ['thing'] });
    expect(reporter.lines.join('')).toContain(`thing: its commit is taken from ${git} as it comes`);
    const locked = readFileSync(file.replace('.yaml', '.lock.json'), 'utf8');
    expect(locked).toContain(upstream.git('rev-parse', 'v1.0^{commit}'));

    expect((await lock(file)).lockWritten).toBe(false);
    await lock(file, { trustHttp: ['thing'] });
    expect(reporter.lines.join('')).toContain('thing: --trust-http changes nothing');
    expect((await failureOf(lock(file, { update: ['thing'] }))).code).toBe('BAD_MANIFEST');

    upstream.commit({ 'a.c': 'int evil;\n' });
    upstream.git('tag', '-f', 'v1.0');
    const cacheDir = path.join(folder, 'another-cache');
    expect((await failureOf(lock(file, { cacheDir, trustHttp: ['thing'] }))).code).toBe('REF_MOVED');
  });

  it('names a component that is there', async () => {
    const failure = await failureOf(lock(await write('./upstream'), { trustHttp: ['other'] }));
    expect([failure.exit, failure.code]).toEqual([2, 'UNKNOWN_COMPONENT']);
  });
});

describe('a source over https', () => {
  it("takes the packager's CA, and says how where there is none", async () => {
    const { port, ca } = await https();
    const git = `https://127.0.0.1:${String(port)}/upstream`;
    const source = await collect(git, { GIT_SSL_CAINFO: ca });
    expect(source.commit).toBe(upstream.git('rev-parse', 'v1.0^{commit}'));
    const failure = await failureOf(collect(git, { GIT_SSL_CAINFO: '/etc/ssl/certs/ca-certificates.crt' }));
    expect([failure.exit, failure.code]).toEqual([6, 'GIT_UNREACHABLE']);
    expect(failure.hint).toContain('GIT_SSL_CAINFO');
  });

  it('takes a password from a credential helper, and shows it nowhere', async () => {
    const secret = 'pa55word';
    const { port, ca } = await https(`Basic ${Buffer.from(`user:${secret}`).toString('base64')}`);
    const git = `https://127.0.0.1:${String(port)}/upstream`;
    writeFileSync(path.join(home, '.gitconfig'), '[credential]\n\thelper = store\n');
    const refused = await failureOf(collect(git, { GIT_SSL_CAINFO: ca }));
    expect(refused.hint).toContain('credential helper');
    writeFileSync(path.join(home, '.git-credentials'), `https://user:${secret}@127.0.0.1:${String(port)}\n`, {
      mode: 0o600,
    });
    const source = await collect(git, { GIT_SSL_CAINFO: ca });
    expect(JSON.stringify([source, reporter.lines, refused])).not.toContain(secret);
  });

  it('shows no password that the git configuration puts into an address', async () => {
    const env = {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'url.https://user:pa55word@127.0.0.1:9/.insteadOf',
      GIT_CONFIG_VALUE_0: 'https://git.example/',
    };
    const failure = await failureOf(collect('https://git.example/upstream', env));
    expect(failure.code).toBe('GIT_UNREACHABLE');
    expect(JSON.stringify([failure, reporter.lines])).not.toContain('pa55word');
  });
});

describe('credentials in an address', () => {
  it.each([
    ['a source', { git: 'https://user:pa55word@127.0.0.1:9/x.git' }],
    ['a source, as a token', { git: 'https://pa55word@127.0.0.1:9/x.git' }],
    ['a source over ssh', { git: 'ssh://git:pa55word@127.0.0.1:9/x.git' }],
  ])('of %s are refused before anything is fetched or written', async (_, parts) => {
    const file = path.join(folder, 'thing.yaml');
    writeFileSync(file, manifestText(parts));
    const failure = await failureOf(
      lockManifest({
        manifestPath: file,
        cacheDir: path.join(folder, 'cache'),
        reporter,
        env: packagerEnv(),
      }),
    );
    expect([failure.exit, failure.code]).toEqual([3, 'CREDENTIALS_IN_ADDRESS']);
    expect(failure.where).toBe('components: thing: source: git');
    expect(JSON.stringify([failure, reporter.lines])).not.toContain('pa55word');
    expect([
      existsSync(file.replace('.yaml', '.lock.json')),
      existsSync(path.join(folder, 'cache', 'git')),
    ]).toEqual([false, false]);
  });

  it.each([
    ['another mistake of the source', { git: '"https://user:pa55word@127.0.0.1:9/x y.git"' }],
    ['an address of the runtime', { runtimeUrl: 'https://user:pa55word@127.0.0.1:9/node' }],
  ])('are not shown with %s either', async (_, parts) => {
    const file = path.join(folder, 'thing.yaml');
    writeFileSync(file, manifestText(parts));
    const failure = await failureOf(
      lockManifest({
        manifestPath: file,
        cacheDir: path.join(folder, 'cache'),
        reporter,
        env: packagerEnv(),
      }),
    );
    expect(failure.code).toBe('BAD_MANIFEST');
    expect(JSON.stringify(failure)).not.toContain('pa55word');
  });

  it.each([
    ['fatal: https://user:secret@h.example/x: no', 'fatal: https://h.example/x: no'],
    ['https://token@h.example:8443/x', 'https://h.example:8443/x'],
    ['http://u:p@ss@h.example/x', 'http://h.example/x'],
    ['ssh://git@h.example/x', 'ssh://git@h.example/x'],
    ['ssh://git:secret@h.example/x', 'ssh://git@h.example/x'],
    ['git@h.example:x and https://h.example/a@b', 'git@h.example:x and https://h.example/a@b'],
  ])("are taken out of other programs' words: %s", (text, shown) => {
    expect(withoutCredentials(text)).toBe(shown);
  });
});

describe('a source over ssh', () => {
  skipUnless(existsSync(SSHD), 'sshd is not installed: apt-get install openssh-server');
  skipUnless(process.getuid?.() === 0, 'sshd is started as root');

  const keygen = (name: string, passphrase = ''): string => {
    const file = path.join(folder, name);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', name, '-f', file]);
    return file;
  };
  /** An sshd of our own; the packager's ssh configuration names its port, key and known hosts. */
  const start = async (
    given: { readonly command?: string; readonly passphrase?: string } = {},
  ): Promise<number> => {
    const [hostKey, key] = [keygen('host'), keygen('user', given.passphrase)];
    writeFileSync(path.join(folder, 'authorized'), readFileSync(`${key}.pub`));
    chmodSync(folder, 0o755);
    const probe = createTcpServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const lines = [
      `Port ${String(port)}`,
      ...['ListenAddress 127.0.0.1', 'UsePAM no', 'StrictModes no', 'PermitRootLogin yes', 'PidFile none'],
      ...[`HostKey ${hostKey}`, `AuthorizedKeysFile ${path.join(folder, 'authorized')}`],
      ...['PasswordAuthentication no', 'KbdInteractiveAuthentication no'],
      ...(given.command === undefined ? [] : [`ForceCommand ${given.command}`]),
    ];
    writeFileSync(path.join(folder, 'sshd_config'), `${lines.join('\n')}\n`);
    mkdirSync('/run/sshd', { recursive: true });
    const sshd = spawn(SSHD, ['-D', '-e', '-f', path.join(folder, 'sshd_config')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    closers.push(() => {
      sshd.kill();
    });
    await new Promise<void>((resolve, reject) => {
      let said = '';
      sshd.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text;
        if (said.includes('Server listening')) resolve();
      });
      sshd.on('exit', () => {
        reject(new Error(`sshd ended: ${said}`));
      });
    });
    writeFileSync(
      path.join(folder, 'ssh_config'),
      `Host there\n  HostName 127.0.0.1\n  Port ${String(port)}\n  User ${userInfo().username}\n  IdentityFile ${key}\n  IdentitiesOnly yes\n  UserKnownHostsFile ${path.join(folder, 'known')}\n`,
    );
    return port;
  };
  const knowHost = (port: number): void => {
    const [type = '', key = ''] = readFileSync(path.join(folder, 'host.pub'), 'utf8').split(' ');
    writeFileSync(path.join(folder, 'known'), `[127.0.0.1]:${String(port)} ${type} ${key}\n`);
  };
  // ssh reads ~/.ssh from the account, not from HOME: the packager's file comes by git's own configuration.
  const withConfig = (): void => {
    writeFileSync(
      path.join(home, '.gitconfig'),
      `[core]\n\tsshCommand = ssh -F ${path.join(folder, 'ssh_config')}\n`,
    );
  };

  it.each(['ssh://there', 'there:'])(
    "comes with the packager's key and configuration: %s…",
    async (prefix) => {
      knowHost(await start());
      withConfig();
      const source = await collect(
        `${prefix}${upstream.folder}`.replace(/^there/, `${userInfo().username}@there`),
      );
      expect(source.commit).toBe(upstream.git('rev-parse', 'v1.0^{commit}'));
    },
  );

  it('from an unknown host is refused without a question', async () => {
    await start();
    withConfig();
    const failure = await failureOf(collect(`ssh://there${upstream.folder}`));
    expect([failure.exit, failure.code]).toEqual([6, 'GIT_UNREACHABLE']);
    expect(failure.details.join('\n')).toContain('Host key verification failed');
    expect(failure.hint).toContain('compare the fingerprint');
  });

  it('with a key that wants its passphrase is refused without a question', async () => {
    knowHost(await start({ passphrase: 'a passphrase' }));
    withConfig();
    const failure = await failureOf(collect(`ssh://there${upstream.folder}`, { SSH_AUTH_SOCK: '' }));
    expect([failure.exit, failure.code]).toEqual([6, 'GIT_UNREACHABLE']);
    expect(failure.hint).toContain('ssh-add');
  });

  it('takes the key of the agent', async () => {
    knowHost(await start({ passphrase: 'a passphrase' }));
    withConfig();
    const agent = spawn('ssh-agent', ['-D', '-a', path.join(folder, 'agent')], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    closers.push(() => {
      agent.kill();
    });
    await new Promise((resolve) => agent.stdout.once('data', resolve));
    writeFileSync(path.join(folder, 'askpass'), '#!/bin/sh\necho a passphrase\n', { mode: 0o755 });
    const env = packagerEnv({
      SSH_AUTH_SOCK: path.join(folder, 'agent'),
      SSH_ASKPASS: path.join(folder, 'askpass'),
      SSH_ASKPASS_REQUIRE: 'force',
    });
    execFileSync('ssh-add', [path.join(folder, 'user')], { env, stdio: 'pipe' });
    const source = await collect(`ssh://there${upstream.folder}`, {
      SSH_AUTH_SOCK: path.join(folder, 'agent'),
    });
    expect(source.url).toBe(`ssh://there${upstream.folder}`);
  });

  it('is given up when the server lives and sends nothing; no ssh is left', async () => {
    const port = await start({ command: 'sleep 600' });
    knowHost(port);
    withConfig();
    const failure = await failureOf(collect(`ssh://there${upstream.folder}`, { AIRBUNDLE_TIMEOUT: '2' }));
    expect([failure.exit, failure.code]).toEqual([6, 'STALLED']);
    expect(failure.message).toContain(`ssh://there${upstream.folder}`);
    const left = execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' });
    expect(left).not.toContain(path.join(folder, 'ssh_config'));
  });

  it("leaves another program than OpenSSH's as it is", async () => {
    const told = path.join(folder, 'told');
    writeFileSync(path.join(folder, 'plink'), `#!/bin/sh\necho "$@" >>${told}\nexit 1\n`, { mode: 0o755 });
    await failureOf(collect('ssh://there/x', { GIT_SSH_COMMAND: path.join(folder, 'plink') }));
    expect(readFileSync(told, 'utf8')).not.toContain('BatchMode');
  });
});
