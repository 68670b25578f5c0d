import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { createBundle } from '../../src/create/create.js';
import type { BundleError } from '../../src/errors.js';
import { parseManifest } from '../../src/model/manifest.js';
import { manifestText } from './create-manifest.js';
import { failureOf, packagerEnv, recordingReporter, temporaryFolder } from './create-support.js';

/** What `bundle create` says about this manifest, before it has touched anything. */
async function said(write: (file: string) => void): Promise<BundleError> {
  const folder = temporaryFolder();
  const manifestPath = path.join(folder, 'thing.yaml');
  write(manifestPath);
  const before = readdirSync(folder);
  const failure = await failureOf(
    createBundle(
      {
        manifestPath,
        out: path.join(folder, 'dist'),
        keyPath: '/nonexistent',
        cacheDir: path.join(folder, 'cache'),
        installerPath: '/nonexistent',
        deployPath: '/nonexistent',
        installShPath: '/nonexistent',
        env: packagerEnv(),
        reporter: recordingReporter(),
      },
      () => Promise.reject(new Error('it has begun to fetch')),
    ),
  );
  expect(readdirSync(folder)).toEqual(before);
  expect(failure.where).toContain(manifestPath);
  expect(failure.hint).toBeDefined();
  return failure;
}
const saidOf = (text: string | Uint8Array): Promise<BundleError> =>
  said((file) => {
    writeFileSync(file, text);
  });

/** The manifest's component under another name. */
const another = (text: string): string =>
  text.slice(text.indexOf('  - name: thing')).replace('name: thing', 'name: another');

describe('a manifest that cannot be used', () => {
  const good = manifestText();

  it('is not one with packages that have real dots in their names', () => {
    const packages = ['java-1.8.0-openjdk', 'python3.6', 'compat-gcc.44', 'libstdc++', 'dejavu.fonts'];
    expect(parseManifest(Buffer.from(manifestText({ packages })), 'm.yaml').components[0]?.packages).toEqual(
      packages,
    );
  });

  it.each([
    ['a syntax error', good.replace('sequence: 3', 'sequence: [3'), /^.*:\d+:\d+$/, /./],
    [
      'an unknown key',
      good.replace('sequence: 3', 'sequence: 3\ndescripton: x'),
      /:5:1$/,
      /did you mean "description"/,
    ],
    [
      'a component twice',
      good + good.slice(good.indexOf('  - name: thing')),
      /:\d+:\d+$/,
      /"thing" is there twice/,
    ],
    [
      'a configuration that no node knows',
      `${good}    configuration: haprxoy\n`,
      /:26:20$/,
      /there is no renderer "haprxoy"; did you mean "haproxy"/,
    ],
    [
      'a configuration by a name that every object has',
      `${good}    configuration: constructor\n`,
      /:26:20$/,
      /there is no renderer "constructor"/,
    ],
    [
      'two components with one renderer',
      `${good}    configuration: haproxy\n${another(good)}    configuration: haproxy\n`,
      /:37:20$/,
      /component "thing" has the renderer "haproxy" already/,
    ],
    [
      'two components that declare the same file',
      `${good}    configuration: { files: [{ path: /etc/x.conf, template: x }] }\n${another(good)}    configuration: { files: [{ path: /etc/y.conf, template: x }, { path: /etc/x.conf, template: x }] }\n`,
      /:37:74$/,
      /component "thing" makes \/etc\/x.conf already/,
    ],
    [
      'two components that declare the same unit',
      `${good}    configuration: { units: [{ name: x.service, template: x }] }\n${another(good)}    configuration: { units: [{ name: x.service, template: x }] }\n`,
      /:37:38$/,
      /component "thing" makes \/etc\/systemd\/system\/x.service already/,
    ],
    [
      "a unit among a component's own files",
      `${good}    configuration: { files: [{ path: /etc/systemd/system/x.service, template: x }], units: [{ name: x.service, template: x }] }\n`,
      /:26:101$/,
      /component "thing" makes .* already/,
    ],
    [
      "a renderer's file",
      `${good}    configuration: { files: [{ path: /etc/haproxy/haproxy.cfg, template: x }] }\n${another(good)}    configuration: haproxy\n`,
      /:26:38$/,
      /component "another" makes \/etc\/haproxy\/haproxy.cfg already: by the renderer "haproxy"/,
    ],
    ['a bad ref', good.replace('ref: v1.0', 'ref: "--upload-pack=x"'), /:\d+:12$/, /tag, branch or commit/],
    ['a bad package name', good.replace('zlib-devel', '"a; rm -rf /"'), /:\d+:\d+$/, /RPM package name/],
    [
      'a package name with an architecture',
      good.replace('zlib-devel', 'gcc.x86_64'),
      /:\d+:\d+$/,
      /write the plain name: the architecture is always x86_64 or noarch/,
    ],
    [
      'the same as build package',
      good.replace('zlib-devel', '{ name: gcc.i686, needed: build }'),
      /:\d+:\d+$/,
      /write the plain name/,
    ],
    ...['main', 'installed'].map((id): [string, string, RegExp, RegExp] => [
      `the repository id ${id}, which yum skips`,
      good.replace('id: os', `id: ${id}`),
      /:8:11$/,
      /is a word of yum's own: it would skip this repository/,
    ]),
    ['a control character in a path', good.replace('./key', '"./k\\ney"'), /:\d+:\d+$/, /control characters/],
    ['a number for a version', good.replace('"1.2.0"', '7.10'), /:3:10$/, /put it in quotes/],
  ])('is refused with its place: %s', async (_, text, where, words) => {
    const failure = await saidOf(text);
    expect([failure.exit, failure.code]).toEqual([3, 'BAD_MANIFEST']);
    expect(failure.where).toMatch(where);
    expect([failure.message, ...failure.details].join('\n')).toMatch(words);
  });

  it.each([
    ['empty', '', /empty/],
    ['not UTF-8', Buffer.from([0x61, 0x3a, 0xff, 0xfe]), /UTF-8/],
    ['nothing but a comment', '# x\n', /empty/],
  ])('is refused: %s', async (_, text, words) => {
    const failure = await saidOf(text);
    expect([failure.exit, failure.code]).toEqual([3, 'BAD_MANIFEST']);
    expect(failure.message).toMatch(words);
  });

  it('is refused unread: 10 MB, a folder, a device, a pipe, a missing file', async () => {
    const large = await said((file) => {
      writeFileSync(file, '');
      truncateSync(file, 10_000_000);
    });
    expect([large.exit, large.message]).toEqual([3, expect.stringContaining('are read') as string]);
    const folder = await said((file) => mkdirSync(file));
    expect([folder.exit, folder.message]).toEqual([2, expect.stringContaining('a folder') as string]);
    const pipe = await said((file) => execFileSync('mkfifo', [file]));
    expect([pipe.exit, pipe.message]).toEqual([2, expect.stringContaining('not a plain file') as string]);
    const missing = await said(() => undefined);
    expect([missing.exit, missing.message]).toEqual([2, expect.stringContaining('no such file') as string]);
  });

  it('is refused when it may not be read', async ({ skip }) => {
    if (process.getuid?.() === 0) skip('root may read everything');
    const failure = await said((file) => {
      writeFileSync(file, good);
      chmodSync(file, 0);
    });
    expect([failure.exit, failure.message]).toEqual([2, expect.stringContaining('permission') as string]);
  });
});
