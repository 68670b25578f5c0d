import { path } from '../configure/paths.js';
import { RENDERERS } from '../configure/renderers.js';
import type { ManifestConfiguration } from './declared.js';
import { nearest } from './nearest.js';

/*
 * What the configurations of a manifest's components are to each other. A node refuses the same (configure/index.ts),
 * but there a mistake is found in a signed bundle.
 */

interface Configured {
  readonly name: string;
  readonly configuration?: string | ManifestConfiguration | undefined;
}

interface ConfigurationProblem {
  /** Below `components`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** What a renderer may write, whatever the site says. */
const RENDERED: ReadonlyMap<string, readonly string[]> = new Map([
  ['haproxy', [path.haproxyConfig, path.haproxyUnit, path.sysctl, path.rsyslog, path.logrotate]],
  ['keepalived', [path.keepalivedConfig, path.keepalivedUnit, path.checkScript]],
]);

/** An unknown renderer, one that two components name, a file or unit that two make. */
export function configurationProblems(components: readonly Configured[]): ConfigurationProblem[] {
  const problems: ConfigurationProblem[] = [];
  const byRenderer = new Map<string, string>();
  const makers = new Map<string, string>();
  for (const [index, { name, configuration }] of components.entries()) {
    if (typeof configuration !== 'string') continue;
    const message = rendererProblem(configuration, byRenderer.get(configuration));
    if (message !== undefined) problems.push({ path: [index, 'configuration'], message });
    if (!byRenderer.has(configuration)) byRenderer.set(configuration, name);
    for (const file of RENDERED.get(configuration) ?? [])
      makers.set(file, `component "${name}" makes ${file} already: by the renderer "${configuration}"`);
  }
  for (const [index, { name, configuration }] of components.entries()) {
    if (configuration === undefined || typeof configuration === 'string') continue;
    for (const { file, place } of filesOf(configuration)) {
      const message = makers.get(file);
      if (message !== undefined) problems.push({ path: [index, 'configuration', ...place], message });
      else makers.set(file, `component "${name}" makes ${file} already`);
    }
  }
  return problems;
}

function rendererProblem(renderer: string, other: string | undefined): string | undefined {
  if (!RENDERERS.has(renderer)) {
    const close = nearest(renderer, [...RENDERERS.keys()]);
    return `there is no renderer "${renderer}"${close === undefined ? `; there are: ${[...RENDERERS.keys()].join(', ')}` : `; did you mean "${close}"?`}`;
  }
  return other === undefined
    ? undefined
    : `component "${other}" has the renderer "${renderer}" already: both would write the same files`;
}

function filesOf(
  declared: ManifestConfiguration,
): { readonly file: string; readonly place: readonly (string | number)[] }[] {
  const found = [
    ...declared.files.map((file, at) => ({ file: file.path, place: ['files', at, 'path'] })),
    ...declared.units.map(({ name }, at) => ({
      file: `/etc/systemd/system/${name}`,
      place: ['units', at, 'name'],
    })),
  ];
  // The same twice in one list is told by the declaration itself.
  return found.filter(
    ({ file, place }, index) =>
      !found.slice(0, index).some((other) => other.file === file && other.place[0] === place[0]),
  );
}
