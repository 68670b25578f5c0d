import { z } from 'zod';

/*
 * What `airbundle status -o json` says: written on the node, read on the jump host. Unknown fields are left out
 * when it is read, so that a jump host understands nodes that are newer than itself.
 */

/** Whether the secret of a VRRP instance is the one whose salted hash was asked about; the secret itself is never told. */
const SecretAnswer = z.enum(['same', 'different', 'none', 'not compared']);

const VrrpInstance = z.object({
  name: z.string(),
  interface: z.string().nullable(),
  virtualRouterId: z.int().nullable(),
  priority: z.int().nullable(),
  advertIntervalSeconds: z.number().nullable(),
  mode: z.enum(['unicast', 'multicast']),
  /** The address that its adverts come from, where the configuration says one. */
  source: z.string().nullable(),
  peers: z.array(z.string()),
  preempt: z.boolean(),
  /** Addresses, without prefix length. */
  vips: z.array(z.string()),
  secret: SecretAnswer,
});
export type VrrpInstance = z.infer<typeof VrrpInstance>;

const Protocol112 = z.object({
  /** As iptables' rules say for adverts of the peers. */
  state: z.enum(['open', 'closed', 'unknown']),
  /** The rule or policy that decides, or why it is not known. */
  because: z.string(),
  /** What systemd says of firewalld.service; "" when there is none. */
  firewalld: z.string(),
});
export type Protocol112 = z.infer<typeof Protocol112>;

const VrrpView = z.object({
  /** What systemd says of keepalived.service. */
  keepalived: z.string(),
  instances: z.array(VrrpInstance),
  protocol112: Protocol112,
});
export type VrrpView = z.infer<typeof VrrpView>;

const BackendRow = z.object({
  proxy: z.string(),
  server: z.string(),
  status: z.string(),
  check: z.string(),
});

const Release = z.object({
  digest: z.string(),
  siteDigest: z.string().nullable(),
  name: z.string(),
  version: z.string(),
});
export type Release = z.infer<typeof Release>;

export const NodeStatusSchema = z.object({
  bundle: z.object({
    name: z.string(),
    version: z.string(),
    sequence: z.int(),
    digest: z.string(),
    keyId: z.string(),
    committedAt: z.string(),
  }),
  node: z.string().nullable(),
  /** SHA-256 of the site file that was installed. */
  siteDigest: z.string().nullable(),
  /** What a rollback of the last committed run goes back to; null: to a node without a bundle, or it is not recorded. */
  previous: Release.nullable(),
  /** Whether that can be gone back to. */
  canGoBack: z.boolean(),
  /** A run that was begun and neither committed nor undone. */
  unfinished: z.object({ kind: z.string(), run: z.string() }).nullable(),
  versions: z.array(z.object({ component: z.string(), text: z.string() })),
  services: z.array(z.object({ unit: z.string(), active: z.string(), enabled: z.string() })),
  vips: z.array(
    z.object({ name: z.string(), address: z.string(), interface: z.string(), here: z.boolean() }),
  ),
  /** null where nothing moves between nodes. */
  vrrp: VrrpView.nullable(),
  backends: z.array(BackendRow),
  /** Installed files that are not as they were installed. */
  drift: z.array(z.string()),
  /** Files of earlier installations that are still there and have no place in this one; older nodes do not tell. */
  left: z.array(z.string()).default([]),
  /** What is not as it should be, one sentence each; empty when all is well. */
  problems: z.array(z.string()),
});
export type NodeStatus = z.infer<typeof NodeStatusSchema>;

/** What status is told on stdin to compare the VRRP secret with. */
export const SecretQuestionSchema = z.strictObject({
  salt: z.string().regex(/^[0-9a-f]{32}$/),
  /** scrypt of the secret with that salt, hex (host/secret-proof.ts). */
  proof: z.string().regex(/^[0-9a-f]{64}$/),
});
export type SecretQuestion = z.infer<typeof SecretQuestionSchema>;
