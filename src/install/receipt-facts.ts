import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import type { RunReceipt } from '../model/run-receipt.js';
import type { Plan } from './plan.js';
import { planDocument } from './plan-document.js';
import { planDigest } from './plan-resume.js';
import type { Verified } from './trust.js';

type Facts = Pick<RunReceipt, 'bundle' | 'keys' | 'site' | 'planDigest' | 'verified'>;

/** Pure: what an installation's record says of what was installed and what proved it. @param read the payload was */
export function receiptFacts(
  { checksums, digest, signers }: Verified,
  threshold: number,
  contents: Contents,
  plan: Plan,
  read: boolean,
): Facts {
  const { name, version, sequence } = contents;
  const payload: Sha256 | null = read ? (checksums.files[0]?.sha256 ?? null) : null;
  return {
    bundle: { name, version, sequence, digest },
    keys: { verified: signers.map(({ keyId }) => keyId), threshold },
    site: plan.siteDigest === null ? null : { node: plan.node, digest: plan.siteDigest },
    planDigest: Sha256.parse(planDigest(planDocument(plan))),
    verified: {
      payload,
      members: read ? contents.members.length : 0,
      rpms: Object.fromEntries(
        contents.members
          .filter(({ path }) => read && path.startsWith('rpms/'))
          .map(({ path, sha256 }) => [path, sha256]),
      ),
    },
  };
}
