import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { parseManifest } from '../../src/model/manifest.js';
import { namesForBuildOnly, namesForRun, packageName } from '../../src/model/packages.js';

const SHIPPED = join(import.meta.dirname, '..', '..', 'manifests', 'tts-ha.yaml');
const shipped = readFileSync(SHIPPED, 'utf8');

/** The shipped manifest with one place changed. */
function changed(from: string, to: string): () => unknown {
  if (!shipped.includes(from)) throw new Error(`the shipped manifest does not hold ${from}`);
  return () => parseManifest(Buffer.from(shipped.replace(from, to)), 'm.yaml');
}

function problemsOf(act: () => unknown): { exit: number; text: string } {
  try {
    act();
  } catch (error) {
    if (error instanceof BundleError) return { exit: error.exit, text: error.details.join('\n') };
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('the shipped manifest', () => {
  const manifest = parseManifest(Buffer.from(shipped), SHIPPED);
  const component = (name: string) => manifest.components.find((candidate) => candidate.name === name);

  it('keeps the packages of the procedure that it replaces', () => {
    expect(component('haproxy')?.packages.map(packageName)).toEqual(
      expect.arrayContaining(['systemd-devel', 'openssl-devel']),
    );
    expect(component('keepalived')?.packages.map(packageName)).toEqual(
      expect.arrayContaining([
        'openssl-devel',
        'libnl3-devel',
        'ipset-devel',
        'iptables-devel',
        'libnftnl-devel',
        'libmnl-devel',
      ]),
    );
  });

  it('leaves no compiler and no headers on a node, and names the libraries that the programs load', () => {
    const build = [...namesForBuildOnly(manifest.components)];
    expect(build).toEqual(expect.arrayContaining(['gcc', 'make', 'autoconf', 'automake', 'pkgconfig']));
    const run = [...namesForRun(manifest.components)];
    expect(run.filter((name) => name.endsWith('-devel'))).toEqual([]);
    expect(run).toEqual(expect.arrayContaining(['openssl-libs', 'zlib', 'pcre', 'libnl3']));
    expect(manifest.buildIn).toBe('host');
  });

  it('keeps its build commands, without Lua', () => {
    expect(component('haproxy')?.build).toEqual([
      [
        'make',
        '-j',
        '{jobs}',
        'TARGET=linux-glibc',
        'USE_OPENSSL=1',
        'USE_ZLIB=1',
        'USE_PCRE=1',
        'USE_SYSTEMD=1',
      ],
    ]);
    expect(component('keepalived')?.build).toEqual([
      ['./build_setup'],
      ['./configure', '--disable-dependency-tracking'],
      ['make', '-j', '{jobs}'],
    ]);
  });

  it('trusts the CentOS 7 release key and nothing else', () => {
    expect(manifest.keys.map((key) => key.fingerprint)).toEqual(['6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5']);
  });
});

describe('a manifest with a mistake', () => {
  it.each([
    [
      'an unquoted version',
      "version: '1.0.0'",
      'version: 7.10',
      /m\.yaml:10:10: version: must be text: put it in quotes/,
    ],
    ['a mistyped key', 'packages:\n', 'pakages:\n', /unknown key "pakages"; did you mean "packages"\?/],
    [
      'a form that is nearly right',
      'dockerfile: ../dock',
      'dockerfle: ../dock',
      /collector\.dockerfile: is missing[^]*did you mean "dockerfile"/,
    ],
    [
      'a repository that yum would not read',
      'url: http://vault',
      'url: file://vault',
      /yum downloads nothing from a file:\/\/ repository/,
    ],
    [
      'a package name that is an option',
      'name: gcc, needed: build',
      'name: --nogpgcheck, needed: build',
      /must be an RPM package name/,
    ],
    [
      'a ref that is an option',
      'ref: v2.3.21',
      'ref: --upload-pack=x',
      /must be a tag, branch or commit name/,
    ],
    [
      'a file that climbs out',
      '/usr/local/share/man/man1/haproxy.1',
      '/usr/local/../../etc/passwd',
      /without "\." or "\.\." parts/,
    ],
    [
      'a slot that nobody fills',
      "'DESTDIR={destdir}'",
      "'DESTDIR={root}'",
      /only \{jobs\} and \{destdir\} are filled in/,
    ],
    [
      'plain http without a commit',
      'git: https://git.haproxy',
      'git: http://git.haproxy',
      /plain http proves nothing/,
    ],
    [
      'a need that there is not',
      'name: gcc, needed: build',
      'name: gcc, needed: both',
      /must be build or run/,
    ],
    [
      'a package asked for twice',
      '{ name: make, needed: build }',
      '{ name: gcc, needed: run }',
      /"gcc" is there twice/,
    ],
    ['a way to build that there is not', 'buildIn: host', 'buildIn: docker', /must be host or isolated/],
    ['two components of one name', 'name: keepalived', 'name: haproxy', /"haproxy" is there twice/],
    ['a short fingerprint', '6341 AB27', 'AB27', /40 hex digits/],
  ])('is told the place and the cure: %s', (_, from, to, words) => {
    const problems = problemsOf(changed(from, to));
    expect(problems.exit).toBe(3);
    expect(problems.text).toMatch(words);
    expect(problems.text).toMatch(/^m\.yaml:\d+:\d+: /);
    expect(problems.text).toMatch(/\n +\^/);
  });

  it('is told all of them at once, in the order of the file', () => {
    const bad = shipped.replace("version: '1.0.0'", 'version: 1.0').replace('ref: v2.3.21', 'rev: v2.3.21');
    const lines = problemsOf(() => parseManifest(Buffer.from(bad), 'm.yaml'))
      .text.split('\n')
      .filter((line) => line.startsWith('m.yaml:'))
      .map((line) => Number(line.split(':')[1]));
    expect(lines.length).toBe(3);
    expect(lines).toEqual([...lines].sort((a, b) => a - b));
  });
});

describe("airbundle's own places on a node", () => {
  const FILES = '      - /usr/local/sbin/haproxy\n';
  it.each([
    '/etc/airbundle/trust/zz.pem',
    '/etc/airbundle/**',
    '/var/lib/airbundle/floor.json',
    '/var/log/airbundle/{a,b}',
    '/usr/libexec/airbundle/installer.cjs',
    '/usr/sbin/airbundle',
    '/usr/sbin/bundle',
    '/sbin/airbundle',
    '/run/airbundle.lock',
    '/var/run/airbundle/*',
    '/proc/self/root/etc/*',
  ])('are no file of a component: %s', (file) => {
    expect(problemsOf(changed(FILES, `${FILES}      - '${file}'\n`)).text).toMatch(
      /files\.1: is airbundle's own place or the kernel's: a bundle puts nothing there/,
    );
  });

  it.each([
    ['/etc/airbundle/trust', '/opt/keys', 'path: is airbundle'],
    ['/opt/keys', '/etc/airbundle/trust', "to: leads to airbundle's own place"],
    ['/opt/etc', '/etc', "to: leads to airbundle's own place"],
    ['/opt/sbin', '/sbin', "to: leads to airbundle's own place"],
    ['/opt/all', '/proc/self/root', "to: leads to airbundle's own place"],
  ])('are no link, and no link leads to or around them: %s -> %s', (path, to, problem) => {
    const links = `    links: [{ path: ${path}, to: ${to} }]\n    files:\n`;
    expect(problemsOf(changed('    files:\n', links)).text).toContain(problem);
  });

  it('are not every name that begins so', () => {
    for (const file of ['/etc/airbundle-exporter.conf', '/usr/sbin/bundler', '/usr/sbin/*', '/etc/**'])
      expect(changed(FILES, `${FILES}      - '${file}'\n`)).not.toThrow();
    const links =
      '    links: [{ path: /usr/bin/x, to: /usr/local/bin/x }, { path: /etc/y, to: /dev/null }]\n    files:\n';
    expect(changed('    files:\n', links)).not.toThrow();
  });
});
