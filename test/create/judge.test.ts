import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  judgeClosure,
  judgeRequested,
  judgeRpms,
  judgeYum,
  unknownPackages,
} from '../../src/create/judge.js';
import type { RpmFacts, YumFacts } from '../../src/create/judge.js';
import { BundleError } from '../../src/errors.js';
import { Sha256 } from '../../src/model/grammar.js';

const FIXTURES = new URL('../fixtures/yum/', import.meta.url);

describe('judgeYum, over stand-ins for yum 3.4.3', () => {
  const cases: Record<string, { code: string; exit: number; names?: string[] } | undefined> = {
    good: undefined,
    'good-missing-key-warning': undefined,
    'file-repository': { code: 'NOTHING_DOWNLOADED', exit: 6 },
    'unknown-alone': { code: 'PACKAGE_UNKNOWN', exit: 3, names: ['zipp'] },
    'unknown-of-two': { code: 'PACKAGE_UNKNOWN', exit: 3, names: ['zipp'] },
    'unknown-not-tolerated': { code: 'PACKAGE_UNKNOWN', exit: 3, names: ['zipp'] },
    'installed-and-unknown': { code: 'PACKAGE_UNKNOWN', exit: 3, names: ['zipp'] },
    'all-installed': { code: 'NOTHING_DOWNLOADED', exit: 6 },
    'missing-dependency': {
      code: 'DEPENDENCY_MISSING',
      exit: 6,
      names: ['openssl-libs(x86-64) = 1:1.0.2k-12.el7'],
    },
    'repository-down': { code: 'REPOSITORY_UNREACHABLE', exit: 6, names: ['os'] },
    'dns-failure': { code: 'REPOSITORY_UNREACHABLE', exit: 6, names: ['os'] },
    'mirrorlist-dns-failure': { code: 'REPOSITORY_UNREACHABLE', exit: 6, names: ['base/7/x86_64'] },
    'package-altered': { code: 'DOWNLOAD_ALTERED', exit: 4, names: ['zip-3.0-11.el7.x86_64.rpm'] },
    'package-not-served': { code: 'PACKAGE_NOT_SERVED', exit: 6, names: ['zip-3.0-11.el7.x86_64.rpm'] },
    'killed-leftover': { code: 'DOWNLOAD_INCOMPLETE', exit: 6 },
    'server-stalls': {
      code: 'STALLED',
      exit: 6,
      names: ['http://vault.example/7.5.1804/os/x86_64/Packages/zip-3.0-11.el7.x86_64.rpm'],
    },
    'disk-full': { code: 'DISK_FULL', exit: 6 },
    'read-only': { code: 'READ_ONLY', exit: 6 },
    killed: { code: 'YUM_ENDED', exit: 6 },
    'other-failure': { code: 'YUM_FAILED', exit: 6 },
  };

  it('has a verdict for every stand-in', () => {
    const names = readdirSync(FIXTURES)
      .filter((name) => name.endsWith('.txt'))
      .map((name) => name.slice(0, -4));
    expect(names.sort()).toEqual(Object.keys(cases).sort());
  });

  for (const [name, verdict] of Object.entries(cases))
    it(`${name}: ${verdict?.code ?? 'accepted'}`, () => {
      const facts = standIn(name);
      if (verdict === undefined) {
        judgeYum(facts);
        return;
      }
      const error = thrown(() => {
        judgeYum(facts);
      });
      expect(error).toMatchObject({ code: verdict.code, exit: verdict.exit });
      expect(error.hint).not.toBe('');
      for (const part of verdict.names ?? []) expect(error.message).toContain(part);
    });

  it("shows yum's own last words, of both streams", () => {
    const error = thrown(() => {
      judgeYum(standIn('package-altered'));
    });
    expect(error.details.join('\n')).toMatch(/does not match intended download[^]*No more mirrors to try/);
  });

  it("names all unknown packages, in yum's and in dnf's words", () => {
    const facts = {
      exitCode: 1,
      files: [],
      stdout: 'No package a available.\nNo match for argument: b\n',
      stderr: 'Error: Unable to find a match: b c',
    };
    expect([...new Set(unknownPackages(facts))]).toEqual(['a', 'b', 'c']);
  });
});

