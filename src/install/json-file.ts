import type { ReadHost } from '../host/host.js';
import { plain } from '../model/plain.js';
import type { z } from 'zod';

export type JsonFile<T> =
  | { readonly value: T; readonly problem?: undefined }
  | { readonly problem: string; readonly details: readonly string[] };

/**
 * A JSON document that somebody else may have written: a regular file of at most `maxBytes`, strictly of one
 * form. Says what is wrong; whoever asked knows what that means.
 */
export async function readJsonFile<T>(
  host: ReadHost,
  path: string,
  schema: z.ZodType<T>,
  maxBytes: number,
): Promise<JsonFile<T>> {
  const wrong = (problem: string, details: readonly string[] = []): JsonFile<T> => ({ problem, details });
  const real = (await host.realpath(path)) ?? path;
  const facts = await host.lstat(real);
  if (facts === undefined) return wrong('there is no such file');
  if (facts.kind !== 'file') return wrong('this is not a regular file');
  if (facts.sizeBytes > maxBytes)
    return wrong(`this has ${String(facts.sizeBytes)} bytes; at most ${String(maxBytes)} are read`);
  let value: unknown;
  try {
    value = JSON.parse((await host.read(real))?.toString('utf8') ?? '');
  } catch {
    return wrong('this is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { value: parsed.data };
  return wrong(
    'this does not have the form that this version reads',
    parsed.error.issues
      .slice(0, 10)
      .map((issue) => plain(`${issue.path.map(String).join('.')}: ${issue.message}`).slice(0, 300)),
  );
}
