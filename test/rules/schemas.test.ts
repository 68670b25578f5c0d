import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { JsonSchema } from '../support/json-schema.js';
import { violations } from '../support/json-schema.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const shipped = readdirSync(join(ROOT, 'manifests'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => join(ROOT, 'manifests', file));

const LINE = /^# yaml-language-server: \$schema=(\S+)\n/;
const schemaOf = (file: string): string =>
  join(dirname(file), LINE.exec(readFileSync(file, 'utf8'))?.[1] ?? 'none');
const readSchema = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as JsonSchema;
const readYaml = (file: string) => parse(readFileSync(file, 'utf8')) as Record<string, never>;

it('the schemas are what the product says, and every key is described', () => {
  const made = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/schemas.mjs', '--check'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(made.stderr).toBe('');
  expect(made.status).toBe(0);
});

describe.each(shipped.map((file) => [relative(ROOT, file), file]))('%s', (_, file) => {
  it('names its schema, and fits it', () => {
    expect(existsSync(schemaOf(file)), `the schema of ${file}`).toBe(true);
    expect(schemaOf(file)).toContain(
      /site(?:s\/.*)?\.yaml$/.test(file) ? 'site.schema.json' : 'manifest.schema.json',
    );
    expect(violations(readSchema(schemaOf(file)), readYaml(file))).toEqual([]);
  });
});

it('an editor sees what is wrong', () => {
  const schema = readSchema(join(ROOT, 'docs', 'schema', 'manifest.schema.json'));
  const manifest = readYaml(join(ROOT, 'manifests', 'redis.yaml')) as unknown as {
    components: [Record<string, unknown>];
  };
  const [component] = manifest.components;
  const changed = (change: Record<string, unknown>): string[] =>
    violations(schema, { ...manifest, components: [{ ...component, ...change }] });
  expect(changed({})).toEqual([]);
  expect(changed({ version: 6.2 })).toEqual(['$.components[0].version: is no string']);
  expect(changed({ configuratoin: 'haproxy' })).toEqual(['$.components[0]: has an unknown configuratoin']);
  expect(changed({ configuration: { values: { port: { type: 'prot' } } } })).toHaveLength(1);
  expect(violations(schema, { ...manifest, sequence: 0 })).toEqual(['$.sequence: is too small']);
});