describe('judgeRpms', () => {
  const centos = { fingerprint: '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5', keyId: '24c6a8a7f4a80eb5' };

  it('accepts an RPM that rpm 4.11 finds signed over header and payload', () => {
    expect(judgeRpms([rpm()], [centos])).toEqual([
      {
        nevra: { name: 'zip', epoch: 0, version: '3.0', release: '11.el7', arch: 'x86_64' },
        sha256: rpm().sha256,
        signer: centos.fingerprint,
        licence: 'BSD',
        summary: 'A file compression utility',
        sourceRpm: 'zip-3.0-11.el7.src.rpm',
        provides: ['zip', 'zip(x86-64)'],
      },
    ]);
  });

  it("accepts a signed header that holds the payload's digest (rpm 4.14 and later)", () => {
    const check = [
      'Header V4 RSA/SHA256 Signature, key ID f4a80eb5: OK',
      'Header SHA256 digest: OK',
      'Payload SHA256 digest: OK',
    ];
    expect(judgeRpms([rpm({ check: checked(check), header: { SIGPGP: '(none)' } })], [centos])).toHaveLength(
      1,
    );
  });

  it('refuses an unsigned RPM, for which rpm -K exits 0', () => {
    const none = { RSAHEADER: '(none)', SIGPGP: '(none)' };
    expect(
      refused(rpm({ check: checked(['Header SHA1 digest: OK', 'MD5 digest: OK']), header: none })),
    ).toMatchObject({ code: 'RPM_UNSIGNED', exit: 4 });
  });

  it('refuses a header signature when only an MD5 stands for the payload', () => {
    const check = checked([
      'Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
      'Header SHA1 digest: OK',
      'MD5 digest: OK',
    ]);
    expect(refused(rpm({ check }))).toMatchObject({ code: 'RPM_SIGNATURE_PARTIAL', exit: 4 });
  });

  it('refuses another key, and names it', () => {
    const pgpsig = 'RSA/SHA256, Sat Sep  4 17:49:16 2021, Key ID 6a2faea2352c64e5';
    const error = refused(
      rpm({
        check: checked([
          'Header V4 RSA/SHA256 Signature, key ID 352c64e5: NOKEY',
          'Header SHA1 digest: OK',
          'V4 RSA/SHA256 Signature, key ID 352c64e5: NOKEY',
          'MD5 digest: OK',
        ]),
        checkExitCode: 1,
        header: { RSAHEADER: pgpsig, SIGPGP: pgpsig },
      }),
    );
    expect(error).toMatchObject({ code: 'RPM_OTHER_KEY', exit: 4 });
    expect(error.message).toContain('6a2faea2352c64e5');
  });

  it('refuses a second signature by another key beside a good one', () => {
    const other = 'RSA/SHA256, Sat Sep  4 17:49:16 2021, Key ID 6a2faea2352c64e5';
    expect(refused(rpm({ header: { SIGPGP: other } }))).toMatchObject({ code: 'RPM_OTHER_KEY' });
  });

  it('refuses what rpm calls OK when the key is not a pinned one', () => {
    const error = thrown(() => {
      judgeRpms([rpm()], [{ fingerprint: 'A'.repeat(40), keyId: 'a'.repeat(16) }]);
    });
    expect(error).toMatchObject({ code: 'RPM_OTHER_KEY', exit: 4 });
  });

  it.each([
    [
      'a bad digest',
      [
        'Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'V3 RSA/SHA256 Signature, key ID f4a80eb5: BAD',
        'MD5 digest: BAD Expected(1 != 2)',
      ],
    ],
    [
      'a missing digest',
      [
        'Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'DSA signature: NOTFOUND',
      ],
    ],
    [
      'words of no known form',
      [
        'Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'something new',
      ],
    ],
  ])('refuses %s', (_, lines) => {
    expect(refused(rpm({ check: checked(lines) }))).toMatchObject({ code: 'RPM_DAMAGED', exit: 4 });
  });

  it('refuses a good-looking check with a bad exit code', () => {
    expect(refused(rpm({ checkExitCode: 1 }))).toMatchObject({ code: 'RPM_DAMAGED', exit: 4 });
  });

  it('refuses an HTML page and an empty file', () => {
    const page = refused(rpm({ magic: '3c68746d', header: 'none', check: 'x.rpm:' }));
    expect(page).toMatchObject({ code: 'RPM_NOT_RPM', exit: 4 });
    expect(page.message).toContain('"<htm"');
    expect(refused(rpm({ magic: '', header: 'none' }))).toMatchObject({ code: 'RPM_NOT_RPM' });
  });

  it("refuses what is not what the store's name says", () => {
    expect(refused(rpm({ computedSha256: 'f'.repeat(64) }))).toMatchObject({
      code: 'STORE_DAMAGED',
      exit: 4,
    });
  });

  it('refuses a summary that smuggles in header lines', () => {
    const summary = 'x\nSOURCERPM=a.src.rpm\nRSAHEADER=y, Key ID 24c6a8a7f4a80eb5';
    expect(refused(rpm({ header: { SUMMARY: summary } })).exit).toBe(4);
  });

  it('refuses i686, source packages and names that are none', () => {
    expect(refused(rpm({ header: { ARCH: 'i686' } }))).toMatchObject({ code: 'RPM_ARCH', exit: 5 });
    expect(refused(rpm({ header: { SOURCERPM: '(none)' } }))).toMatchObject({ code: 'RPM_SOURCE', exit: 5 });
    expect(refused(rpm({ header: { NAME: '../../etc/x' } }))).toMatchObject({
      code: 'RPM_BAD_HEADER',
      exit: 4,
    });
    expect(refused(rpm({ header: { EPOCH: 'x' } }))).toMatchObject({ code: 'RPM_BAD_HEADER', exit: 4 });
  });

  it('refuses two versions of one name', () => {
    const newer = rpm({ sha256: 'b', header: { VERSION: '3.1' } });
    const error = refused(rpm(), newer);
    expect(error).toMatchObject({ code: 'RPM_TWO_VERSIONS', exit: 5 });
    expect(error.message).toContain('zip-3.0-11.el7.x86_64, zip-3.1-11.el7.x86_64');
  });

  it('names all refused RPMs in one error, and trust comes before the set', () => {
    const error = refused(
      rpm({ name: 'one.rpm', header: { ARCH: 'i686' } }),
      rpm({ name: 'two.rpm', magic: '3c68746d' }),
    );
    expect(error).toMatchObject({ code: 'RPMS_REFUSED', exit: 4 });
    expect(error.details).toEqual(['one.rpm is for i686', 'two.rpm is not an RPM (it begins with "<htm")']);
  });

  const refused = (...facts: RpmFacts[]): BundleError =>
    thrown(() => {
      judgeRpms(facts, [centos]);
    });
});

