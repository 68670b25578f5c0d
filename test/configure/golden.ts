import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { configure } from '../../src/configure/index.js';
import type { Configuration } from '../../src/configure/index.js';
import type { Site } from '../../src/model/site.js';
import { BOTH, ORIGIN, secretsOf, siteOf } from './fixtures.js';

/** One folder for each representative site: site.yaml, and what each of its nodes gets. */
const GOLDEN = fileURLToPath(new URL('golden/', import.meta.url));

export interface GoldenSite {
  readonly name: string;
  readonly folder: string;
  readonly site: Site;
}

/** Scripts that the bundle of these sites brings. */
export const HOOKS = ['/usr/local/libexec/tts/state-changed', '/usr/local/libexec/tts/page-somebody'];

export const GOLDEN_SITES: readonly GoldenSite[] = readdirSync(GOLDEN).map((name) => {
  const folder = path.join(GOLDEN, name);
  return { name, folder, site: siteOf(readFileSync(path.join(folder, 'site.yaml'), 'utf8')) };
});

export function goldenConfiguration(site: Site, node: string): Configuration {
  const components = [...BOTH, { name: 'hooks', files: HOOKS }];
  return configure({ components, site, node, origin: ORIGIN, secrets: secretsOf(site) });
}

/** Of the other files, one example is enough: they hardly depend on the site. */
const EVERYWHERE = ['haproxy.cfg', 'keepalived.conf', 'haproxy.service', 'keepalived.service'];

/** File below the site's folder → its text. */
export function goldenFiles({ name, site }: GoldenSite): ReadonlyMap<string, string> {
  return new Map(
    site.nodes.flatMap((node, index) =>
      goldenConfiguration(site, node.name)
        .files.map((file) => ({ base: path.basename(file.path), content: file.content }))
        .filter(({ base }) => EVERYWHERE.includes(base) || (name === 'pair' && index === 0))
        .map(({ base, content }) => [path.join(node.name, base), content] as const),
    ),
  );
}
