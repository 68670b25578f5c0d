import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BLOCK_BYTES,
  paddingBytes,
  parseUstarHeader,
  RECORD_BYTES,
  trailerBytes,
  ustarHeader,
} from '../../src/model/ustar.js';

const PATH = fc
  .array(fc.constantFrom('a', 'Z', '0', '.', '_', '+', '~', '-', '/'), { minLength: 1, maxLength: 100 })
  .map((letters) => letters.join(''));
const MEMBER = fc.record({
  path: PATH,
  mode: fc.constantFrom(0o644, 0o755),
  sizeBytes: fc.integer({ min: 0, max: 8 ** 11 - 1 }),
});

describe('a ustar header', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(MEMBER, (member) => {
        expect(parseUstarHeader(ustarHeader(member))).toEqual(member);
      }),
    );
  });

  it('with any one byte changed is either refused or says something else', () => {
    fc.assert(
      fc.property(MEMBER, fc.nat(BLOCK_BYTES - 1), fc.integer({ min: 1, max: 255 }), (member, at, flip) => {
        const block = ustarHeader(member);
        block[at] = (block[at] ?? 0) ^ flip;
        const read = parseUstarHeader(block);
        expect(read).not.toEqual(member);
      }),
    );
  });

  it.each([
    ['a path of 101 characters', 'a'.repeat(101), 0],
    ['an empty path', '', 0],
    ['a space', 'a b', 0],
    ['Korean', '한글', 0],
    ['8 GiB', 'a', 8 ** 11],
    ['a negative size', 'a', -1],
  ])('cannot hold %s', (_, name, sizeBytes) => {
    expect(() => ustarHeader({ path: name, mode: 0o644, sizeBytes })).toThrow(
      expect.objectContaining({ exit: 3, hint: expect.any(String) as string }),
    );
  });

  it('is the one that GNU tar writes, and an archive of them is one that it reads', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-ustar-'));
    try {
      const body = Buffer.from('hello\n');
      writeFileSync(path.join(folder, 'name'), body, { mode: 0o644 });
      const gnu = execFileSync(
        'tar',
        [
          '-C',
          folder,
          '--format=ustar',
          '--owner=:0',
          '--group=:0',
          '--numeric-owner',
          '--mtime=@0',
          '-cf',
          '-',
          'name',
        ],
        { maxBuffer: RECORD_BYTES * 4 },
      );
      const bodyBytes = BLOCK_BYTES + body.length + paddingBytes(body.length);
      const ours = Buffer.concat([
        ustarHeader({ path: 'name', mode: 0o644, sizeBytes: body.length }),
        body,
        Buffer.alloc(paddingBytes(body.length)),
        Buffer.alloc(trailerBytes(bodyBytes)),
      ]);
      expect(ours.equals(gnu)).toBe(true);
      writeFileSync(path.join(folder, 'ours.tar'), ours);
      execFileSync('tar', ['-C', folder, '-xf', path.join(folder, 'ours.tar')]);
      expect(readFileSync(path.join(folder, 'name'))).toEqual(body);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('takes a header whose size has a sign for no header of ours', () => {
    const block = ustarHeader({ path: 'a', mode: 0o644, sizeBytes: 0 });
    block.write('-0000000001', 124, 'latin1');
    expect(parseUstarHeader(block)).toBeUndefined();
  });

  it('ends an archive with two blocks, filled up to a record', () => {
    fc.assert(
      fc.property(fc.nat(1000), (blocks) => {
        const bytes = trailerBytes(blocks * BLOCK_BYTES);
        expect(bytes).toBeGreaterThanOrEqual(2 * BLOCK_BYTES);
        expect((blocks * BLOCK_BYTES + bytes) % RECORD_BYTES).toBe(0);
        expect(bytes).toBeLessThan(RECORD_BYTES + 2 * BLOCK_BYTES);
      }),
    );
  });
});
