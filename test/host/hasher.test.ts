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

  it('gives the same without one', async () => {
    expect(await digestWith(hashHere(2, 64))).toBe(wanted);
  });
});
