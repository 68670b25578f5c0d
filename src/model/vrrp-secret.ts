import { z } from 'zod';
import { invalidError } from '../errors.js';

/** 1 to 8 characters: keepalived cuts auth_pass at 8, and both nodes would still agree on a shorter secret than was meant. */
export const VrrpSecret = z
  .string()
  .regex(/^[A-Za-z0-9._+=:,/^%*?-]*$/, 'must hold only letters, digits and . _ + = : , / ^ % * ? -')
  .min(1, 'is empty')
  .max(8, 'has more than 8 characters, and VRRP would use only the first 8')
  .brand<'VrrpSecret'>();
export type VrrpSecret = z.infer<typeof VrrpSecret>;

/**
 * The content of the site's `secretFile`: the secret and at most one line end.
 * The secret never appears in the message.
 * @throws BundleError exit 3
 */
export function parseSecret(text: string, file: string): VrrpSecret {
  const parsed = VrrpSecret.safeParse(text.replace(/\r?\n$/, ''));
  if (parsed.success) return parsed.data;
  throw invalidError({
    code: 'SECRET_INVALID',
    message: `the VRRP secret ${parsed.error.issues.map((issue) => issue.message).join('; ')}`,
    where: file,
    hint: 'Write 1 to 8 characters on one line, the same file for every node.',
  });
}
