import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { refusedError, stepError, untrustedError } from '../errors.js';
import type { Argv, RunOptions, RunResult, Streaming } from '../host/process.js';
import { lastLines, outcome, run, stream } from '../host/process.js';
import { GitObject } from '../model/grammar.js';
import { withoutCredentials } from './credentials.js';
import {
  folderBytes,
  LEAST_BYTES_PER_SECOND,
  stalledError,
  timeoutSecondsOf,
  whileMoving,
} from './timeout.js';

/*
 * git, in two roles with two environments.
 *
 * Reaching a remote takes the packager's own configuration: proxy, certificates, credentials, ssh agent.
 * It cannot change the bytes, because what arrives is checked by content (git fsck) and by commit.
 *
 * Everything else is done without it, in a bare repository that holds one commit and no refs: then the
 * exported bytes depend on the commit alone, not on the depth of a clone, on its branches and tags
 * (export-subst's %d, %P, describe), or on anyone's configuration.
 */

type Env = Readonly<Record<string, string>>;

export interface GitContext {
  readonly env: Env;
  readonly signal?: AbortSignal;
  /** The manifest or the lock pins the commit, or the packager accepts what comes: plain http and git:// may be used. */
  readonly plainAccepted?: boolean;
  readonly onNote?: (text: string) => void;
}

/** A ref of a remote, and the object that it names (a tag object for an annotated tag). */
export interface RemoteRef {
  readonly name: string;
  readonly object: string;
}

/**
 * The packager's environment, without what would point git at another repository. Nothing is asked: there
 * is nobody to answer.
 */
export function transportEnv(env: Env, plainAccepted = false): Env {
  const mine =
    /^GIT_(?:SSH|SSH_COMMAND|SSH_VARIANT|SSL_.*|PROXY_.*|HTTP_.*|ASKPASS|CONFIG_.*|CURL_.*|TRACE.*)$/;
  const kept = Object.entries(env).filter(([name]) => !name.startsWith('GIT_') || mine.test(name));
  return {
    GIT_HTTP_LOW_SPEED_LIMIT: String(LEAST_BYTES_PER_SECOND),
    GIT_HTTP_LOW_SPEED_TIME: String(timeoutSecondsOf(env)),
    ...Object.fromEntries(kept),
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    // Also for a redirect, and for what the packager's own configuration puts in an address's place.
    GIT_ALLOW_PROTOCOL: plainAccepted ? 'https:ssh:file:http:git' : 'https:ssh:file',
  };
}

/** No one's configuration, attributes, replacements, locale or time zone. */
export function isolatedEnv(env: Env): Env {
  return {
    PATH: env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: '/nonexistent',
    LC_ALL: 'C',
    TZ: 'UTC',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_TERMINAL_PROMPT: '0',
  };
}

/** Also when a remote is reached: a hook of the packager's (reference-transaction) could refuse what is fetched. */
const UNDISTURBED = ['-c', 'core.hooksPath=/dev/null', '-c', 'gc.auto=0'] as const;

const ISOLATED = ['-c', 'core.attributesFile=/dev/null', ...UNDISTURBED] as const;

/** The one name in a scratch repository; removed before the export. */
const WANTED = 'refs/airbundle/wanted';

/** Branches and tags of a remote. @throws BundleError exit 6 when it cannot be reached, or stalls */
export async function listRemote(url: string, context: GitContext): Promise<RemoteRef[]> {
  const result = await reach(url, ['ls-remote', '--heads', '--tags', '--', url], context);
  refuseOthers(url, result);
  if (result.exitCode !== 0)
    throw stepError({
      code: 'GIT_UNREACHABLE',
      message: `git cannot read ${url}: it ${outcome(result)}`,
      details: saidByGit(result),
      hint: hintFor(result, `Check the address and the network, for example: git ls-remote ${url}`),
    });
  return result.stdout.split('\n').flatMap((line) => {
    const [object, name] = line.split('\t');
    return object === undefined || name === undefined ? [] : [{ object, name }];
  });
}

/**
 * Puts one commit of `url` into the new bare repository `scratch`: alone, where the remote can do that;
 * otherwise (dumb http, a commit id that the server does not hand out) by way of a full mirror in the cache.
 * @param wanted a full ref name, or a commit id
 * @param object what `wanted` named when the remote was listed
 */
