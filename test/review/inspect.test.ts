import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { localHost } from '../../src/host/local.js';
import type { Contents } from '../../src/model/contents.js';
import { plain, plainJson, plainLines } from '../../src/model/plain.js';
import type { Inventory } from '../../src/review/inspect.js';
import { inspect, inventoryOf } from '../../src/review/inspect.js';
import type { TrustedKey } from '../../src/review/keys.js';
import { renderInventory, renderVerified } from '../../src/review/render.js';
import { locate } from '../../src/review/verify.js';
import { failureOf, recordingReporter, sha256Of } from '../create/create-support.js';
import {
  examined,
  foldPayload,
  idOf,
  makeBundle,
  makeContents,
  makeSigner,
  rawMember,
  rawTar,
} from './bundle.js';

const signer = makeSigner();

async function inspected(where: string, keys: readonly TrustedKey[]): Promise<Inventory> {
  const host = localHost();
  return inspect(host, {
    place: await locate(host, where),
    keys,
    signers: 'every',
    unsigned: keys.length === 0,
    reporter: recordingReporter(),
  });
}

const looked = { verified: false, digest: undefined, payloadSha256: undefined, signatures: [], others: [] };

describe('an inspected bundle', () => {
  it('names for each package the components that asked for it', () => {
    const { packages, components } = inventoryOf(makeContents(), looked);
    expect(packages.map(({ nevra, requiredBy }) => [nevra, requiredBy])).toEqual([
      ['gcc-4.8.5-28.el7.x86_64', ['haproxy', 'keepalived']],
      ['glibc-2.17-222.el7.x86_64', []],
      ['pcre-devel-8.32-17.el7.x86_64', ['haproxy']],
    ]);
    expect(components.map(({ packagesElsewhere }) => packagesElsewhere)).toEqual([[], ['pkgconfig']]);
  });

  it('adds up', () => {
    const { totals, programs, packages } = inventoryOf(makeContents(), looked);
    expect(totals).toMatchObject({
      members: 8,
      packages: { count: 3, sizeBytes: 3000 + 5 * 777 },
      sources: { count: 2, sizeBytes: 3001 },
      licences: { BSD: 1, 'GPLv3+': 1, 'LGPLv2+': 1 },
      repositories: { os: 3 },
    });
    expect(programs.map(({ path }) => path)).toEqual(['installer.cjs']);
    expect(packages[0]?.sha256).toBe(sha256Of('gcc'.repeat(1000)));
  });

  it('is shown as verified when a key proved it, with who signed', async () => {
    const { folder } = await makeBundle(signer);
    const text = renderInventory(await inspected(folder, [signer.trusted]), 'fingerprint');
    expect(text).not.toContain('NOT VERIFIED');
    expect(text).toContain(`signature  good, key ${idOf(signer)}, has the fingerprint that was given`);
    expect(text).toContain('packages that haproxy and keepalived ask for (1)');
    expect(text).toContain('packages that these depend on (1)');
    expect(text).toContain("build      make 'CFLAGS=-O2 -g'");
    expect(text).toMatch(/by others +pkgconfig: no RPM here has this name/);
  });

  it('says NOT VERIFIED first and last without a key, of a folder and of a payload', async () => {
    const { folder, tar } = await makeBundle(signer);
    for (const where of [folder, tar]) {
      const inventory = await inspected(where, []);
      expect(inventory.verified).toBe(false);
      const lines = renderInventory(inventory, 'given').trimEnd().split('\n');
      expect([lines[0], lines.at(-1)]).toEqual(
        Array(2).fill('NOT VERIFIED: this is only what the bundle says about itself'),
      );
      expect(lines.join('\n')).not.toMatch(/good|^verified/m);
    }
  });

  it('is not shown at all when a key does not prove it', async () => {
    const { folder, tar } = await makeBundle(signer);
    const bytes = readFileSync(tar);
    bytes[bytes.length - 12_000]! ^= 1;
    writeFileSync(tar, bytes);
    expect(await failureOf(inspected(folder, [signer.trusted]))).toMatchObject({ exit: 4 });
    expect(await failureOf(inspected(folder, [makeSigner().trusted]))).toMatchObject({
      code: 'BAD_SIGNATURE',
    });
    expect((await inspected(folder, [])).verified).toBe(false);
  });

  it('is refused when its payload is missing or no file, or cannot be read', async () => {
    const { folder, tar } = await makeBundle(signer);
    const denied = async (): Promise<Inventory> => {
      const chunks = (): never => {
        throw Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'open', path: tar });
      };
      return inspect(
        { ...localHost(), chunks },
        {
          place: { kind: 'folder', path: folder },
          keys: [],
          signers: 'every',
          unsigned: true,
          reporter: recordingReporter(),
        },
      );
    };
    expect(await failureOf(denied())).toMatchObject({ code: 'UNREADABLE', exit: 4, where: tar });
    rmSync(tar);
    expect(await failureOf(inspected(folder, []))).toMatchObject({ code: 'BAD_PAYLOAD', exit: 4 });
    execFileSync('mkfifo', [tar]);
    expect(await failureOf(inspected(folder, []))).toMatchObject({
      message: 'the payload is not a regular file',
    });
  });

  it('has one table: the columns of all groups stand below each other', () => {
    const text = renderInventory(inventoryOf(makeContents(), looked), 'given');
    const columns = text.split('\n').filter((line) => /^ {2}(?:package |\S+\.el7)/.test(line));
    expect(new Set(columns.map((line) => line.search(/ (?:from|os) /))).size).toBe(1);
  });

  it('names once whom a package with two spellings is asked by, in the order of the components', () => {
    const { packages } = inventoryOf(
      makeContents((same) => ({
        ...same,
        components: ['a', 'b', 'c'].map((name, index) => ({
          ...same.components[0]!,
          name,
          packages: [['gcc.x86_64', 'gcc'], ['gcc'], ['gcc.x86_64', 'gcc.i686']][index]!,
        })),
      })),
      looked,
    );
    expect(packages[0]).toMatchObject({ nevra: 'gcc-4.8.5-28.el7.x86_64', requiredBy: ['a', 'b', 'c'] });
  });

  it('is read and shown at once however many packages it says it has and asks for', () => {
    const COUNT = 15_000;
    const contents = makeContents((same) => {
      const rpm = same.rpms[0]!;
      const name = (index: number): string => `package-${String(index)}`;
      return {
        ...same,
        rpms: Array.from({ length: COUNT }, (_, index) => ({
          ...rpm,
          nevra: { ...rpm.nevra, name: name(index) },
        })),
        components: Array.from({ length: COUNT }, (_, index) => ({
          ...same.components[0]!,
          name: `c${String(index)}`,
          packages:
            index === 0 ? Array.from({ length: COUNT }, (_, at) => `other-${String(at)}`) : [name(index)],
        })),
      };
    });
    const startedMs = performance.now();
    const inventory = inventoryOf(contents, looked);
    const text = renderInventory(inventory, 'given');
    expect(performance.now() - startedMs).toBeLessThan(5000);
    expect(inventory.packages.filter(({ requiredBy }) => requiredBy.length === 1)).toHaveLength(COUNT - 1);
    expect(text).toContain('packages that these depend on (1)');
  });

  it('refuses a bundle.json that is too large, unread', async () => {
    const huge = rawMember('bundle.json', Buffer.alloc(17 * 1024 * 1024, ' '));
    const { tar } = foldPayload(signer, rawTar([huge]));
    expect(await failureOf(inspected(tar, []))).toMatchObject({
      code: 'BAD_PAYLOAD',
      message: 'bundle.json is not the first member',
    });
  });
});

