import { z } from 'zod';
import { Sha256 } from '../model/grammar.js';
import { FloorSchema } from './floor.js';
import { ReceiptSchema } from './receipt.js';

const Text = z.string().max(4096);
const Count = z.int().min(0);
const Paths = z.array(Text).max(100_000);

const FileState = z.strictObject({
  /** SHA-256, or a guarded digest where the file may hold a secret. */
  digest: z.string().regex(/^(?:[0-9a-f]{64}|scrypt:[0-9a-f]{64})$/),
  mode: z.int().min(0).max(0o7777),
  uid: Count,
  gid: Count,
});

const FolderState = z.strictObject({
  kind: z.enum(['file', 'directory', 'link', 'other']),
  mode: z.int().min(0).max(0o7777),
  uid: Count,
  gid: Count,
});

const FactsSchema = z.strictObject({
  os: z.strictObject({ id: Text, release: Text, name: Text }),
  arch: Text,
  cpus: Count,
  /** "name epoch version release arch", as in the rpmdb. */
  installed: z
    .array(
      z
        .string()
        .max(1024)
        .regex(/^\S+ \d{1,9} \S+ \S+ \S+$/),
    )
    .max(100_000),
  users: z.record(Text, z.strictObject({ uid: Count, gid: Count })),
  groups: z.record(Text, Count),
  files: z.record(Text, FileState),
  links: z.record(Text, Text),
  /** A list in inventories of before their modes were read. */
  directories: z.union([
    z.record(Text, FolderState.nullable()),
    Paths.transform((paths): Record<string, null> => Object.fromEntries(paths.map((path) => [path, null]))),
  ]),
  /** Absent in inventories of before these were asked. */
  parents: z.record(Text, FolderState).default({}),
  present: Paths.default([]),
  /** Lines that may hold a secret are masked. */
  texts: z.record(Text, z.string().max(512 * 1024)),
  sysctl: z.record(Text, Text),
  firewall: z.strictObject({ firewalld: Text, iptables: Text }),
  units: z.record(Text, z.strictObject({ active: Text, enabled: Text, fragment: Text })),
  owners: z.record(Text, Text),
  freeBytes: Count,
  mounts: z.array(z.strictObject({ point: Text, options: z.array(Text).max(100) })).max(1000),
  noexec: Paths,
  readOnly: Paths,
  listening: Paths,
  interfaces: z.record(Text, z.array(Text).max(10_000)),
  /** Absent in inventories of before these were asked. */
  additions: Paths.default([]),
  edited: Paths.default([]),
  selinux: Text,
});

/** What a node says of itself, for a plan that is made elsewhere: docs/reference/plan.md. */
export const InventorySchema = z.strictObject({
  'airbundle-inventory': z.literal(1),
  /** UTC. */
  takenAt: Text,
  /** What the node was asked; null: without a bundle. */
  bundle: z.strictObject({ name: Text, version: Text, digest: Sha256 }).nullable(),
  node: Text.nullable(),
  siteDigest: Sha256.nullable(),
  asked: z.strictObject({
    files: Paths,
    links: Paths,
    directories: Paths,
    /** Absent in inventories of before they were asked about: those do not tell who could replace a folder. */
    parents: Paths.optional(),
    present: Paths.default([]),
    texts: Paths,
    sysctl: Paths,
    units: Paths,
    owners: Paths,
    /** Absent in inventories of before they were asked about by name: those know what the node listed. */
    accounts: Paths.optional(),
  }),
  facts: FactsSchema,
  /** By fingerprint; `signers` of the trusted keys have to have signed. */
  trust: z.strictObject({
    trusted: z.array(Sha256).max(1000),
    removed: z.array(Sha256).max(1000),
    signers: z.int().min(1).max(99),
  }),
  /** The highest release of each product that was ever committed here. */
  floor: FloorSchema,
  /** What is committed, without the digests of configuration files. */
  receipt: ReceiptSchema.nullable(),
  /** What killed runs left. */
  unsettled: z.strictObject({ begun: z.boolean(), packages: Paths, displaced: Paths, added: Paths }),
  /** The bundle's RPMs that an isolated build has to bring to this node; null: rpm was not asked. */
  lacking: Paths.nullable(),
  /**
   * What `rpm --test` said to these packages of the bundle, and what they obsolete here (absent in inventories of
   * before this was asked); null: it was not asked.
   */
  rpmTest: z.strictObject({ packages: Paths, problems: Paths, obsoletes: Paths.default([]) }).nullable(),
});
export type Inventory = z.infer<typeof InventorySchema>;