export async function fetchOne(
  url: string,
  wanted: string,
  object: string,
  scratch: string,
  mirrors: string,
  context: GitContext & { readonly onFull: () => void },
): Promise<void> {
  await mustRun(['init', '--quiet', '--bare', '--template=', '--', scratch], context);
  const alone = await reach(url, shallowFetch(scratch, url, wanted), context, scratch);
  if (alone.exitCode === 0) return;
  refuseOthers(url, alone);
  context.signal?.throwIfAborted();

  const mirror = path.join(mirrors, `${createHash('sha256').update(url).digest('hex').slice(0, 24)}.git`);
  await mustRun(['init', '--quiet', '--bare', '--template=', '--', mirror], context);
  await mustRun(['--git-dir', mirror, 'config', 'uploadpack.allowAnySHA1InWant', 'true'], context);
  const transplant = (): Promise<RunResult> =>
    git(shallowFetch(scratch, mirror, object), isolatedEnv(context.env), context);
  if ((await transplant()).exitCode === 0) return;

  context.onFull();
  const full = await reach(
    url,
    [
      '--git-dir',
      mirror,
      ...UNDISTURBED,
      'fetch',
      '--progress',
      '--no-tags',
      '--',
      url,
      '+refs/heads/*:refs/heads/*',
      '+refs/tags/*:refs/tags/*',
    ],
    context,
    mirror,
  );
  // A failure may be another process that fetches into the same mirror: what counts is that the commit is there.
  if ((await transplant()).exitCode === 0) return;
  const failed = full.exitCode === 0 ? alone : full;
  throw stepError({
    code: 'GIT_FETCH_FAILED',
    message: `git cannot fetch ${wanted} from ${url}: it ${outcome(failed)}`,
    details: saidByGit(failed),
    hint: hintFor(
      failed,
      /^[0-9a-f]{40}$/.test(wanted)
        ? 'The commit must be part of a branch or tag of that repository.'
        : 'Run the command again; if it stays, try: git clone with the same address.',
    ),
  });
}

/** A commit that was fetched, by content: checked as a whole by `git fsck --strict`. */
export interface FetchedCommit {
  readonly commit: GitObject;
  readonly tree: GitObject;
  /** Paths of submodules: `git archive` leaves them empty. */
  readonly submodules: readonly string[];
  /** Paths of files whose content git LFS keeps elsewhere: `git archive` has only what points there. */
  readonly pointers: readonly string[];
}

/** The first line of every pointer, and more bytes than one may have (git-lfs, docs/spec.md). */
const LFS_VERSION = 'version https://git-lfs.github.com/spec/v1';
const LFS_POINTER_BYTES = 1024;

/**
 * Checks everything in `scratch`, which is the one commit: fsck looks at no older history, whose known
 * old mistakes (many upstreams have some) could not be mended any more and are not part of the bundle.
 * @throws BundleError exit 4
 */
export async function inspectFetched(
  scratch: string,
  url: string,
  context: GitContext,
): Promise<FetchedCommit> {
  const fsck = await git(
    ['--git-dir', scratch, 'fsck', '--strict', '--no-dangling', '--no-progress'],
    isolatedEnv(context.env),
    context,
  );
  if (fsck.exitCode !== 0)
    throw untrustedError({
      code: 'GIT_FSCK',
      message: `git fsck --strict found mistakes in what ${url} sent`,
      details: lastLines(fsck, 8),
      hint: 'Run the command again. If it stays, the repository is damaged: choose another origin or another ref.',
    });
  const text = async (...args: readonly string[]): Promise<string> =>
    (await mustRun(['--git-dir', scratch, ...args], context)).stdout;
  const commit = (await text('rev-parse', '--verify', `${WANTED}^{commit}`)).trim();
  const tree = (await text('rev-parse', '--verify', `${WANTED}^{tree}`)).trim();
  const entries = (await text('ls-tree', '-r', '-z', '-l', '--full-tree', commit)).split('\0');
  const submodules = entries
    .filter((entry) => entry.startsWith('160000 '))
    .map((entry) => entry.slice(entry.indexOf('\t') + 1));
  return {
    commit: GitObject.parse(commit),
    tree: GitObject.parse(tree),
    submodules,
    pointers: await lfsPointers(scratch, commit, entries, context),
  };
}

