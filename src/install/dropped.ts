import type { Configuration } from '../configure/types.js';
import type { Host } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import { byCodePoint } from '../model/nevra.js';
import type { Receipt } from './receipt.js';

/*
 * What earlier releases or sites put on a node and the present ones do not: it stays, and what it configures stays in
 * force. Nothing here removes it: uninstall and rollback do, and a person who was told of it.
 */

type Components = Pick<Contents, 'components'>;

const pathsOf = (entries: readonly { readonly path: string }[]): string[] => entries.map(({ path }) => path);

/** Paths that a node is asked about: those that may turn out to be dropped, whatever is configured now. Pure. */
export function mayBeDropped(receipt: Receipt | undefined, contents: Components | undefined): string[] {
  if (receipt === undefined) return [];
  return [
    ...pathsOf(receipt.configured),
    ...(receipt.dropped ?? []),
    ...pathsOf([...receipt.files, ...receipt.links].filter(({ component }) => isGone(component, contents))),
  ];
}

/**
 * Those of a receipt's paths that would be nobody's: not of this configuration, nor of a component of this bundle.
 * What a component that is built again no longer makes is known only once it is built. Pure.
 */
export function droppedBy(
  receipt: Receipt | undefined,
  { configuration, contents }: { readonly configuration: Configuration; readonly contents: Components },
): string[] {
  if (receipt === undefined) return [];
  const { components } = contents;
  return without(mayBeDropped(receipt, contents), [
    ...pathsOf(configuration.files),
    ...components.flatMap(({ files, links }) => [...files, ...pathsOf(links)]),
    ...pathsOf([...receipt.files, ...receipt.links].filter(({ component }) => !isGone(component, contents))),
  ]);
}

/** For the next receipt: what the last one names, is still there, and is not a part of what was just installed. */
export async function droppedNow(
  host: Pick<Host, 'lstat'>,
  receipt: Receipt | undefined,
  installed: readonly { readonly path: string }[],
): Promise<string[]> {
  if (receipt === undefined) return [];
  const recorded = [...receipt.configured, ...receipt.files, ...receipt.links];
  const candidates = without([...pathsOf(recorded), ...(receipt.dropped ?? [])], pathsOf(installed));
  return stillThere(host, candidates);
}

export async function stillThere(host: Pick<Host, 'lstat'>, paths: readonly string[]): Promise<string[]> {
  const there = await Promise.all(
    paths.map(async (path) => ((await host.lstat(path)) === undefined ? [] : [path])),
  );
  return there.flat();
}

/** One sentence with the cure for each. Pure. */
export function droppedNotes(dropped: readonly string[], present: ReadonlySet<string>): string[] {
  const left = dropped.filter((path) => present.has(path));
  return [
    ...left.slice(0, MOST_LINES).map((path) => {
      const unit = /^\/etc\/systemd\/system\/([^/]+\.[a-z]+)$/.exec(path)?.[1];
      const cure =
        unit === undefined
          ? `rm ${path}`
          : `systemctl disable --now ${unit} && rm ${path} && systemctl daemon-reload`;
      return `${path} is left of an earlier installation and stays as it is: this one has nothing at its place (${cure})`;
    }),
    ...(left.length > MOST_LINES
      ? [`${String(left.length - MOST_LINES)} more files are left of earlier installations`]
      : []),
  ];
}

const MOST_LINES = 20;

const isGone = (component: string, contents: Components | undefined): boolean =>
  contents !== undefined && !contents.components.some(({ name }) => name === component);

function without(paths: readonly string[], taken: readonly string[]): string[] {
  const known = new Set(taken);
  return [...new Set(paths)].filter((path) => !known.has(path)).sort(byCodePoint);
}