describe('judgeRequested', () => {
  const set = [
    {
      nevra: { name: 'pcre-devel', epoch: 0, version: '8.32', release: '17.el7', arch: 'x86_64' },
      sha256: Sha256.parse('a'.repeat(64)),
      signer: '',
      licence: '',
      summary: '',
      sourceRpm: '',
      provides: ['pkgconfig(libpcre)'],
    },
  ];

  it('is satisfied by a name or by what a package provides', () => {
    judgeRequested(set, ['pcre-devel', 'pkgconfig(libpcre)']);
  });

  it('names what yum left out', () => {
    expect(
      thrown(() => {
        judgeRequested(set, ['pcre-devel', 'zip']);
      }),
    ).toMatchObject({ code: 'PACKAGE_MISSING', exit: 6 });
  });
});

describe('judgeClosure', () => {
  it("accepts rpm's silence and its warnings", () => {
    judgeClosure({ exitCode: 0, output: '' });
    judgeClosure({
      exitCode: 0,
      output: 'warning: x.rpm: Header V3 RSA/SHA256 Signature, key ID f4a80eb5: NOKEY\n',
    });
  });

  it('refuses failed dependencies, whatever the exit code (it wraps at 256 failures), and a test that was not made', () => {
    const output = 'error: Failed dependencies:\n\tlibc.so.6()(64bit) is needed by zip-3.0-11.el7.x86_64\n';
    for (const facts of [{ exitCode: 1, output }, { exitCode: 0, output }, undefined])
      expect(
        thrown(() => {
          judgeClosure(facts);
        }),
      ).toMatchObject({ code: 'CLOSURE_BROKEN', exit: 6 });
    expect(
      thrown(() => {
        judgeClosure({ exitCode: 1, output });
      }).details.join(),
    ).toContain('libc.so.6');
  });
});

