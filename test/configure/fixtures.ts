import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { configure } from '../../src/configure/index.js';
import type { Configuration, Origin } from '../../src/configure/index.js';
import { parseSite } from '../../src/model/site.js';
import type { Site } from '../../src/model/site.js';

export const example = (name: 'tts-pair' | 'tts-full'): string =>
  readFileSync(new URL(`../../manifests/sites/${name}.yaml`, import.meta.url), 'utf8');

export const exampleObject = (name: 'tts-pair' | 'tts-full'): Record<string, unknown> =>
  parseYaml(example(name)) as Record<string, unknown>;

export const siteOf = (text: string): Site => parseSite(new TextEncoder().encode(text), 'site.yaml');

export const BOTH = [
  { name: 'haproxy', configuration: 'haproxy' },
  { name: 'keepalived', configuration: 'keepalived' },
] as const;

/** A bundle and the digest of a site, for the heads of generated files. */
export const ORIGIN: Origin = {
  bundle: { name: 'tts-ha', version: '1.0.0' },
  siteDigest: '0123456789abcdef'.repeat(4),
};

export function configured(site: Site, node = 'lb1', secret = 's3cret'): Configuration {
  return configure({ components: BOTH, site, node, origin: ORIGIN, secrets: secretsOf(site, secret) });
}

export const STATS_PASSWORD = 'look-at-me-2026';

/** As an installer reads them: the secrets in the files that the site names. */
export const secretsOf = (site: Site, text = 's3cret') =>
  new Map([
    [site.vrrp?.secretFile ?? 'none', { text, path: 'vrrp.secret' }],
    [site.haproxy.stats?.passwordFile ?? 'none', { text: STATS_PASSWORD, path: 'stats.secret' }],
  ]);

export function contentOf(configuration: Configuration, path: string): string {
  const file = configuration.files.find((candidate) => candidate.path === path);
  if (file === undefined)
    throw new Error(`no file ${path} among ${configuration.files.map((each) => each.path).join(', ')}`);
  return file.content;
}

/**
 * A real program: from its variable (a path), else from PATH and the sbin folders. Undefined where
 * this machine has none: skip with `noProgram`; the lab runs the same tests with it.
 */
export function realProgram(name: string, variable: string): string | undefined {
  const given = process.env[variable];
  if (given !== undefined && given !== '') return given;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

export const noProgram = (name: string, variable: string): string =>
  `no ${name} in PATH, and ${variable} is not set`;

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
