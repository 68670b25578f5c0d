import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { localHost } from '../../src/host/local.js';
import { givenKeys } from '../../src/review/keys.js';
import { readPayload } from '../../src/review/payload.js';
import { asOne, locate } from '../../src/review/verify.js';
import { failureOf, sha256Of, temporaryFolder } from '../create/create-support.js';
import type { MadeBundle } from './bundle.js';
import {
  changedHeader,
  examined,
  FILES,
  foldPayload,
  idOf,
  makeBundle,
  makeContents,
  makeSigner,
  rawMember,
  rawMembers,
  rawTar,
  wordsOf,
} from './bundle.js';

const signer = makeSigner();
const other = makeSigner();
const keys = [signer.trusted];

describe('a bundle folder', () => {
  let made: MadeBundle;
  beforeEach(async () => {
    made = await makeBundle(signer);
  });

  const problems = async (): Promise<string[]> => wordsOf(await examined(made.folder, keys), made.folder);

  it('is verified from the signature to each member', async () => {
    const { problems: none, bundle } = await examined(made.folder, keys);
    expect(none).toEqual([]);
    expect(bundle).toMatchObject({
      kind: 'folder',
      signed: true,
      digest: sha256Of(readFileSync(made.sums)),
      signatures: [{ keyId: idOf(signer), state: 'good', fingerprint: signer.trusted.fingerprint }],
      others: [],
    });
    expect(bundle?.payload.sha256).toBe(sha256Of(readFileSync(made.tar)));
    expect(bundle?.payload.contents).toEqual(makeContents());
  });

  it('may have another name and lie behind a link', async () => {
    const moved = path.join(path.dirname(made.folder), 'from the usb stick');
    renameSync(made.folder, moved);
    const link = path.join(path.dirname(moved), 'link');
    symlinkSync(moved, link);
    expect((await examined(link, keys)).problems).toEqual([]);
  });

  it('may hold other files, which are named as not signed, fit for a terminal', async () => {
    writeFileSync(path.join(made.folder, 'site.yaml'), '');
    writeFileSync(path.join(made.folder, 'a\u001b[2Jb'), '');
    const { bundle } = await examined(made.folder, keys);
    expect(bundle?.others).toEqual(['a\\u001b[2Jb', 'site.yaml']);
  });

  it('is refused with another key', async () => {
    const { problems: found } = await examined(made.folder, [other.trusted]);
    expect(found.map(({ code, exit }) => [code, exit])).toEqual([['BAD_SIGNATURE', 4]]);
    expect(found[0]?.details.join()).toContain(`.${idOf(other)}.sig: not there`);
  });

  it("is refused when another key's signature has the trusted one's name", async () => {
    const theirs = await makeBundle(other);
    copyFileSync(theirs.signature, made.signature);
    expect(await problems()).toEqual([expect.stringMatching(/^BAD_SIGNATURE .*: no trusted key has signed/)]);
  });

  it('needs each key that a reviewer gives, and one of a store', async () => {
    const both = [signer.trusted, other.trusted];
    const every = await examined(made.folder, both);
    expect(every.problems.map(({ code }) => code)).toEqual(['BAD_SIGNATURE']);
    expect((await examined(made.folder, both, { signers: 1 })).problems).toEqual([]);
  });

  it('is never good without a key', async () => {
    for (const signers of [1, 'every'] as const)
      expect((await examined(made.folder, [], { signers })).bundle).toBeUndefined();
  });

  it.each(['tar', 'sums', 'signature', 'installSh'] as const)(
    'is refused without its %s, by name',
    async (file) => {
      rmSync(made[file]);
      const name = path.basename(made[file]);
      expect(await problems()).toEqual([`MISSING ${name}: ${name} is missing`]);
    },
  );

  it('names all that is missing at once', async () => {
    rmSync(made.installSh);
    rmSync(made.sums);
    rmSync(made.signature);
    const examination = await examined(made.folder, keys);
    expect(wordsOf(examination, made.folder)).toEqual([
      `MISSING ${made.stem}.sha256: ${made.stem}.sha256 is missing`,
      'MISSING install.sh: install.sh is missing',
      `MISSING ${path.basename(made.signature)}: ${path.basename(made.signature)} is missing`,
    ]);
    expect(asOne(examination.problems, made.folder)).toMatchObject({ exit: 4, code: 'NOT_VERIFIED' });
  });

  it('names all that was altered at once', async () => {
    writeFileSync(made.installSh, '#!/bin/sh\nrm -rf /\n');
    truncateSync(made.tar, 20_000);
    expect(await problems()).toEqual([
      expect.stringMatching(/^ALTERED install.sh: SHA-256 is [0-9a-f]{64}, the signed one is [0-9a-f]{64}$/),
      expect.stringMatching(/^BAD_PAYLOAD demo-.*\.tar, byte \d+: the payload is cut off/),
    ]);
  });

  it('is refused when it is empty, or holds two', async () => {
    const empty = temporaryFolder();
    expect((await examined(empty, keys)).problems[0]).toMatchObject({ code: 'NO_BUNDLE', exit: 4 });
    copyFileSync(made.sums, path.join(made.folder, 'more\u001b.sha256'));
    expect(await problems()).toEqual([
      `NO_BUNDLE ${made.folder}: there are several bundles here: ${made.stem}.sha256, more\\u001b.sha256`,
    ]);
  });

  it('is refused when its files were renamed together', async () => {
    for (const file of [made.tar, made.sums, made.signature])
      renameSync(file, path.join(made.folder, path.basename(file).replace('1.2.3', '1.2.4')));
    expect(await problems()).toEqual([
      'RENAMED demo-1.2.4-el7.x86_64.sha256: the file is named demo-1.2.4-el7.x86_64.sha256, but its first line says demo-1.2.3-el7.x86_64',
    ]);
  });

  it('is refused with the payload of another bundle, even of the same signer', async () => {
    const later = await makeBundle(
      signer,
      makeContents((contents) => ({ ...contents, description: 'another one' })),
    );
    copyFileSync(later.tar, made.tar);
    const { problems: found } = await examined(made.folder, keys);
    expect(found).toMatchObject([
      {
        code: 'BAD_PAYLOAD',
        where: made.tar,
        details: ['it holds together in itself: it is another bundle, or one that was made anew'],
      },
    ]);
  });

  it('is refused when X.sha256 and bundle.json speak of different releases', async () => {
    const lying = makeContents((contents) => ({ ...contents, sequence: 1 }));
    made = foldPayload(signer, rawTar(rawMembers(lying)));
    expect(await problems()).toEqual([
      expect.stringMatching(
        /^OTHER_RELEASE .*the checksum file says demo 1.2.3, sequence 7, el7.x86_64, bundle.json says demo 1.2.3, sequence 1, el7.x86_64$/,
      ),
    ]);
  });

  it('is refused when a file of it is a link, a folder or a pipe', async () => {
    const away = path.join(path.dirname(made.folder), 'away');
    for (const file of ['tar', 'installSh', 'sums', 'signature'] as const) {
      renameSync(made[file], away);
      symlinkSync(away, made[file]);
      expect((await examined(made.folder, keys)).bundle, file).toBeUndefined();
      rmSync(made[file]);
      mkdirSync(made[file]);
      expect((await examined(made.folder, keys)).bundle, file).toBeUndefined();
      rmSync(made[file], { recursive: true });
      renameSync(away, made[file]);
    }
    expect(await problems()).toEqual([]);
  });

  it('is refused for any flipped byte in any of its four files', { timeout: 60_000 }, async () => {
    const files = ['tar', 'sums', 'signature', 'installSh'] as const;
    const originals = Object.fromEntries(files.map((file) => [file, readFileSync(made[file])]));
    const anyFlip = fc.constantFrom(...files).chain((file) =>
      fc.record({
        file: fc.constant(file),
        offset: fc.nat(originals[file]!.length - 1),
        bits: fc.integer({ min: 1, max: 255 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(anyFlip, async ({ file, offset, bits }) => {
        const bytes = Buffer.from(originals[file]!);
        bytes[offset]! ^= bits;
        writeFileSync(made[file], bytes);
        const { bundle, problems: found } = await examined(made.folder, keys);
        writeFileSync(made[file], originals[file]!);
        expect(bundle).toBeUndefined();
        expect(found.length).toBeGreaterThan(0);
        expect(found.every((problem) => problem.exit === 4 && problem.where !== undefined)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  it('is refused for any truncation of its payload', { timeout: 60_000 }, async () => {
    const bytes = readFileSync(made.tar);
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
        writeFileSync(made.tar, bytes.subarray(0, length));
        expect((await examined(made.folder, keys)).problems).toMatchObject([
          { code: 'BAD_PAYLOAD', exit: 4 },
        ]);
      }),
      { numRuns: 40 },
    );
  });

  it('says which member was altered, as far as its own bundle.json can tell', async () => {
    const bytes = readFileSync(made.tar);
    bytes[bytes.indexOf('glibcglibc') + 100]! ^= 1;
    writeFileSync(made.tar, bytes);
    expect((await examined(made.folder, keys)).problems).toMatchObject([
      {
        message: expect.stringMatching(/^SHA-256 is .*, the signed one is /) as string,
        details: [
          'by its own, unproved bundle.json: rpms/glibc-2.17-222.el7.x86_64.rpm is not what bundle.json says',
        ],
      },
    ]);
  });
});

describe('a payload alone', () => {
  it('is refused, and with --unsigned agrees with itself or not', async () => {
    const { tar } = await makeBundle(signer);
    expect((await examined(tar, keys)).problems).toMatchObject([{ code: 'UNSIGNED', exit: 4 }]);
    expect((await examined(tar, [], { unsigned: true })).bundle).toMatchObject({
      kind: 'tar',
      signed: false,
    });
    const bytes = readFileSync(tar);
    bytes[bytes.indexOf('glibcglibc')]! ^= 1;
    writeFileSync(tar, bytes);
    expect((await examined(tar, [], { unsigned: true })).problems).toMatchObject([
      { code: 'BAD_PAYLOAD', message: 'rpms/glibc-2.17-222.el7.x86_64.rpm is not what bundle.json says' },
    ]);
  });

  it('is not looked for where nothing is', async () => {
    expect(await failureOf(locate(localHost(), '/nonexistent/x'))).toMatchObject({
      exit: 2,
      code: 'NO_BUNDLE',
    });
    expect(await failureOf(locate(localHost(), '/dev/null'))).toMatchObject({ exit: 2, code: 'NO_BUNDLE' });
  });
});

describe('a signed payload of another form', () => {
  const good = rawMembers();
  const at = (name: string): number => FILES.findIndex(([file]) => file === name) + 1;
  const gcc = at('rpms/gcc-4.8.5-28.el7.x86_64.rpm');
  const replaced = (index: number, ...by: typeof good): Buffer =>
    rawTar([...good.slice(0, index), ...by, ...good.slice(index + 1)]);
  const header = (change: (block: Buffer) => void): Buffer =>
    replaced(gcc, { ...good[gcc]!, header: changedHeader(good[gcc]!.header, change) });
  const named = (name: string): Buffer =>
    header((block) => {
      block.fill(0, 0, 100);
      block.write(name, 'latin1');
    });
  const foreign = /has a header that airbundle does not write$/;

  const forms: Record<string, [Buffer, RegExp]> = {
    'without a member': [replaced(gcc), /^bundle.json names 7 members, the archive holds 6$/],
    'with one more': [
      rawTar([...good, rawMember('rpms/more.rpm', 'x')]),
      /names 7 members, the archive holds 8$/,
    ],
    'with one more, behind the end': [
      Buffer.concat([rawTar(good), rawTar([rawMember('rpms/more.rpm', 'x')])]),
      /behind the end of the archive$/,
    ],
    'with a member twice': [rawTar([...good, good[gcc]!]), /gcc-.*\.rpm is there twice$/],
    'with bundle.json twice': [rawTar([good[0]!, ...good]), /^bundle.json is there twice$/],
    'in another order': [
      rawTar([...good.slice(0, gcc), good[gcc + 1]!, good[gcc]!, ...good.slice(gcc + 2)]),
      /stands where bundle.json names/,
    ],
    'with a renamed member': [
      named('rpms/gcc-4.8.5-29.el7.x86_64.rpm'),
      /stands where bundle.json names rpms\/gcc/,
    ],
    'with a climbing member': [named('rpms/../../../etc/passwd'), foreign],
    'with an absolute member': [named('/etc/passwd'), foreign],
    'with a member that is "."': [named('./rpms/gcc'), foreign],
    'with bytes after the name': [
      header((block) => {
        block.write('x', 90, 'latin1');
      }),
      foreign,
    ],
    'with a symbolic link': [
      header((block) => {
        block.write('2', 156, 'latin1');
        block.write('/etc/passwd', 157, 'latin1');
      }),
      foreign,
    ],
    'with a hard link': [
      header((block) => {
        block.write('1', 156, 'latin1');
      }),
      foreign,
    ],
    'with a folder': [
      header((block) => {
        block.write('5', 156, 'latin1');
      }),
      foreign,
    ],
    'with a long-name extension': [
      header((block) => {
        block.write('L', 156, 'latin1');
      }),
      foreign,
    ],
    'with a setuid member': [replaced(gcc, rawMember(FILES[gcc - 1]![0], good[gcc]!.body, 0o4755)), foreign],
    'with a mode of its own': [replaced(gcc, rawMember(FILES[gcc - 1]![0], good[gcc]!.body, 0o600)), foreign],
    'with another of the two modes': [
      replaced(gcc, rawMember(FILES[gcc - 1]![0], good[gcc]!.body, 0o755)),
      /gcc-.* is not what bundle.json says$/,
    ],
    'with an owner': [
      header((block) => {
        block.write('0001750', 108, 'latin1');
      }),
      foreign,
    ],
    'with a file that is a folder too': [
      rawTar([...good, rawMember('rpms', 'x')]),
      /^rpms is there as a file and as a folder$/,
    ],
    'with a folder that is a file too': [
      rawTar([...good, rawMember('installer.cjs/x', 'x')]),
      /^installer.cjs is there as a file and as a folder$/,
    ],
    'that begins with something else': [rawTar(good.slice(1)), /^bundle.json is not the first member$/],
    'that is empty': [rawTar([]), foreign],
    'that is no archive': [Buffer.alloc(20_480, 'x'), foreign],
    'of no bytes': [Buffer.alloc(0), /cut off/],
    'with a padded record more': [Buffer.concat([rawTar(good), Buffer.alloc(10_240)]), /behind the end/],
    'with a bundle.json that is not JSON': [
      rawTar([rawMember('bundle.json', '{'), ...good.slice(1)]),
      /^bundle.json is not JSON$/,
    ],
    'that speaks of what it does not hold': [
      rawTar(
        rawMembers(
          makeContents((contents) => ({
            ...contents,
            runtime: {
              ...contents.runtime,
              path: contents.rpms[0]!.path.replace('gcc', 'ghc') as typeof contents.runtime.path,
            },
          })),
        ),
      ),
      /^bundle.json speaks of rpms\/ghc-.*, which is not among its members$/,
    ],
  };

  it.each(Object.keys(forms))('is refused %s', async (name) => {
    const [payload, words] = forms[name]!;
    const made = foldPayload(signer, payload);
    const { problems } = await examined(made.folder, keys);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ exit: 4, message: expect.stringMatching(words) as string });
    expect(problems[0]?.where).toContain(made.tar);
  });

  it('would be good in its own form', async () => {
    expect((await examined(foldPayload(signer, rawTar(good)).folder, keys)).problems).toEqual([]);
  });

  it('shows no control character of a bundle.json that it does not know', async () => {
    const text = JSON.stringify({ ...makeContents(), 'bad\u001b]0;title\u0007': 1 });
    const { folder } = foldPayload(signer, rawTar([rawMember('bundle.json', text), ...good.slice(1)]));
    const [problem] = (await examined(folder, keys)).problems;
    expect(problem?.code).toBe('BAD_CONTENTS');
    expect(problem?.details.join()).toContain('bad\\u001b]0;title\\u0007');
  });
});

describe('reading a payload', () => {
  it('works with a host that has buffers of its own', async () => {
    const bytes = rawTar(rawMembers());
    const { tar } = foldPayload(signer, bytes);
    const host = {
      ...localHost(),
      chunks: async function* (): AsyncGenerator<Buffer> {
        for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
      },
    };
    const { sha256, sizeBytes } = await readPayload(host, tar, { expected: sha256Of(bytes) });
    expect([sha256, sizeBytes]).toEqual([sha256Of(bytes), bytes.length]);
  });

  it('gives each member to whoever wants it, and ends with the medium', async () => {
    const bytes = rawTar(rawMembers());
    const { tar } = foldPayload(signer, bytes);
    const written = new Map<string, string>();
    const closed: string[] = [];
    await readPayload(localHost(), tar, {
      open: async ({ path: name }) => ({
        write: async (piece) => {
          written.set(name, (written.get(name) ?? '') + Buffer.from(piece).toString());
        },
        close: async () => {
          closed.push(name);
        },
      }),
    });
    for (const [name, text] of FILES) expect(written.get(name) ?? '').toBe(text);
    expect(closed).toEqual(['bundle.json', ...FILES.map(([name]) => name)]);
    const broken = {
      ...localHost(),
      chunks: async function* (): AsyncGenerator<Buffer> {
        yield bytes.subarray(0, 3000);
        throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' });
      },
    };
    await expect(readPayload(broken, tar, {})).rejects.toThrow('EIO');
  });
});

describe('the keys that a reviewer gives', () => {
  const keyFile = (name: string, text: string): string => {
    const file = path.join(temporaryFolder(), name);
    writeFileSync(file, text);
    return file;
  };

  it('must have the fingerprints that came by another way', async () => {
    const file = keyFile('packager.pub.pem', signer.trusted.pem);
    const host = localHost();
    const spaced = (signer.trusted.fingerprint.toUpperCase().match(/.{4}/g) ?? []).join(' ');
    expect((await givenKeys(host, [file], [spaced]))[0]?.keyId).toBe(idOf(signer));
    const wrong = await failureOf(givenKeys(host, [file], [other.trusted.fingerprint]));
    expect(wrong).toMatchObject({ code: 'WRONG_FINGERPRINT', exit: 4, where: file });
    const both = [signer.trusted.fingerprint, other.trusted.fingerprint];
    expect(await failureOf(givenKeys(host, [file], both))).toMatchObject({ code: 'WRONG_FINGERPRINT' });
    expect(await failureOf(givenKeys(host, [file], ['12 34']))).toMatchObject({
      code: 'NO_FINGERPRINT',
      exit: 2,
    });
    expect(await failureOf(givenKeys(host, ['/nonexistent'], []))).toMatchObject({ code: 'NO_KEY', exit: 2 });
    const large = keyFile('large', 'x'.repeat(20_000));
    expect(await failureOf(givenKeys(host, [large], []))).toMatchObject({ code: 'BAD_FILE', exit: 4 });
  });
});
