import { invalidError } from '../errors.js';
import { nearest } from '../model/nearest.js';
import { nodeOf } from '../model/site.js';
import type { Site, VrrpSecret } from '../model/site.js';
import { RENDERERS } from './renderers.js';
import type { Configuration, Refresh } from './types.js';

export type * from './types.js';
export { judgeProxies, parseShowInfoVersion, parseShowStat } from './haproxy-stats.js';
export type { ProxyRow } from './haproxy-stats.js';
export { firewalldCommands } from './firewall.js';

export interface ConfigureGiven {
  /** The manifest's components; one without `configuration` is installed and not configured. */
  readonly components: readonly { readonly name: string; readonly configuration?: string | undefined }[];
  readonly site: Site;
  /** The node's name in the site. */
  readonly node: string;
  /** parseSecret of the site's secretFile; needed when keepalived is configured. */
  readonly secret?: VrrpSecret | undefined;
}

/**
 * Everything that one node needs beyond the built files, as data. Pure and deterministic; the order
 * of `components` does not matter.
 *
 * @throws BundleError exit 3: unknown node, unknown or repeated configuration, missing vrrp or secret
 */
export function configure(given: ConfigureGiven): Configuration {
  const node = nodeOf(given.site, given.node);
  const configured = given.components.flatMap(({ name, configuration }) =>
    configuration === undefined ? [] : [{ name, configuration }],
  );
  const problems = configured.flatMap((component, index) => problemOf(component, configured.slice(0, index)));
  if (problems.length > 0)
    throw invalidError({
      code: 'CONFIGURATION_UNKNOWN',
      message: problems[0] ?? '',
      details: problems.slice(1),
      hint: `Mend "configuration:" in the manifest. Known: ${[...RENDERERS.keys()].join(', ')}.`,
    });

  const present = new Set(configured.map((component) => component.configuration));
  const parts = [...RENDERERS].flatMap(([configuration, render]) => {
    const component = configured.find((candidate) => candidate.configuration === configuration)?.name;
    return component === undefined
      ? []
      : [render({ component, site: given.site, node, secret: given.secret, present })];
  });
  return {
    users: parts.flatMap((part) => part.users),
    directories: unique(parts.flatMap((part) => part.directories)),
    files: parts.flatMap((part) => part.files),
    refreshes: merged(parts.flatMap((part) => part.refreshes)),
    services: parts.flatMap((part) => part.services),
    checks: parts.flatMap((part) => part.checks),
    status: {
      versions: parts.flatMap((part) => part.status.versions),
      vips: parts.flatMap((part) => part.status.vips),
      haproxySockets: parts.flatMap((part) => part.status.haproxySockets),
    },
    firewall: parts.flatMap((part) => part.firewall),
  };
}

interface Configured {
  readonly name: string;
  readonly configuration: string;
}

function problemOf(component: Configured, before: readonly Configured[]): string[] {
  const { name, configuration } = component;
  if (!RENDERERS.has(configuration)) {
    const close = nearest(configuration, [...RENDERERS.keys()]);
    return [
      `component "${name}" wants configuration "${configuration}", which does not exist${close === undefined ? '' : `; did you mean "${close}"?`}`,
    ];
  }
  const other = before.find((candidate) => candidate.configuration === configuration);
  return other === undefined
    ? []
    : [
        `components "${other.name}" and "${name}" both want configuration "${configuration}": they would write the same files`,
      ];
}

function unique<T extends { readonly path: string }>(entries: readonly T[]): T[] {
  return entries.filter((entry, index) => entries.findIndex((other) => other.path === entry.path) === index);
}

/** The same command of two components runs once, for the files of both. */
function merged(refreshes: readonly Refresh[]): Refresh[] {
  const byId = new Map<string, Refresh>();
  for (const refresh of refreshes) {
    const before = byId.get(refresh.id);
    byId.set(
      refresh.id,
      before === undefined ? refresh : { ...before, files: [...before.files, ...refresh.files] },
    );
  }
  return [...byId.values()];
}
