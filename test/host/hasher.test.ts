import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Hasher } from '../../src/host/hasher.js';
import { hashHere, startHasher } from '../../src/host/hasher.js';

const PIECES = ['first', 'the second, which is longer', '', 'third'];

async function digestWith(hasher: Hasher): Promise<string> {
  try {
    for (const [index, piece] of PIECES.entries()) {
      const slot = index % hasher.slots.length;
      const length = hasher.slots[slot]?.write(piece) ?? 0;
      await hasher.update(slot, length);
    }
    return await hasher.digest();
  } finally {
    await hasher.close();
  }
}

describe('hashing a payload piece by piece', () => {
  const wanted = createHash('sha256').update(PIECES.join('')).digest('hex');

  it('gives the digest of the whole, in a second thread', async () => {
    expect(await digestWith(startHasher(2, 64))).toBe(wanted);
  });

  it.each([
    ['in a second thread', startHasher],
    ['without one', hashHere],
  ])('gives the digests of ranges beside it, %s', async (_, start) => {
    const hasher = start(2, 64);
    try {
      hasher.slots[1]?.write('one two');
      const ranges = [
        { from: 0, to: 3 },
        { from: 4, to: 7 },
        { from: 7, to: 7 },
      ];
      const of = (text: string): string => createHash('sha256').update(text).digest('hex');
      expect(await hasher.update(1, 7, ranges)).toEqual(['one', 'two', ''].map(of));
      expect(hasher.backlog()).toBe(0);
      expect(await hasher.digest()).toBe(of('one two'));
    } finally {
      await hasher.close();
    }
  });

  it('tells how much the second thread has yet to do', async () => {
    const hasher = startHasher(2, 64);
    try {
      const under = [hasher.update(0, 1), hasher.update(1, 1)];
      expect(hasher.backlog()).toBe(2);
      await Promise.all(under);
      expect(hasher.backlog()).toBe(0);
    } finally {
      await hasher.close();
    }
  });

  it('gives the same without one', async () => {
    expect(await digestWith(hashHere(2, 64))).toBe(wanted);
  });
});
