import { invalidError, stepError, untrustedError } from '../errors.js';
import type { BundleError, BundleErrorDetails } from '../errors.js';
import { byCodePoint } from '../model/nevra.js';
import { withoutCredentials } from './credentials.js';
import type { YumFacts } from './judge-facts.js';

/**
 * Throws unless yum did what it was asked for. The exit code is one fact among others: FACTS has seven
 * ways to fail with 0. (Whether the files are the right ones, only their headers tell: judge-rpms.ts.)
 * @throws BundleError exit 3: a package that no repository has; exit 4: what arrived was altered; exit 6: other failures
 */
export function judgeYum(facts: YumFacts): void {
  const said = `${facts.stdout}\n${facts.stderr}`;
  const known = REASONS.find((reason) => reason.when(said, facts));
  if (known !== undefined) throw known.error(facts, matches(said, known.names));
  if (facts.exitCode !== 0)
    throw stepError({
      code: 'YUM_FAILED',
      message: `yum ended with exit code ${String(facts.exitCode)}`,
      details: lastWords(facts),
      hint: "yum's words above say why.",
    });

  const leftovers = facts.files.filter((name) => !name.endsWith('.rpm'));
  if (leftovers.length > 0)
    throw stepError({
      code: 'DOWNLOAD_INCOMPLETE',
      message: `yum said that all is well, but left ${String(leftovers.length)} unfinished or unknown file${leftovers.length === 1 ? '' : 's'}`,
      details: [...leftovers].sort(byCodePoint),
      hint: 'Run the command again: it begins with an empty folder.',
    });
  if (facts.files.length === 0)
    throw stepError({
      code: 'NOTHING_DOWNLOADED',
      message: 'yum said that all is well, but downloaded nothing',
      details: lastWords(facts),
      hint: "Are the manifest's repositories served over http? (yum downloads nothing from file://.) Do they hold packages for x86_64?",
    });
}

/** The names that yum did not find; it goes on without them. */
export function unknownPackages(facts: YumFacts): string[] {
  return matches(`${facts.stdout}\n${facts.stderr}`, UNKNOWN).flatMap((list) => list.split(/[\s,]+/));
}

interface Reason {
  readonly when: (said: string, facts: YumFacts) => boolean;
  /** Finds what the message should name; its first group. */
  readonly names?: RegExp;
  readonly error: (facts: YumFacts, names: readonly string[]) => BundleError;
}

const failed = (_: string, facts: YumFacts): boolean => facts.exitCode !== 0;
const saidWith =
  (pattern: RegExp) =>
  (said: string): boolean =>
    pattern.test(said);
const failedWith =
  (pattern: RegExp) =>
  (said: string, facts: YumFacts): boolean =>
    failed(said, facts) && pattern.test(said);

const UNKNOWN =
  /^(?:No package (\S+) available\.?|No match for argument: (\S+)|.*Unable to find a match: (.+))$/gm;

