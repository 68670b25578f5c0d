import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { configure, declaredValues } from '../../src/configure/index.js';
import { readConfigurations } from '../../src/create/create-templates.js';
import { initFolder } from '../../src/create/init.js';
import { parseManifest } from '../../src/model/manifest.js';
import { parseSite } from '../../src/model/site.js';
import { ORIGIN } from '../configure/fixtures.js';
import { failureOf, temporaryFolder } from './create-support.js';

const PACKAGE = fileURLToPath(new URL('../../', import.meta.url));

it('writes a manifest and a site that are right as they are', async () => {
  const folder = path.join(temporaryFolder(), 'new');
  const written = await initFolder(PACKAGE, folder);
  expect(written).toEqual(
    expect.arrayContaining([
      'manifest.yaml',
      'site.yaml',
      'templates/hello.conf',
      'templates/hello.service',
      'collector/Dockerfile',
      'schema/manifest.schema.json',
    ]),
  );
  const file = path.join(folder, 'manifest.yaml');
  const manifest = parseManifest(readFileSync(file), file);
  expect(manifest.collector).toEqual({ dockerfile: 'collector' });
  const components = [...(await readConfigurations(manifest, file))].map(([name, configuration]) => ({
    name,
    configuration,
  }));
  const site = parseSite(
    readFileSync(path.join(folder, 'site.yaml')),
    'site.yaml',
    declaredValues(components),
  );
  expect(
    configure({ origin: ORIGIN, components, site, node: 'node1' }).files.map((each) => each.path),
  ).toEqual(['/etc/hello/hello.conf', '/etc/systemd/system/hello.service']);
  for (const name of ['manifest', 'site'])
    expect(readFileSync(path.join(folder, `${name}.yaml`), 'utf8')).toMatch(
      new RegExp(`^# yaml-language-server: \\$schema=schema/${name}\\.schema\\.json\\n`),
    );
});

it('overwrites nothing, and writes nothing when it would', async () => {
  const folder = path.join(temporaryFolder(), 'new');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'site.yaml'), 'mine\n');
  const failure = await failureOf(initFolder(PACKAGE, folder));
  expect([failure.exit, failure.code]).toEqual([2, 'INIT_EXISTS']);
  expect(failure.message).toContain('site.yaml is there already');
  expect(readdirSync(folder)).toEqual(['site.yaml']);
  expect(readFileSync(path.join(folder, 'site.yaml'), 'utf8')).toBe('mine\n');
});