describe('text that somebody else wrote', () => {
  const nasty =
    'GPL\u001b[2J\u001b]0;owned\u0007\u009b31m\r\nverified: yes\u202egnp\u200b\u{e0041}\u2028x\u007f\ud800';

  it('cannot move a cursor, change a colour, begin a line or turn around', async () => {
    const evil = makeContents((contents): Contents => ({
      ...contents,
      description: nasty,
      target: { ...contents.target, releases: [nasty] },
      rpms: contents.rpms.map((rpm) => ({
        ...rpm,
        licence: nasty,
        summary: nasty,
        sourceRpm: nasty,
        origin: { repository: nasty, path: nasty },
      })),
      components: contents.components.map((component) => ({
        ...component,
        licence: nasty,
        packages: [nasty],
        source: { ...component.source, url: nasty, ref: nasty },
        build: [[nasty]],
        install: [nasty],
        smoke: [nasty],
      })),
      collector: { image: nasty, contextSha256: null },
      runtime: { ...contents.runtime, origin: nasty, version: nasty },
    }));
    const { folder } = await makeBundle(signer, evil);
    const inventory = await inspected(folder, [signer.trusted]);
    const { bundle } = await examined(folder, [signer.trusted]);
    const shown = [
      renderInventory(inventory, 'given'),
      renderInventory(await inspected(folder, []), 'given'),
      renderVerified(bundle!, 'given'),
      plainJson(inventory),
    ];
    for (const text of shown) {
      expect(text.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      expect(text).not.toMatch(/^\s*verified: yes/m);
    }
    expect((JSON.parse(plainJson(inventory)) as Inventory).packages[0]?.licence).toBe(nasty);
  });

  it('is otherwise shown as it is', () => {
    for (const text of ['GPLv2+ and MIT', 'héllo 한국어 日本', 'a–b', '100 %'])
      expect([plain(text), plainLines(text)]).toEqual([text, text]);
    expect(plain('a\nb\u{e0041}')).toBe('a\\u000ab\\u{e0041}');
    expect(plainLines('a\n\tb\u001b')).toBe('a\n\tb\\u001b');
  });
});