/** In order: the first that fits is the cause, the others follow from it. First yum's words, then dnf's. */
const REASONS: readonly Reason[] = [
  {
    when: (_, facts) => facts.exitCode === 100 && facts.stderr.includes('airbundle: no yum'),
    error: (facts) =>
      problem(stepError, facts, {
        code: 'COLLECTOR_UNFIT',
        message: 'the collector image has no yum',
        hint: 'Give an image with yum and rpm, such as the one from dockerfiles/centos-7.5.',
      }),
  },
  {
    when: failedWith(/\[Errno 28\]|No space left on device|Insufficient space/),
    error: (facts) =>
      problem(stepError, facts, {
        code: 'DISK_FULL',
        message: "the container engine's disk is full",
        hint: 'Make room there: docker system df, docker system prune (podman has the same).',
      }),
  },
  {
    when: failedWith(/\[Errno 30\]|Read-only file system/),
    error: (facts) =>
      problem(stepError, facts, {
        code: 'READ_ONLY',
        message: "the container's file system is read-only",
        hint: "Check the engine's storage, and AIRBUNDLE_ENGINE_ARGS if it is set.",
      }),
  },
  {
    // yum goes on to say that no mirror is left: that follows from it.
    when: failedWith(/\[Errno 12\] Timeout on|Operation too slow|Curl error \(28\)|curl#28\b/),
    names: /Timeout on (https?:\/\/[^\s:]+(?::\d+)?[^\s:]*)|(?:for|on) (https?:\/\/\S+) \[/gm,
    error: (facts, names) =>
      problem(stepError, facts, {
        code: 'STALLED',
        message: `${some(names, 'a repository')} stalled: nothing came, or next to nothing, each time that yum tried`,
        hint: 'Run the command again: what has come whole is kept. If it stays: another mirror, or more patience: AIRBUNDLE_TIMEOUT=480 (seconds)',
      }),
  },
  {
    // A 404 ends in the same words as an altered package; it must come first.
    when: failedWith(
      /\.rpm: \[Errno 14\] HTTP Error 4\d\d|\.rpm: \[Errno 14\] HTTPS? Error 4\d\d|Status code: 4\d\d for \S+\.rpm/,
    ),
    names: /([^/\s]+\.rpm)\S*: \[Errno 14\] HTTPS? Error|Status code: 4\d\d for \S*?([^/\s]+\.rpm)/gm,
    error: (facts, names) =>
      problem(stepError, facts, {
        code: 'PACKAGE_NOT_SERVED',
        message: `the repository lists ${some(names, 'a package')}, but does not serve it`,
        hint: 'The repository is being changed or is a partial mirror: try again later, or use another one.',
      }),
  },
  {
    when: failedWith(
      /Package does not match intended download|checksum doesn't match|Downloading successful, but/,
    ),
    names: /([^/\s]+\.rpm)\S*: \[Errno -1\]|\[([^\s:[\]]+\.rpm)\]: Downloading successful/gm,
    error: (facts, names) =>
      problem(untrustedError, facts, {
        code: 'DOWNLOAD_ALTERED',
        message: `${some(names, 'a package')} did not arrive as its repository describes it: truncated, altered, or replaced`,
        hint: 'Try again; if it stays, look at what stands between: a proxy, a mirror that is out of step.',
      }),
  },
  {
    // Also with exit code 0: yum goes on with the others.
    when: saidWith(new RegExp(UNKNOWN.source, 'm')),
    error: (facts) =>
      problem(invalidError, facts, {
        code: 'PACKAGE_UNKNOWN',
        message: `no repository of the manifest has ${some(unknownPackages(facts), 'a package')}`,
        hint: 'Correct the name under "packages", or add the repository that has it.',
      }),
  },
  {
    when: failedWith(/^Error: Package: |nothing provides .* needed by|^\s*Requires: |conflicting requests/m),
    names: /^\s+Requires: (\S+(?: [<>=]+ \S+)?)|nothing provides (.+?) needed by/gm,
    error: (facts, names) =>
      problem(stepError, facts, {
        code: 'DEPENDENCY_MISSING',
        message: `no repository of the manifest has what the packages require: ${some(names, 'see below')}`,
        hint: 'Add the repository that has it; a -devel package needs the exact version of its library.',
      }),
  },
  {
    when: failedWith(
      /\[Errno 256\] No more mirrors|Cannot find a valid baseurl|Cannot retrieve .*metadata|Failed to download metadata for repo|curl#(?:6|7|28|35|60)\b|Curl error \(/,
    ),
    names:
      /repodata\/repomd\.xml from ([^\s:]+):|Cannot find a valid baseurl for repo: (\S+)|metadata for repo '([^']+)'/gm,
    error: (facts, names) =>
      problem(stepError, facts, {
        code: 'REPOSITORY_UNREACHABLE',
        message: `the container could not read the repository ${some(names, '')}`.trimEnd(),
        hint: `Check its url in the manifest${tryAddress(facts)}, the network of containers (AIRBUNDLE_ENGINE_NETWORK=host uses this machine's) and the proxy (http_proxy).`,
      }),
  },
  {
    when: failedWith(/GPG key|GPG check FAILED|public key/i),
    names: /^Package (\S+\.rpm) is not signed|Public key for (\S+\.rpm) is not installed/gm,
    error: (facts, names) =>
      problem(untrustedError, facts, {
        code: 'YUM_KEY_REFUSED',
        message: `yum refused the key or the signature of ${some(names, 'a package')}`,
        hint: 'Compare the manifest\'s "keys" with those of its repositories; an unsigned package has to be signed first.',
      }),
  },
  {
    when: (_, facts) => facts.exitCode === 137 || facts.exitCode === 143 || facts.exitCode === 139,
    error: (facts) =>
      problem(stepError, facts, {
        code: 'YUM_ENDED',
        message: `yum was ended from outside (exit code ${String(facts.exitCode)})`,
        hint: 'Out of memory? Give the engine more, then run the command again.',
      }),
  },
  {
    // In an empty root nothing is installed yet: with exit code 0 this is a failure too.
    when: saidWith(/^(?:Error: )?Nothing to do\.?$/m),
    error: (facts) =>
      problem(stepError, facts, {
        code: 'NOTHING_DOWNLOADED',
        message: 'yum found nothing to do, so nothing was downloaded',
        hint: "Do the manifest's repositories hold packages for x86_64?",
      }),
  },
];

function problem(
  make: (given: Omit<BundleErrorDetails, 'exit'>) => BundleError,
  facts: YumFacts,
  given: { readonly code: string; readonly message: string; readonly hint: string },
): BundleError {
  return make({ ...given, where: 'yum in the collector container', details: lastWords(facts) });
}

/** What a person can try, where yum has named the address; not one that holds a password. */
function tryAddress(facts: YumFacts): string {
  const address = /https?:\/\/[^\s'"@]{1,1024}?\/repodata\/repomd\.xml/.exec(
    `${facts.stdout}\n${facts.stderr}`,
  )?.[0];
  return address === undefined ? '' : ` (curl -fI ${address})`;
}

function matches(text: string, pattern: RegExp | undefined): string[] {
  if (pattern === undefined) return [];
  const found = [...text.matchAll(pattern)].flatMap((match) =>
    match.slice(1).filter((group) => (group as string | undefined) !== undefined),
  );
  return [...new Set(found.map(decoded).map(withoutCredentials))];
}

/** "libstdc%2b%2b" as dnf writes it in a URL. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function some(names: readonly string[], otherwise: string): string {
  const known = [...new Set(names)].filter((name) => name !== '');
  if (known.length === 0) return otherwise;
  return known.length <= 5
    ? known.join(', ')
    : `${known.slice(0, 5).join(', ')} and ${String(known.length - 5)} more`;
}

/** yum says why on stderr, except when it says it on stdout. */
function lastWords(facts: YumFacts): string[] {
  const last = (text: string, count: number): string[] =>
    text
      .split('\n')
      .map((line) => line.trimEnd())
      .filter((line) => line !== '')
      .slice(-count);
  return [...last(facts.stdout, 8), ...last(facts.stderr, 12)].map(withoutCredentials);
}