function standIn(name: string): YumFacts {
  const text = readFileSync(new URL(`${name}.txt`, FIXTURES), 'utf8');
  const [, exitCode, stdout = '', stderr = '', files = ''] =
    /^exit code (\d+)\n--- stdout\n([^]*?)\n?--- stderr\n([^]*?)\n?--- files\n([^]*)$/.exec(text) ?? [];
  return {
    exitCode: Number(exitCode),
    stdout,
    stderr,
    files: files.split('\n').filter((line) => line !== ''),
  };
}

function thrown(work: () => void): BundleError {
  try {
    work();
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const checked = (lines: readonly string[]): string =>
  ['/airbundle/rpms/x.rpm:', ...lines.map((line) => `    ${line}`), ''].join('\n');

/** zip-3.0-11.el7 as rpm 4.11 sees it. */
function rpm(
  given: {
    name?: string;
    sha256?: string;
    computedSha256?: string;
    magic?: string;
    checkExitCode?: number;
    check?: string;
    header?: Record<string, string> | 'none';
  } = {},
): RpmFacts {
  const pgpsig = 'RSA/SHA256, Sun Nov 20 21:04:58 2016, Key ID 24c6a8a7f4a80eb5';
  const tags: Record<string, string> = {
    NAME: 'zip',
    EPOCH: '0',
    VERSION: '3.0',
    RELEASE: '11.el7',
    ARCH: 'x86_64',
    LICENSE: 'BSD',
    SUMMARY: 'A file compression utility',
    SOURCERPM: 'zip-3.0-11.el7.src.rpm',
    RSAHEADER: pgpsig,
    DSAHEADER: '(none)',
    SIGPGP: pgpsig,
    SIGGPG: '(none)',
    ...(given.header === 'none' ? {} : given.header),
  };
  const lines = [
    ...Object.entries(tags).map(([tag, value]) => `${tag}=${value}`),
    'PROVIDES=zip',
    'PROVIDES=zip(x86-64)',
    '',
  ];
  const sha256 = Sha256.parse((given.sha256 ?? 'a').repeat(64));
  return {
    name: given.name ?? 'zip-3.0-11.el7.x86_64.rpm',
    sha256,
    computedSha256: given.computedSha256 ?? sha256,
    magic: given.magic ?? 'edabeedb',
    checkExitCode: given.checkExitCode ?? 0,
    check:
      given.check ??
      checked([
        'Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'Header SHA1 digest: OK (0d4a7b6b3d9bd4c1b3bb8ef6cd2ab2b7d7c3c6f7)',
        'V3 RSA/SHA256 Signature, key ID f4a80eb5: OK',
        'MD5 digest: OK (f49ae6270a053005b67e417123691ca7)',
      ]),
    header: given.header === 'none' ? '' : lines.join('\n'),
  };
}