/** @param entries of `ls-tree -l`: MODE TYPE OBJECT SIZE, a tab, the path */
async function lfsPointers(
  scratch: string,
  commit: string,
  entries: readonly string[],
  context: GitContext,
): Promise<string[]> {
  // What LFS keeps is named in one of these.
  if (!entries.some((entry) => /[\t/]\.gitattributes$/.test(entry))) return [];
  const named = await git(
    ['--git-dir', scratch, ...ISOLATED, 'grep', '-z', '-l', '-a', '-F', '-e', LFS_VERSION, commit, '--'],
    isolatedEnv(context.env),
    context,
  );
  // 1: in no file.
  if (named.exitCode !== 0) return [];
  const holding = new Set(named.stdout.split('\0').map((name) => name.slice(commit.length + 1)));
  const found: string[] = [];
  for (const entry of entries) {
    const at = entry.indexOf('\t');
    const [mode = '', , object = '', size = ''] = entry.slice(0, at).split(/ +/);
    const file = entry.slice(at + 1);
    if (!mode.startsWith('100') || Number(size) >= LFS_POINTER_BYTES || !holding.has(file)) continue;
    const content = await mustRun(['--git-dir', scratch, 'cat-file', 'blob', object], context);
    if (content.stdout.startsWith(LFS_VERSION)) found.push(file);
  }
  return found;
}

/**
 * The commit's files as a tar below `PREFIX/`. Takes away the repository's refs and shallow mark first,
 * and abbreviates no object name: see the top of this file.
 */
export async function exportCommit(
  scratch: string,
  commit: GitObject,
  prefix: string,
  context: GitContext,
): Promise<Streaming> {
  await mustRun(['--git-dir', scratch, 'update-ref', '-d', WANTED], context);
  await rm(path.join(scratch, 'shallow'), { force: true });
  const argv: Argv = [
    'git',
    '--git-dir',
    scratch,
    ...ISOLATED,
    '-c',
    'core.abbrev=40',
    '-c',
    'core.autocrlf=false',
    '-c',
    'core.eol=lf',
    '-c',
    'tar.umask=0022',
    // %G? of a signed commit would say whether this host has the signer's key.
    '-c',
    'gpg.program=false',
    '-c',
    'gpg.ssh.program=false',
    '-c',
    'gpg.x509.program=false',
    'archive',
    '--format=tar',
    `--prefix=${prefix}/`,
    commit,
  ];
  return stream(argv, isolatedEnv(context.env));
}

/**
 * git reads no repository on this machine that belongs to another user (safe.directory, CVE-2022-24765).
 * Only the packager's own configuration can allow it, so the words to type are git's own.
 * @throws BundleError exit 5
 */
function refuseOthers(url: string, { exitCode, stderr }: RunResult): void {
  if (exitCode === 0 || !stderr.includes('dubious ownership')) return;
  const allow = /^\s*(git config --global --add safe\.directory .+)$/m.exec(stderr)?.[1];
  throw refusedError({
    code: 'GIT_OWNER',
    message: `git reads no repository of another user: ${url}`,
    hint: `If you trust whoever can write there: ${allow ?? 'git config --global --add safe.directory FOLDER'}`,
  });
}

function shallowFetch(scratch: string, from: string, wanted: string): string[] {
  return [
    '--git-dir',
    scratch,
    ...UNDISTURBED,
    'fetch',
    '--progress',
    '--depth=1',
    '--no-tags',
    '--',
    from,
    `+${wanted}:${WANTED}`,
  ];
}

/**
 * A command that talks to a remote, ended when nothing comes any more. What it starts (ssh, index-pack) ends
 * with it.
 * @param repository where what comes is written to; undefined when it only lists
 * @throws BundleError exit 6, STALLED
 */
async function reach(
  url: string,
  args: readonly string[],
  context: GitContext,
  repository?: string,
): Promise<RunResult> {
  const seconds = timeoutSecondsOf(context.env);
  const env = await withSsh(transportEnv(context.env, context.plainAccepted), seconds, context);
  const stepsSeen = new Set<string>();
  const moved = async (): Promise<number> =>
    stepsSeen.size * LEAST_BYTES_PER_SECOND * seconds +
    (repository === undefined ? 0 : await folderBytes(path.join(repository, 'objects')));
  const onLine = (line: string): void => {
    // What arrives is counted on the disk: a line about each single byte is no proof that it moves.
    if (!/^[0-9a-f]{40}\t|Receiving objects|Unpacking objects/.test(line)) stepsSeen.add(line);
    if (repository !== undefined && line.trim() !== '')
      context.onNote?.(withoutCredentials(line.trim()).slice(0, 100));
  };
  const given = { seconds, moved, ...(context.signal === undefined ? {} : { signal: context.signal }) };
  const { result, stalled } = await whileMoving(given, async (signal, isStalled) => ({
    result: await git(args, env, context, { signal, onLine, detached: true }),
    stalled: isStalled(),
  }));
  if (!stalled && !/Operation too slow|timed out|Timeout, server \S+ not responding/.test(result.stderr))
    return result;
  throw stalledError({
    what: url,
    seconds,
    where: `git ${args.find((arg) => /^[a-z][a-z-]*$/.test(arg)) ?? ''}`,
    details: saidByGit(result),
  });
}

