import { scryptSync } from 'node:crypto';

/** N, r and p of scrypt: about 50 ms a guess. Eight characters can be guessed; not many times a second. */
const COST = { N: 2 ** 14, r: 8, p: 1 } as const;
const BYTES = 32;

/**
 * What a jump host sends instead of a secret that nodes share, so that a node can say whether it has the same one.
 * @param salt hex, drawn anew for each question
 * @returns hex
 */
export function proofOf(secret: string, salt: string): string {
  return scryptSync(secret, Buffer.from(salt, 'hex'), BYTES, COST).toString('hex');
}
