import { mkdtemp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One planted tree; every file of it is a violation, or shows that a rule does not say too much. */
const files: Record<string, string[]> = {
  'src/errors.ts': [],
  'src/report.ts': ['./errors.js'],
  'src/host/host.ts': ['../errors.js', '../model/good.js'],
  'src/host/local.ts': ['./host.js', 'execa', 'node:fs'],
  'src/host/ssh.ts': ['./host.js', 'ssh2'],
  'src/model/good.ts': ['../errors.js', '../configure/good.js', 'zod', 'yaml'],
  'src/model/signature.ts': ['../errors.js', 'node:crypto', 'node:fs'],
  'src/configure/good.ts': ['../errors.js', 'zod'],
  'src/review/good.ts': ['../model/good.js', '../host/host.js', '../errors.js', '../report.js'],
  'src/install/good.ts': ['../model/good.js', '../host/host.js', '../review/good.js', 'tar'],
  'src/create/good.ts': ['../model/good.js', '../host/host.js', '../review/good.js'],
  'src/fleet/good.ts': ['../model/good.js', '../host/host.js'],
  'src/cli.ts': ['./create/good.js', './host/local.js'],
  'test/helper.ts': ['../src/errors.js'],

  'src/model/knows-report.ts': ['../report.js'],
  'src/configure/uses-npm.ts': ['tar'],
  'src/model/reads-files.ts': ['node:fs'],
  'src/configure/hashes.ts': ['node:crypto'],
  'src/create/installs.ts': ['../install/good.js'],
  'src/install/goes-far.ts': ['../fleet/good.js'],
  'src/fleet/creates.ts': ['../create/good.js'],
  'src/review/applies.ts': ['../install/good.js'],
  'src/review/writes.ts': ['node:path', 'node:crypto', 'node:fs/promises'],
  'src/host/knows-a-flow.ts': ['../review/good.js'],
  'src/install/runs-the-command.ts': ['../cli.js'],
  'src/install/builds-a-host.ts': ['../host/local.js'],
  'src/fleet/builds-a-host.ts': ['../host/ssh.js'],
  'src/installer.ts': ['./install/goes-far.js', './install/good.js'],
  'src/deploy.ts': ['./fleet/creates.js', './host/ssh.js'],
  'src/install/circle-a.ts': ['./circle-b.js'],
  'src/install/circle-b.ts': ['./circle-a.js'],
  'src/install/uses-a-test.ts': ['../../test/helper.js'],
  'src/install/left-over.ts': [],
  'src/install/uses-a-dev-tool.ts': ['esbuild'],
  'src/install/imports-nothing.ts': ['./not-there.js'],
};

const expected = [
  'deploy-does-not-create: src/deploy.ts → src/create/good.ts',
  'flows-stay-apart: src/create/installs.ts → src/install/good.ts',
  'flows-stay-apart: src/fleet/creates.ts → src/create/good.ts',
  'flows-stay-apart: src/install/goes-far.ts → src/fleet/good.ts',
  'host-knows-no-flow: src/host/knows-a-flow.ts → src/review/good.ts',
  'installer-stays-small: src/installer.ts → src/fleet/good.ts',
  'no-circular: src/install/circle-a.ts → src/install/circle-b.ts',
  'no-dev-dependencies: src/install/uses-a-dev-tool.ts → esbuild',
  'no-orphans: src/install/left-over.ts',
  'no-test-in-src: src/install/uses-a-test.ts → test/helper.ts',
  'not-to-unresolvable: src/install/imports-nothing.ts → ./not-there.js',
  'only-entries-build-hosts: src/fleet/builds-a-host.ts → src/host/ssh.ts',
  'only-entries-build-hosts: src/install/builds-a-host.ts → src/host/local.ts',
  'pure-rooms-import-only-each-other: src/configure/uses-npm.ts → tar',
  'pure-rooms-import-only-each-other: src/model/knows-report.ts → src/report.ts',
  'pure-rooms-use-no-builtins: src/configure/hashes.ts → crypto',
  'pure-rooms-use-no-builtins: src/model/reads-files.ts → fs',
  'review-only-reads: src/review/applies.ts → src/install/good.ts',
  'review-reads-through-the-host: src/review/writes.ts → fs/promises',
  'rooms-do-not-import-entries: src/install/runs-the-command.ts → src/cli.ts',
  'signature-uses-only-crypto: src/model/signature.ts → fs',
];

const manifest = {
  name: 'planted',
  type: 'module',
  dependencies: { execa: '*', ssh2: '*', tar: '*', yaml: '*', zod: '*' },
  devDependencies: { esbuild: '*' },
};

interface Violation {
  rule: { name: string };
  from: string;
  to: string;
}

async function violationsIn(folder: string): Promise<Violation[]> {
  const { stdout } = await execa(
    join(root, 'node_modules/.bin/depcruise'),
    ['--config', join(folder, '.dependency-cruiser.cjs'), '--output-type', 'json', 'src'],
    { cwd: folder, reject: false },
  );
  return (JSON.parse(stdout) as { summary: { violations: Violation[] } }).summary.violations;
}

const readable = ({ rule, from, to }: Violation): string => {
  const target = to.replace(/^node_modules\/([^/]+)\/.*$/, '$1');
  return from === to ? `${rule.name}: ${from}` : `${rule.name}: ${from} → ${target}`;
};

describe('the import rules', () => {
  let folder: string;
  let found: string[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'airbundle-imports-'));
    const write = async (path: string, text: string): Promise<void> => {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    };
    for (const [path, imports] of Object.entries(files)) {
      const lines = imports.map((from, index) => `import * as i${index} from '${from}';\nvoid i${index};`);
      await write(path, [...lines, 'export const here = true;', ''].join('\n'));
    }
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
      await write(`node_modules/${name}/package.json`, JSON.stringify({ name, main: 'index.js' }));
      await write(`node_modules/${name}/index.js`, '');
    }
    await write('package.json', JSON.stringify(manifest));
    await symlink(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
    await symlink(join(root, '.dependency-cruiser.cjs'), join(folder, '.dependency-cruiser.cjs'));
    found = (await violationsIn(folder)).map(readable);
  }, 60_000);

  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(expected)('find the planted %s', (violation) => {
    expect(found).toContain(violation);
  });

  it('find nothing else there', () => {
    expect(found.filter((violation) => !expected.includes(violation))).toEqual([]);
  });

  it('have a planted violation each', async () => {
    const { default: config } = (await import(join(root, '.dependency-cruiser.cjs'))) as {
      default: { forbidden: { name: string }[] };
    };
    const planted = new Set(expected.map((line) => line.split(':')[0]));
    expect(config.forbidden.map(({ name }) => name).filter((name) => !planted.has(name))).toEqual([]);
  });

  it('find nothing in src', async () => {
    expect((await violationsIn(root)).map(readable)).toEqual([]);
  }, 60_000);
});
