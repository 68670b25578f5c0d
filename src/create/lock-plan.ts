import type { Lock, LockedRpm, LockedSource } from '../model/lock.js';
import { requestOf } from '../model/lock.js';
import type { Manifest } from '../model/manifest.js';
import { byCodePoint, formatNevra } from '../model/nevra.js';
import { plain } from '../model/plain.js';
import { runtimeOrigin } from './runtime.js';

/** What is to be resolved anew although the lock still fits: everything, or these components. */
export type Update = 'all' | readonly string[];

/** What stays of a lock, and why the rest does not. */
export interface LockPlan {
  /** `exact`: the RPM request is the locked one, so the set is too. Otherwise versions to keep where they fit. */
  readonly rpms: { readonly exact: boolean; readonly pins: readonly LockedRpm[] };
  readonly sources: readonly LockedSource[];
  readonly runtime: Lock['runtime'] | undefined;
  /** What of the lock does not answer the manifest; empty when it fits. `update` is not counted. */
  readonly differences: readonly string[];
}

/**
 * Compares a lock with its manifest, part by part: what a change does not touch keeps its pin.
 * Pure. A repository's url is no part of it, so that a mirror can be used.
 */
export function planLock(manifest: Manifest, lock: Lock | undefined, update: Update = []): LockPlan {
  if (lock === undefined)
    return { rpms: { exact: false, pins: [] }, sources: [], runtime: undefined, differences: [] };
  const request = requestDifferences(manifest, lock);
  const runtime = runtimeDifferences(manifest, lock);
  const sources = new Map(
    manifest.components.map((component) => [component.name, sourceDifferences(component, lock)]),
  );
  const removed = lock.sources
    .filter(({ component }) => !sources.has(component))
    .map(({ component }) => `${component}: only in the lock`);
  const differences = [...request, ...removed, ...[...sources.values()].flat(), ...runtime];
  if (update === 'all')
    return { rpms: { exact: false, pins: [] }, sources: [], runtime: undefined, differences };

  const renewed = new Set(
    manifest.components.filter(({ name }) => update.includes(name)).flatMap(({ packages }) => packages),
  );
  return {
    rpms: {
      exact: request.length === 0 && renewed.size === 0,
      pins: lock.rpms.filter(({ nevra }) => !renewed.has(nevra.name)),
    },
    sources: lock.sources.filter(
      ({ component }) => sources.get(component)?.length === 0 && !update.includes(component),
    ),
    runtime: runtime.length === 0 ? lock.runtime : undefined,
    differences,
  };
}

function requestDifferences(manifest: Manifest, lock: Lock): string[] {
  const wanted = requestOf(manifest);
  const { requested } = lock;
  return [
    ...differs('target', requested.target, wanted.target),
    ...differs('repositories', requested.repositories.join(' '), wanted.repositories.join(' ')),
    ...without(wanted.packages, requested.packages).map((name) => `package ${name}: only in the manifest`),
    ...without(requested.packages, wanted.packages).map((name) => `package ${name}: only in the lock`),
  ];
}

function sourceDifferences({ name, source }: Manifest['components'][number], lock: Lock): string[] {
  const locked = lock.sources.find(({ component }) => component === name);
  if (locked === undefined) return [`${name}: only in the manifest`];
  return [
    ...differs(`${name}: source: git`, locked.url, source.git),
    ...differs(`${name}: source: ref`, locked.ref, source.ref),
    ...(source.commit === undefined ? [] : differs(`${name}: source: commit`, locked.commit, source.commit)),
  ];
}

function runtimeDifferences(manifest: Manifest, lock: Lock): string[] {
  const wanted = runtimeOrigin(manifest.runtime);
  const { runtime } = lock;
  return [
    ...differs('runtime', runtime.origin, wanted.origin),
    ...differs('runtime: version', runtime.version, wanted.version),
    ...differs(
      'npm' in manifest.runtime ? 'runtime: integrity' : 'runtime: sha256',
      runtime.pinned,
      wanted.pinned,
    ),
    ...differs('runtime: path', runtime.path, wanted.path),
  ];
}

/** What a lock has that an older one has not, one line for each; made to be read. */
export function lockChanges(before: Lock | undefined, after: Lock): string[] {
  if (before === undefined) return [];
  const rpm = ({ nevra }: LockedRpm): string => `${nevra.name}.${nevra.arch}`;
  const parts: [string, Map<string, string>, Map<string, string>][] = [
    [
      'RPM',
      new Map(before.rpms.map((one) => [rpm(one), `${formatNevra(one.nevra)} ${one.sha256}`])),
      new Map(after.rpms.map((one) => [rpm(one), `${formatNevra(one.nevra)} ${one.sha256}`])),
    ],
    [
      'source',
      new Map(before.sources.map((one) => [one.component, `${one.ref} ${one.commit} ${one.sha256}`])),
      new Map(after.sources.map((one) => [one.component, `${one.ref} ${one.commit} ${one.sha256}`])),
    ],
    [
      'runtime',
      new Map([['node', `${before.runtime.version} ${before.runtime.sha256}`]]),
      new Map([['node', `${after.runtime.version} ${after.runtime.sha256}`]]),
    ],
  ];
  return parts.flatMap(([what, old, now]) =>
    [...new Set([...old.keys(), ...now.keys()])].sort(byCodePoint).flatMap((name) => {
      const [was, is] = [old.get(name), now.get(name)];
      if (was === is) return [];
      if (was === undefined) return [plain(`${what} ${name}: added ${is ?? ''}`)];
      if (is === undefined) return [plain(`${what} ${name}: removed`)];
      return [plain(`${what} ${name}: ${was} → ${is}`)];
    }),
  );
}

/**
 * What a lock says otherwise than the one that was just collected for the same request, one line for each; the order
 * of its lists is no fact.
 */
export function factDifferences(before: Lock, now: Lock): string[] {
  const [locked, collected] = [factsOf(before), factsOf(now)];
  return [...new Set([...locked.keys(), ...collected.keys()])].sort(byCodePoint).flatMap((fact) => {
    const [was, is] = [locked.get(fact), collected.get(fact)];
    return was === is ? [] : [`${plain(fact)}: locked ${shown(was)}, now ${shown(is)}`];
  });
}

function factsOf({ rpms, sources, runtime }: Lock): Map<string, string> {
  const of = (what: string, fields: object): [string, string][] =>
    Object.entries(fields).map(([field, value]) => [`${what}: ${field}`, String(value)]);
  return new Map([
    ...rpms.flatMap(({ nevra, ...fields }) => of(`RPM ${formatNevra(nevra)}`, fields)),
    ...sources.flatMap(({ component, ...fields }) => of(`source ${component}`, fields)),
    ...of('runtime', runtime),
  ]);
}

function shown(fact: string | undefined): string {
  return fact === undefined ? 'nothing' : `"${plain(fact)}"`;
}

function differs(what: string, locked: string, wanted: string): string[] {
  return locked === wanted ? [] : [plain(`${what}: locked "${locked}", the manifest says "${wanted}"`)];
}

function without(all: readonly string[], others: readonly string[]): string[] {
  return all.filter((name) => !others.includes(name));
}
