import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unpack } from '../../src/install/unpack.js';
import { BundleError } from '../../src/errors.js';
import { formatContents, MAX_CONTENTS_BYTES } from '../../src/model/contents.js';
import type { Contents } from '../../src/model/contents.js';
import { BLOCK_BYTES, paddingBytes, trailerBytes, ustarHeader } from '../../src/model/ustar.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey, sha256Of } from './bundle.js';

interface Part {
  readonly path: string;
  readonly body: Buffer;
  readonly mode?: number;
  /** Changes the finished header; its checksum is mended. */
  readonly header?: (block: Buffer) => void;
}

/** An archive with whatever headers a test wants. */
function tar(parts: readonly Part[], end?: Buffer): Buffer {
  const blocks = parts.flatMap(({ path: name, body, mode, header }) => {
    const block = ustarHeader({ path: 'x', mode: mode ?? 0o644, sizeBytes: body.length });
    block.fill(0, 0, 100);
    block.write(name, 0, 'latin1');
    header?.(block);
    block.fill(0x20, 148, 156);
    const sum = block.reduce((total, byte) => total + byte, 0);
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return [block, body, Buffer.alloc(paddingBytes(body.length))];
  });
  const bodyBytes = blocks.reduce((sum, block) => sum + block.length, 0);
  return Buffer.concat([...blocks, end ?? Buffer.alloc(trailerBytes(bodyBytes))]);
}