/**
 * ssh as the packager has configured it, asking nothing and noticing a connection that is lost. Another
 * program than OpenSSH's (plink) is left as it is.
 */
async function withSsh(env: Env, seconds: number, context: GitContext): Promise<Env> {
  if (env['GIT_SSH'] !== undefined && env['GIT_SSH_COMMAND'] === undefined) return env;
  const configured =
    env['GIT_SSH_COMMAND'] ?? (await git(['config', '--get', 'core.sshCommand'], env, context)).stdout.trim();
  const command = configured === '' ? 'ssh' : configured;
  if (!/^(?:\S*\/)?ssh(?:\s|$)/.test(command)) return env;
  const options = [
    'BatchMode=yes',
    `ConnectTimeout=${String(seconds)}`,
    `ServerAliveInterval=${String(Math.ceil(seconds / 4))}`,
    'ServerAliveCountMax=4',
  ];
  return { ...env, GIT_SSH_COMMAND: [command, ...options.map((option) => `-o ${option}`)].join(' ') };
}

/** The last lines without progress and without what is secret. */
function saidByGit(result: RunResult): string[] {
  const progress =
    /^(?:remote: )?(?:Enumerating|Counting|Compressing|Receiving|Resolving|Unpacking|Total|Updating) /;
  return `${result.stdout}\n${result.stderr}`
    .split(/[\r\n]+/)
    .filter((line) => line.trim() !== '' && !progress.test(line))
    .slice(-8)
    .map(withoutCredentials);
}

function hintFor(result: RunResult, otherwise: string): string {
  if (result.stderr.includes('Host key verification failed'))
    return 'ssh does not know this host, or knows it with another key. Connect once by hand (ssh -T HOST), compare the fingerprint with one that you were told by another way, then run the command again.';
  if (result.stderr.includes('Permission denied ('))
    return 'ssh asks nothing here: put the key into an agent (ssh-add FILE), or name one without a passphrase in ~/.ssh/config. Try: ssh -T HOST';
  if (
    /could not read (?:Username|Password)|terminal prompts disabled|Authentication failed/.test(result.stderr)
  )
    return 'git asks nothing here: set up a credential helper (git config --global credential.helper store), then try: git ls-remote ADDRESS';
  if (/certificate|SSL|TLS/i.test(result.stderr))
    return "Is the server's certificate signed by a CA of your own? Name its file: GIT_SSL_CAINFO=ca.pem, or git config http.sslCAInfo";
  if (
    /transport '(?:http|git)' not allowed|Protocol "?http"? (?:not supported or )?disabled/.test(
      result.stderr,
    )
  )
    return 'The server, or your git configuration, leads to a plain connection, which proves nothing about what arrives: pin "commit:", or accept what comes the first time: --trust-http COMPONENT';
  return otherwise;
}

/** A command on our own repositories; its failure is a broken git or disk. */
async function mustRun(args: readonly string[], context: GitContext): Promise<RunResult> {
  const result = await git([...ISOLATED, ...args], isolatedEnv(context.env), context);
  if (result.exitCode === 0) return result;
  throw stepError({
    code: 'GIT_FAILED',
    message: `git ${args.find((arg) => /^[a-z][a-z-]*$/.test(arg)) ?? ''} ${outcome(result)}`,
    where: `git ${args.join(' ')}`,
    details: lastLines(result, 8),
    hint: 'Check the disk and the git program, then run the command again.',
  });
}

async function git(
  args: readonly string[],
  env: Env,
  context: Pick<GitContext, 'signal'>,
  options: Pick<RunOptions, 'signal' | 'onLine' | 'detached'> = {},
): Promise<RunResult> {
  context.signal?.throwIfAborted();
  const result = await run(['git', ...args], {
    env,
    ...(context.signal === undefined ? {} : { signal: context.signal }),
    ...options,
  });
  context.signal?.throwIfAborted();
  if (result.startError === 'ENOENT')
    throw refusedError({
      code: 'NO_GIT',
      message: 'git is not on the PATH; it fetches the sources',
      hint: 'Install it (apt-get install git, yum install git, brew install git), then run the command again.',
    });
  return result;
}
