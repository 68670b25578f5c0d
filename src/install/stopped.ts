import type { BundleError } from '../errors.js';
import { stepError } from '../errors.js';

export function stopped(where: string): BundleError {
  return stepError({
    code: 'INTERRUPTED',
    message: 'stopped as asked',
    where,
    hint: 'To go on, run the same command again.',
  });
}
