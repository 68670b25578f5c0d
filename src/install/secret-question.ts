import { usageError } from '../errors.js';
import type { SecretQuestion } from '../model/node-status.js';
import { SecretQuestionSchema } from '../model/node-status.js';

const MAX_BYTES = 4096;

/** The one line of JSON on stdin with which a jump host asks. @throws BundleError exit 2 */
export async function askedSecret(input: AsyncIterable<Buffer> = process.stdin): Promise<SecretQuestion> {
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of input) {
    pieces.push(piece);
    sizeBytes += piece.length;
    if (sizeBytes > MAX_BYTES) break;
  }
  const parsed = SecretQuestionSchema.safeParse(fromJson(Buffer.concat(pieces).toString('utf8')));
  if (parsed.success) return parsed.data;
  throw usageError({
    code: 'BAD_QUESTION',
    message:
      '--compare-secret takes one line of JSON on stdin: {"salt": 32 hex digits, "proof": 64 hex digits}',
    hint: 'airbundle status --site site.yaml asks so from a jump host; by hand leave --compare-secret out.',
  });
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
