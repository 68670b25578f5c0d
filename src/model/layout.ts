/** Every path and file name of a bundle and of the target, in one place. */

/** The files of a bundle folder; X is the stem (checksums.ts). */
export const folder = {
  payload: (stem: string): string => `${stem}.tar`,
  checksums: (stem: string): string => `${stem}.sha256`,
  /** @param keyId first 16 hex digits of the SHA-256 of the public key's SPKI DER */
  signature: (stem: string, keyId: string): string => `${stem}.sha256.${keyId}.sig`,
  installer: 'install.sh',
} as const;

/** The members of X.tar. */
export const member = {
  contents: 'bundle.json',
  runtime: 'runtime/node',
  installer: 'installer.cjs',
  /** What a jump host runs; bundles of before it have none. */
  deploy: 'deploy.cjs',
  rpm: (fileName: string): string => `rpms/${fileName}`,
  source: (component: string, commit: string): string => `sources/${component}-${commit.slice(0, 12)}.tar`,
} as const;

/** The target's own places. All are root's; `state` is 0700. */
export const target = {
  trust: '/etc/airbundle/trust',
  /** Keys that were trusted here and are not any more: remembered, never accepted. */
  removedKeys: '/etc/airbundle/trust/removed',
  /** How many of the trusted keys must have signed: one number; absent: 1. */
  threshold: '/etc/airbundle/trust/threshold',
  state: '/var/lib/airbundle',
  /** The copy of the medium; what is verified here is what is used. */
  stage: '/var/lib/airbundle/stage',
  build: '/var/lib/airbundle/build',
  /**
   * Where the isolated way builds: root's alone (0700), for the root's own programs are of the bundle's age and
   * some are setuid. No component can be called so.
   */
  isolated: '/var/lib/airbundle/build/_isolated',
  buildRoot: '/var/lib/airbundle/build/_isolated/root',
  log: '/var/log/airbundle',
  journal: '/var/lib/airbundle/journal.ndjson',
  /** The last committed installation: contents, files with digests, site digest. */
  receipt: '/var/lib/airbundle/receipt.json',
  /** One record a run, each with the hash of the one before; outlives an uninstall. */
  receipts: '/var/lib/airbundle/receipts',
  /** The highest committed sequence of each product; outlives the receipt. */
  floor: '/var/lib/airbundle/floor.json',
  /** What the RPM step that is at work unpacks (unpacked.ts). */
  unpacking: '/var/lib/airbundle/unpacking.json',
  /** Displaced files of a run, under their own absolute path. */
  backup: '/var/lib/airbundle/backup',
  lock: '/run/airbundle.lock',
  libexec: '/usr/libexec/airbundle',
  runtime: '/usr/libexec/airbundle/node',
  installer: '/usr/libexec/airbundle/installer.cjs',
  deploy: '/usr/libexec/airbundle/deploy.cjs',
  /** The command; `/usr/sbin/bundle` too where that name is free. */
  command: '/usr/sbin/airbundle',
  commandAlias: '/usr/sbin/bundle',
} as const;

/** Also under the names by which EL7's links reach them: /sbin is /usr/sbin, /var/run is /run. */
const OWN =
  /^(?:\/(?:etc|var\/lib|var\/log|usr\/libexec)\/airbundle|(?:\/usr)?\/sbin\/(?:air)?bundle|(?:\/var)?\/run\/airbundle[^/]*)(?:\/|$)/;

/** /proc/self/root is the whole node by another name. */
const KERNELS = /^\/(?:proc|sys|dev)(?:\/|$)/;

/** A folder through which all of the above could be reached if it had another name. */
const AROUND = /^\/(?:etc|var|var\/lib|var\/log|var\/run|usr|usr\/libexec|usr\/sbin|sbin|run)$/;

/**
 * Whether nothing that a bundle brings may be at this absolute path: who writes there decides whom the node
 * trusts, or is the program that checks it.
 */
export function isReserved(path: string): boolean {
  return OWN.test(path) || KERNELS.test(path);
}

/** Whether a link with this target would give such a path a name that is not seen to be one. */
export function leadsToReserved(to: string): boolean {
  return OWN.test(to) || AROUND.test(to) || /^\/proc(?:\/|$)/.test(to);
}

export const RESERVED = "is airbundle's own place or the kernel's: a bundle puts nothing there";