describe('a payload', () => {
  let made: MadeBundle;
  let bytes: Buffer;
  let parts: Part[];
  let host: Rooted;

  beforeAll(async () => {
    made = await makeBundle({ work: path.join(temporaryFolder(), 'b'), key: makeKey() });
    bytes = readFileSync(path.join(made.folder, `${made.stem}.tar`));
    parts = [];
    for (let at = 0; bytes[at] !== 0;) {
      const name = bytes.toString('latin1', at, at + 100).replace(/\0+$/, '');
      const size = parseInt(bytes.toString('latin1', at + 124, at + 135), 8);
      const mode = parseInt(bytes.toString('latin1', at + 100, at + 107), 8);
      const from = at + BLOCK_BYTES;
      parts.push({ path: name, mode, body: bytes.subarray(from, from + size) });
      at = from + size + paddingBytes(size);
    }
  });
  beforeEach(() => {
    host = rootedHost();
  });

  /** As if somebody had signed exactly these bytes. */
  const signed = async (payload: Buffer, expected = sha256Of(payload)): Promise<Contents> => {
    writeFileSync(path.join(host.root, 'x.tar'), payload);
    mkdirSync(path.join(host.root, 'stage'), { recursive: true });
    return unpack(host, '/x.tar', expected, '/stage');
  };
  const refused = async (payload: Buffer, expected?: ReturnType<typeof sha256Of>): Promise<string> => {
    try {
      await signed(payload, expected);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      expect(error.exit).toBe(4);
      return error.message;
    }
    throw new Error('it was taken');
  };
  const first = (change: (contents: Contents) => unknown): Buffer => {
    const contents: unknown = change(JSON.parse(formatContents(made.contents)) as Contents);
    return tar([
      { path: 'bundle.json', body: Buffer.from(`${JSON.stringify(contents)}\n`) },
      ...parts.slice(1),
    ]);
  };

  it('is unpacked member by member, for root only', async () => {
    expect(tar(parts).equals(bytes)).toBe(true);
    expect(await signed(bytes)).toEqual(made.contents);
    expect(readdirSync(path.join(host.root, 'stage')).sort()).toEqual([
      'bundle.json',
      'installer.cjs',
      'runtime',
      'sources',
    ]);
  });

  it('is never written further than its bundle.json says, whoever signed it', async () => {
    const large = Buffer.alloc(3_000_000, 'x');
    const last = parts.at(-1)!;
    const archives: Record<string, [Buffer, string[]]> = {
      'an extra member': [tar([...parts, { path: 'sources/extra', body: large }]), ['bundle.json']],
      "a member in another one's place": [
        tar([...parts.slice(0, -1), { ...last, path: 'installer.txt', body: last.body }]),
        ['bundle.json', 'runtime', 'sources'],
      ],
      'a larger member': [tar([...parts.slice(0, -1), { ...last, body: large }]), ['bundle.json']],
      'a list that cannot be read': [
        tar([
          { path: 'bundle.json', body: Buffer.from('{}') },
          { path: 'x', body: large },
        ]),
        ['bundle.json'],
      ],
      'a list that names nothing': [first((contents) => ({ ...contents, members: [] })), ['bundle.json']],
    };
    for (const [name, [archive, left]] of Object.entries(archives)) {
      host = rootedHost();
      await refused(archive);
      expect([name, readdirSync(path.join(host.root, 'stage')).sort()]).toEqual([name, left]);
    }
  });

  it('with any one byte flipped is refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        host = rootedHost();
        const changed = Buffer.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ flip;
        await refused(changed, sha256Of(bytes));
      }),
      { numRuns: 150 },
    );
  });

  it('cut off at any place is refused, also when somebody signed it so', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), async (length) => {
        host = rootedHost();
        await refused(bytes.subarray(0, length));
      }),
      { numRuns: 60 },
    );
  });

  const one: Part = { path: 'sources/extra', body: Buffer.from('x') };
  const hostile: Record<string, () => Buffer> = {
    'an extra member': () => tar([...parts, one]),
    'a missing member': () => tar(parts.slice(0, -1)),
    'a doubled member': () => tar([...parts, parts.at(-1)!]),
    'two members in another order': () => tar([...parts.slice(0, -2), parts.at(-1)!, parts.at(-2)!]),
    'a renamed member': () => tar([...parts.slice(0, -1), { ...parts.at(-1)!, path: 'installer.txt' }]),
    'an altered member': () => tar([...parts.slice(0, -1), { ...parts.at(-1)!, body: Buffer.from('other') }]),
    'another mode': () => tar([...parts.slice(0, -1), { ...parts.at(-1)!, mode: 0o755 }]),
    'a setuid mode': () => tar([...parts.slice(0, -1), { ...parts.at(-1)!, mode: 0o4755 }]),
    'a member under another one': () => tar([...parts, { ...one, path: 'installer.cjs/x' }]),
    'a member in the place of a folder': () => tar([...parts, { ...one, path: 'sources' }]),
    'a climbing path': () => tar([...parts, { ...one, path: '../escaped' }]),
    'a path that climbs inside': () => tar([...parts, { ...one, path: 'rpms/../../escaped' }]),
    'an absolute path': () => tar([...parts, { ...one, path: '/escaped' }]),
    'an empty path': () => tar([...parts, { ...one, path: '' }]),
    'a path with a control character': () => tar([...parts, { ...one, path: 'a\u001Bb' }]),
    'a symbolic link': () =>
      tar([
        ...parts,
        {
          ...one,
          header: (block) => {
            block.write('2', 156);
            block.write('/etc/passwd', 157);
          },
        },
      ]),
    'a hard link': () =>
      tar([
        ...parts,
        {
          ...one,
          header: (block) => {
            block.write('1', 156);
            block.write('bundle.json', 157);
          },
        },
      ]),
    'a directory': () => tar([...parts, { ...one, header: (block) => void block.write('5', 156) }]),
    'a device': () => tar([...parts, { ...one, header: (block) => void block.write('3', 156) }]),
    'a pax header': () =>
      tar([
        {
          path: 'pax',
          body: Buffer.from('17 path=escaped\n'),
          header: (block) => void block.write('x', 156),
        },
        ...parts,
      ]),
    'a GNU long name': () => tar([...parts, { ...one, header: (block) => void block.write('L', 156) }]),
    'an owner': () => tar([...parts, { ...one, header: (block) => void block.write('0000001', 108) }]),
    'a user name': () => tar([...parts, { ...one, header: (block) => void block.write('root', 265) }]),
    'a time': () => tar([...parts, { ...one, header: (block) => void block.write('00000000001', 136) }]),
    'a ustar prefix': () => tar([...parts, { ...one, header: (block) => void block.write('..', 345) }]),
    'a base-256 size': () =>
      tar([...parts, { ...one, header: (block) => void block.write('\u0080', 124, 'latin1') }]),
    'a size of 8 GiB that is not there': () =>
      tar([...parts, { ...one, header: (block) => void block.write('77777777777', 124) }]),
    'garbage in the padding': () => {
      const all = Buffer.from(bytes);
      all[BLOCK_BYTES + parts[0]!.body.length] = 1;
      return all;
    },
    'garbage behind the end': () => Buffer.concat([bytes, Buffer.from('x')]),
    'another archive behind the end': () => Buffer.concat([bytes, bytes]),
    'more zeros behind the end': () => Buffer.concat([bytes, Buffer.alloc(BLOCK_BYTES)]),
    'fewer zeros at the end': () => bytes.subarray(0, bytes.length - BLOCK_BYTES),
    'bundle.json in the second place': () => tar([parts[1]!, parts[0]!, ...parts.slice(2)]),
    'no bundle.json': () => tar(parts.slice(1)),
    'a bundle.json of 17 MiB': () =>
      tar([{ path: 'bundle.json', body: Buffer.alloc(MAX_CONTENTS_BYTES + 1, 0x20) }, ...parts.slice(1)]),
    'a bundle.json that is no JSON': () =>
      tar([{ path: 'bundle.json', body: Buffer.from('{') }, ...parts.slice(1)]),
    'a bundle.json of another form': () => first((contents) => ({ ...contents, airbundle: 2 })),
    'a bundle.json with an unknown field': () => first((contents) => ({ ...contents, run: 'x' })),
    'a bundle.json that names another runtime': () =>
      first((contents) => ({ ...contents, runtime: { ...contents.runtime, path: 'runtime/other' } })),
    'a bundle.json that speaks of an RPM that is not there': () =>
      first((contents) => ({
        ...contents,
        rpms: [
          {
            path: 'rpms/x.rpm',
            nevra: { name: 'x', epoch: 0, version: '1', release: '1', arch: 'noarch' },
            signer: 'A'.repeat(40),
            licence: '',
            summary: '',
            sourceRpm: '',
            origin: { repository: '', path: '' },
          },
        ],
      })),
    'nothing in it': () => Buffer.alloc(0),
    'nothing but zeros': () => Buffer.alloc(10_240),
    'random bytes': () => Buffer.from(Array.from({ length: 2048 }, (_, at) => (at * 7919) % 256)),
  };

  it.each(Object.keys(hostile))('with %s is refused, although it is signed so', async (what) => {
    expect(await refused(hostile[what]!())).not.toBe('');
    expect(readdirSync(host.root).sort()).toEqual(['stage', 'x.tar']);
  });

  it('that is missing, a link, a folder or a FIFO is refused without waiting', async () => {
    const at = (kind: string) => unpack(host, `/${kind}`, sha256Of(bytes), '/stage');
    mkdirSync(path.join(host.root, 'folder'));
    symlinkSync('/etc/passwd', path.join(host.root, 'link'));
    const fifo = (await import('node:child_process')).spawnSync('mkfifo', [path.join(host.root, 'fifo')]);
    expect(fifo.status).toBe(0);
    for (const kind of ['none', 'folder', 'link', 'fifo'])
      await expect(at(kind)).rejects.toMatchObject({ code: 'BAD_PAYLOAD', exit: 4 });
  });
});
