import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { makeRepository } from '../create/create-support.js';
import { buildInto, ROOT } from '../docs/support.js';
import type { Answer, BadInputTable } from './table.js';

/** The built programs, a key, a git source and a runtime: what a packager has before the first mistake. */
export interface PackagerSetting {
  readonly folder: string;
  /** Serves four bytes, "node", under every path. */
  readonly runtime: string;
  /** Without a passphrase. */
  readonly key: string;
  /** A stand-in for docker that has every image and runs nothing: it does for a manifest without packages. */
  readonly engine: string;
  place(): Place;
  bundle(words: readonly string[], options?: TypeOptions): Promise<Answer>;
  close(): Promise<void>;
}

/** A folder of one row: `it.yaml`, and where output and cache would go. */
export interface Place {
  readonly folder: string;
  readonly manifest: string;
  readonly lock: string;
  readonly out: string;
  readonly cache: string;
  /** The good manifest's text. */
  readonly good: string;
}

export interface TypeOptions {
  readonly program?: 'cli.js' | 'installer.cjs';
  /** Folders of the PATH; default: the stand-in's and the system's. */
  readonly path?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
}

/** An account that owns nothing. */
export const NOBODY = 65534;

export async function packagerSetting(): Promise<PackagerSetting> {
  const folder = mkdtempSync(path.join(tmpdir(), 'bad-input-'));
  chmodSync(folder, 0o755);
  for (const name of ['node_modules', 'package.json', 'dockerfiles', 'manifests', 'docs'])
    symlinkSync(path.join(ROOT, name), path.join(folder, name));
  buildInto(path.join(folder, 'build'));
  const engine = path.join(folder, 'engine');
  standIn(engine, 'docker', 'case "$1" in image) echo \'[{"Id":"sha256:0"}]\' ;; esac');

  const upstream = makeRepository(path.join(folder, 'upstream'));
  upstream.commit({ 'a.c': 'int a;\n' });
  upstream.git('tag', 'v1.0');
  const server = createServer((_, response) => response.end('node'));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const runtime = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/node`;

  const bundle: PackagerSetting['bundle'] = (words, options = {}) =>
    typed(
      path.join(folder, 'build', options.program ?? 'cli.js'),
      words,
      {
        PATH: options.path ?? `${engine}:${process.env['PATH'] ?? ''}`,
        HOME: '/nonexistent',
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: '*',
        ...options.env,
      },
      options.uid,
    );
  const prefix = path.join(folder, 'packager');
  execFileSync(process.execPath, [path.join(folder, 'build/cli.js'), 'keygen', '--out', prefix], {
    stdio: 'ignore',
  });

  return {
    folder,
    runtime,
    key: `${prefix}.key.pem`,
    engine,
    place() {
      const own = mkdtempSync(path.join(folder, 'row-'));
      chmodSync(own, 0o755);
      const good = goodManifest(runtime);
      const manifest = path.join(own, 'it.yaml');
      writeFileSync(manifest, good);
      return {
        folder: own,
        manifest,
        lock: path.join(own, 'it.lock.json'),
        out: path.join(own, 'dist'),
        cache: path.join(own, 'cache'),
        good,
      };
    },
    bundle,
    async close() {
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A command of that name in a folder of its own, which is not the real one. */
export function standIn(folder: string, name: string, script: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return folder;
}

/** Everything below a folder but the cache, and the cache's temporary files: what a failure must not change. */
export function contentsOf(place: Place): string[] {
  const all = (folder: string): string[] => {
    if (!existsSync(folder)) return [];
    return (readdirSync(folder, { recursive: true }) as string[]).map((name) => path.join(folder, name));
  };
  return [
    ...all(place.folder).filter((name) => !name.startsWith(place.cache)),
    ...all(path.join(place.cache, 'tmp')),
  ].sort();
}

/** One mistake, and what it has to get. */
export interface Row {
  readonly what: string;
  readonly exit: number;
  readonly code: string;
  /** Part of the line `at:`. */
  readonly at?: string;
  /** Makes the mistake, and gives the words to type where they are not the usual ones. */
  readonly mistake?: (place: Place) => readonly string[] | undefined | Promise<readonly string[] | undefined>;
  readonly options?: (place: Place) => TypeOptions;
  /** Evidence, or what to do next, that a stranger needs. */
  readonly says?: RegExp;
  /** What differs from run to run in the message: [found, word]. */
  readonly masked?: readonly (readonly [string | RegExp, string])[];
}

/** Types it, compares the answer with the row and with the page, and looks for leftovers. */
export async function tryRow(
  setting: PackagerSetting,
  table: BadInputTable,
  row: Row,
  usual: (place: Place) => readonly string[],
  place: Place = setting.place(),
): Promise<void> {
  const words = (await row.mistake?.(place)) ?? usual(place);
  const before = contentsOf(place);
  const answer = await setting.bundle(words, row.options?.(place));
  expect(contentsOf(place), 'nothing is left').toEqual(before);
  const code = /^error\[(\w+)\]/m.exec(answer.stderr)?.[1];
  expect([answer.exit, code], answer.stderr).toEqual([row.exit, row.code]);
  if (row.at !== undefined) expect(/^ {2}at: (.*)$/m.exec(answer.stderr)?.[1]).toContain(row.at);
  if (row.says !== undefined) expect(answer.stderr).toMatch(row.says);
  table.row(row.what, answer, [...(row.masked ?? []), [place.folder, 'FOLDER'], [setting.folder, 'SETTING']]);
}

async function typed(
  program: string,
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  uid: number | undefined,
): Promise<Answer> {
  const child = spawn(process.execPath, [program, ...words], {
    cwd: '/',
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exit = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  expect(stderr, 'no bug of the program').not.toContain('INTERNAL');
  return { exit, stderr };
}

function goodManifest(runtime: string): string {
  return `airbundle: 1
name: it
version: "1"
sequence: 1
target: { os: el7, arch: x86_64 }
collector: { image: "collector" }
repositories:
  - { id: os, url: "http://mirror.example/os" }
keys:
  - { fingerprint: "6341 AB27 53D7 8A78 A7C2 7BB1 24C6 A8A7 F4A8 0EB5", file: ./key }
runtime:
  url: ${runtime}
  sha256: ${createHash('sha256').update('node').digest('hex')}
  version: "16.20.2"
components:
  - name: thing
    version: "1.0"
    licence: MIT
    packages: []
    source: { git: ../upstream, ref: v1.0 }
    build: [[make]]
    install: [make, install]
    files: [/usr/local/sbin/thing]
`;
}
