import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { readConfigurations } from '../../src/create/create-templates.js';
import { MAX_TEMPLATE_BYTES } from '../../src/model/declared.js';
import { parseManifest } from '../../src/model/manifest.js';
import { manifestText } from './create-manifest.js';
import { failureOf, temporaryFolder } from './create-support.js';

const DECLARED = `    configuration:
      values: { port: { type: port }, key: { type: secret } }
      files:
        - { path: /etc/web.conf, template: web/web.conf, mode: '0644' }
        - { path: /etc/web.key, template: web/web.key, mode: '0600' }
`;

function reading(conf: string | Uint8Array, key = '{{key}}\n') {
  const folder = temporaryFolder();
  mkdirSync(path.join(folder, 'web'));
  writeFileSync(path.join(folder, 'web', 'web.conf'), conf);
  writeFileSync(path.join(folder, 'web', 'web.key'), key);
  const file = path.join(folder, 'm.yaml');
  const manifest = parseManifest(new TextEncoder().encode(manifestText() + DECLARED), file);
  return readConfigurations(manifest, file);
}

it("puts the templates' texts into the bundle, in the place of their names", async () => {
  const configuration = (await reading('port {{port}}\n')).get('thing');
  expect(configuration).toMatchObject({
    files: [
      { path: '/etc/web.conf', content: 'port {{port}}\n' },
      { path: '/etc/web.key', content: '{{key}}\n' },
    ],
  });
  expect(JSON.stringify(configuration)).not.toContain('template');
});

it('finds every mistake of a template, with file, line and column', async () => {
  const failure = await failureOf(reading('# web\nport {{prot}}\nkey {{key}}\nx {{port\n'));
  expect(failure.exit).toBe(3);
  expect(
    failure.details.filter((line) => line.includes('web.conf:')).map((line) => path.basename(line)),
  ).toEqual([
    'web.conf:2:6: unknown value "prot"; did you mean "port"?',
    'web.conf:3:5: "key" is a secret, but its file has the mode 0644, which lets everybody read it',
    'web.conf:4:3: "{{" is no part of a {{name}}: a template cannot hold it otherwise',
  ]);
});

it('carries no control characters, nothing but UTF-8 and nothing large', async () => {
  expect((await failureOf(reading('a\u0007b\n'))).message).toContain('control character');
  expect((await failureOf(reading(Buffer.from([0xff, 0xfe])))).message).toContain('not UTF-8');
  expect((await failureOf(reading('x'.repeat(MAX_TEMPLATE_BYTES + 1)))).message).toContain('at most 65536');
});
