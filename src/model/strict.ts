import { z } from 'zod';

const KNOWN_KEYS = 'known keys: ';

/**
 * An object that refuses keys it does not know, and says which it knows: readDocument (document.ts)
 * turns that into a "did you mean".
 */
export function strict<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? KNOWN_KEYS + Object.keys(shape).join(' ') : undefined,
  });
}

/** The keys that a `strict` object knows, from the message of its unrecognized_keys issue. */
export function knownKeys(message: string): readonly string[] {
  return message.startsWith(KNOWN_KEYS) ? message.slice(KNOWN_KEYS.length).split(' ').filter(Boolean) : [];
}
