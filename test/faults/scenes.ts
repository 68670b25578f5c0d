import { DESK } from '../e2e/install-lab.js';
import type { Miniature } from './miniature.js';

/** A folder with the RPM that the new bundle replaces. */
export const OLD_RPMS = '/opt/faults/old-rpms';

/** A command that is broken off, and what has to come of it. */
export interface Scene {
  /** The state from which it starts. */
  readonly state: string;
  readonly command: string;
  /** What is typed afterwards, where it is not the same command again. */
  readonly then?: string;
  /** The state in which it has to end. */
  readonly end: string;
}

const NAMES = [
  /** The first installation, of the new bundle, on a node that has something else in the place of one file. */
  'fresh',
  /** From the old bundle, which is running, to the new one, which replaces one of its packages and adds another. */
  'old',
  /** The same two, taken back instead of typed again. */
  'fresh-back',
  'old-back',
  /** From the new bundle to the old one; and from both to a node without them. */
  'rollback',
  'uninstall',
] as const;

export type SceneName = (typeof NAMES)[number];
export type Scenes = Readonly<Record<SceneName, Scene>>;

export const isScene = (name: string | undefined): name is SceneName => NAMES.some((known) => known === name);

/** @param key its fingerprint */
export function scenesOf(
  { old, new: next }: Pick<Miniature, 'old' | 'new'>,
  key: string,
): Scenes & { readonly first: Scene } {
  const site = `--site ${DESK}/site.yaml --node lb1 -y`;
  const trust = `--key ${DESK}/key.pem --fingerprint ${key}`;
  const at = (stem: string, words: string): string => `cd /media/usb/${stem} && sh install.sh ${words}`;
  const first = { state: 'fresh', command: at(old.stem, `${trust} ${site}`), end: 'old' };
  const fresh = { state: 'fresh', command: at(next.stem, `${trust} ${site}`), end: 'fresh-end' };
  const upgrade = { state: 'old', command: at(next.stem, `${site} --allow-upgrade`), end: 'old-end' };
  // By its digest: without it, a rollback that is typed again once it is done takes back one run more.
  const toOld = `airbundle rollback --to $(sha256sum </media/usb/${old.stem}/${old.stem}.sha256 | cut -c 1-64) --old-rpms ${OLD_RPMS} -y`;
  return {
    first,
    fresh,
    old: upgrade,
    // The command may not be there yet, or not any more: install.sh brings it.
    'fresh-back': { ...fresh, then: at(next.stem, `rollback ${trust} -y`), end: 'fresh' },
    'old-back': { ...upgrade, then: toOld, end: 'old' },
    rollback: { state: 'old-end', command: toOld, end: 'rollback-end' },
    uninstall: { state: 'old-end', command: at(next.stem, `uninstall ${trust} -y`), end: 'uninstall-end' },
  };
}
