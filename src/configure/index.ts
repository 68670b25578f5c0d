import { invalidError } from '../errors.js';
import { nearest } from '../model/nearest.js';
import { nodeOf } from '../model/site.js';
import type { Site } from '../model/site.js';
import { renderDeclared } from './declared.js';
import { HAPROXY_STATS } from './haproxy-stats.js';
import type { Origin } from './header.js';
import type { Judge } from './judges.js';
import { RENDERERS } from './renderers.js';
import type { ConfigurableComponent, Secrets } from './secrets.js';
import type { Configuration, Refresh } from './types.js';

export type * from './types.js';
export type { BackendRow, Judge } from './judges.js';
export { describeOpening, firewalldCommands, iptablesCommands } from './firewall.js';
export type { Origin } from './header.js';
export { declaredValues, requiredSecrets } from './secrets.js';

/** By the name that a socket check or a receipt gives. @throws Error for a name of another version */
export function judgeOf(name: string): Judge {
  const judge = JUDGES.get(name);
  if (judge === undefined) throw new Error(`this version knows no judge "${name}"`);
  return judge;
}

const JUDGES: ReadonlyMap<string, Judge> = new Map([['haproxy-stats', HAPROXY_STATS]]);

/** For an installation in which nothing is configured. */
export const NOTHING_CONFIGURED: Configuration = {
  users: [],
  directories: [],
  files: [],
  refreshes: [],
  services: [],
  checks: [],
  status: { versions: [], vips: [], sockets: [] },
  required: [],
  addresses: [],
  firewall: [],
  firewallKind: 'auto',
};

export interface ConfigureGiven {
  /** The manifest's components; one without `configuration` is installed and not configured. */
  readonly components: readonly ConfigurableComponent[];
  readonly site: Site;
  /** The node's name in the site. */
  readonly node: string;
  readonly origin: Origin;
  /** Of every file that requiredSecrets names; none when it names none. */
  readonly secrets?: Secrets | undefined;
}

/**
 * Everything that one node needs beyond the built files, as data. Pure and deterministic; the order
 * of `components` matters only among those that declare their own configuration, which come first:
 * what is behind a load balancer runs before it.
 *
 * @throws BundleError exit 3: unknown node, unknown or repeated configuration, missing vrrp, services,
 *   value or secret, two components with the same file or unit
 */
export function configure(given: ConfigureGiven): Configuration {
  const node = nodeOf(given.site, given.node);
  const named = given.components.flatMap(({ name, configuration }) =>
    typeof configuration === 'string' ? [{ name, configuration }] : [],
  );
  const problems = named.flatMap((component, index) => problemOf(component, named.slice(0, index)));
  if (problems.length > 0)
    throw invalidError({
      code: 'CONFIGURATION_UNKNOWN',
      message: problems[0] ?? '',
      details: problems.slice(1),
      hint: `Mend "configuration:" in the manifest. Known: ${[...RENDERERS.keys()].join(', ')}; or declare it there (docs/guides/writing-a-manifest.md).`,
    });

  const secrets = given.secrets ?? new Map();
  const declared = given.components.flatMap(({ name, configuration }) =>
    configuration === undefined || typeof configuration === 'string'
      ? []
      : [renderDeclared({ component: name, declared: configuration, site: given.site, node, secrets })],
  );
  const present = new Set(named.map((component) => component.configuration));
  const scripts = scriptsOf(given.components);
  const rendered = [...RENDERERS].flatMap(([configuration, render]) => {
    const component = named.find((candidate) => candidate.configuration === configuration)?.name;
    if (component === undefined) return [];
    return [render({ component, site: given.site, node, origin: given.origin, secrets, scripts, present })];
  });
  return joined([...declared, ...rendered]);
}

/** What a site may name as a hook: files that a manifest names one by one, so that a reviewer knows them. */
function scriptsOf(components: readonly ConfigurableComponent[]): ReadonlySet<string> {
  return new Set(
    components.flatMap(({ files = [], configuration }) => [
      ...files.filter((file) => !/[*?{}]/.test(file)),
      ...(configuration === undefined || typeof configuration === 'string'
        ? []
        : configuration.files
            .filter(({ mode }) => (Number.parseInt(mode, 8) & 0o111) !== 0)
            .map(({ path }) => path)),
    ]),
  );
}

function joined(parts: readonly Configuration[]): Configuration {
  const files = parts.flatMap((part) => part.files);
  const services = parts.flatMap((part) => part.services);
  requireOnce(files.map(({ component, path }) => ({ component, what: path })));
  requireOnce(services.map(({ component, unit }) => ({ component, what: unit })));
  return {
    users: parts.flatMap((part) => part.users),
    directories: unique(parts.flatMap((part) => part.directories)),
    files,
    refreshes: merged(parts.flatMap((part) => part.refreshes)),
    services,
    checks: parts.flatMap((part) => part.checks),
    status: {
      versions: parts.flatMap((part) => part.status.versions),
      vips: parts.flatMap((part) => part.status.vips),
      sockets: parts.flatMap((part) => part.status.sockets),
    },
    required: parts
      .flatMap((part) => part.required)
      .filter(({ path }) => !files.some((file) => file.path === path)),
    addresses: parts.flatMap((part) => part.addresses),
    firewall: parts.flatMap((part) => part.firewall),
    firewallKind: parts[0]?.firewallKind ?? 'auto',
  };
}

function requireOnce(made: readonly { readonly component: string; readonly what: string }[]): void {
  for (const [index, { component, what }] of made.entries()) {
    const other = made.slice(0, index).find((earlier) => earlier.what === what);
    if (other === undefined) continue;
    throw invalidError({
      code: 'CONFIGURED_TWICE',
      message: `components "${other.component}" and "${component}" both make ${what}`,
      hint: 'Mend "configuration:" of one of them in the manifest.',
    });
  }
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
