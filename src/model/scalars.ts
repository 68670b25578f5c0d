import { z } from 'zod';

/* Numbers, addresses and times as a site writes them; shared by site.ts and values.ts. */

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';

/** Source of a regular expression for a dotted quad without leading zeros. */
export const IPV4 = `${OCTET}(?:\\.${OCTET}){3}`;

/** `500ms`, `5s`, `10m` or `2h`: at most 24 hours, always with its unit. */
export const Duration = z
  .string({ error: 'must be a duration with its unit: 500ms, 5s, 10m or 2h' })
  .regex(/^[1-9][0-9]{0,7}(?:ms|s|m|h)$/, 'must be a duration with its unit: 500ms, 5s, 10m or 2h')
  .refine((text) => durationMs(text) <= 24 * 3_600_000, 'must be at most 24h')
  .brand<'Duration'>();
export type Duration = z.infer<typeof Duration>;

/** @param text a Duration */
export function durationMs(text: string): number {
  const unit = /(?:ms|s|m|h)$/.exec(text)?.[0] ?? 'ms';
  const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[unit] ?? 1;
  return Number.parseInt(text, 10) * unitMs;
}

export const Port = z
  .int('must be a whole number: a port from 1 to 65535')
  .min(1, 'must be a port from 1 to 65535')
  .max(65535, 'must be a port from 1 to 65535');

/** A plain file name next to the site file. */
export const FileName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'must be the plain name of a file next to the site file');
