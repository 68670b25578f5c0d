import { z } from 'zod';
import { BuildWay } from '../model/packages.js';

const Change = z.enum(['new', 'replaced', 'unchanged', 'new or replaced']);

const PlannedPackage = z.strictObject({
  package: z.string(),
  action: z.enum(['install', 'reinstall', 'upgrade', 'same', 'keep newer', 'left out', 'refused']),
  installed: z.string().nullable(),
  sizeBytes: z.int().min(0),
  why: z.string(),
  undo: z.string(),
});
export type PlannedPackage = z.infer<typeof PlannedPackage>;

const PlannedFile = z.strictObject({
  path: z.string(),
  kind: z.enum(['key', 'program', 'built', 'link', 'configuration']),
  component: z.string().nullable(),
  change: Change,
  /** Octal; null where the build decides or for a link. */
  mode: z.string().nullable(),
  owner: z.string(),
  was: z.strictObject({ mode: z.string(), owner: z.string(), digest: z.string() }).nullable(),
  /** Null: not known before the build. */
  digest: z.string().nullable(),
  /** Lines of a unified diff; null where there is none to show. */
  diff: z.array(z.string()).nullable(),
  diffNote: z.string().nullable(),
  /** It is not as the last installation wrote it, and would be replaced. */
  changedByHand: z.boolean().default(false),
  undo: z.string(),
});
export type PlannedFile = z.infer<typeof PlannedFile>;

const PlannedDirectory = z.strictObject({
  path: z.string(),
  change: Change,
  mode: z.string(),
  owner: z.string(),
  undo: z.string(),
});
export type PlannedDirectory = z.infer<typeof PlannedDirectory>;

const PlannedBuild = z.strictObject({
  component: z.string(),
  version: z.string(),
  commit: z.string(),
  uid: z.int(),
  folder: z.string(),
  log: z.string(),
  undo: z.string(),
});
export type PlannedBuild = z.infer<typeof PlannedBuild>;

const PlannedAccount = z.strictObject({
  name: z.string(),
  change: Change,
  home: z.string(),
  shell: z.string(),
  undo: z.string(),
});
export type PlannedAccount = z.infer<typeof PlannedAccount>;

const PlannedService = z.strictObject({
  unit: z.string(),
  active: z.string(),
  enabled: z.string(),
  enable: z.boolean(),
  action: z.enum(['start', 'restart', 'reload', 'none']),
  undo: z.string(),
});
export type PlannedService = z.infer<typeof PlannedService>;

const PlannedSetting = z.strictObject({
  key: z.string(),
  file: z.string(),
  from: z.string().nullable(),
  to: z.string(),
  undo: z.string(),
});
export type PlannedSetting = z.infer<typeof PlannedSetting>;

const PlannedFirewall = z.strictObject({
  state: z.strictObject({ firewalld: z.string(), iptables: z.string() }),
  rules: z.array(
    z.strictObject({ rule: z.string(), commands: z.array(z.array(z.string())), todo: z.string() }),
  ),
});
export type PlannedFirewall = z.infer<typeof PlannedFirewall>;

const Cost = z.strictObject({
  disk: z.array(
    z.strictObject({
      folder: z.string(),
      what: z.string(),
      bytes: z.int().min(0),
      estimate: z.boolean(),
      stays: z.boolean(),
    }),
  ),
  freeBytes: z.int().min(0),
  seconds: z.int().min(0),
  basis: z.literal('estimate'),
});
export type Cost = z.infer<typeof Cost>;

/** What makePlan says beside its steps. */
export const PlanDetailsSchema = z.strictObject({
  packages: z.array(PlannedPackage),
  files: z.array(PlannedFile),
  directories: z.array(PlannedDirectory),
  builds: z.array(PlannedBuild),
  accounts: z.array(PlannedAccount),
  services: z.array(PlannedService),
  sysctl: z.array(PlannedSetting),
  firewall: PlannedFirewall,
  cost: Cost,
});
export type PlanDetails = z.infer<typeof PlanDetailsSchema>;

/** The plan as a document: docs/reference/plan.md. */
export const PlanSchema = z.strictObject({
  'airbundle-plan': z.literal(1),
  bundle: z.strictObject({
    name: z.string(),
    version: z.string(),
    sequence: z.int(),
    digest: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  signature: z.enum(['verified', 'not checked']),
  node: z.string().nullable(),
  siteDigest: z.string().nullable(),
  system: z.strictObject({ name: z.string(), release: z.string(), arch: z.string(), selinux: z.string() }),
  allow: z.strictObject({
    upgrade: z.boolean(),
    protected: z.array(z.string()),
    conflicts: z.array(z.string()),
    takeOver: z.boolean(),
  }),
  newKey: z.strictObject({ keyId: z.string(), fingerprint: z.string() }).nullable(),
  build: z.strictObject({ way: BuildWay, because: z.enum(['manifest', 'flag']) }).nullable(),
  steps: z.array(
    z.strictObject({ id: z.string(), title: z.string(), changes: z.array(z.string()), undo: z.string() }),
  ),
  ...PlanDetailsSchema.shape,
  rpmTest: z.enum(['not needed', 'tried', 'not tried']),
  notes: z.array(z.string()),
  refusals: z.array(z.string()),
});
export type PlanDocument = z.infer<typeof PlanSchema>;
