// src/ → build/: what the package ships and what a bundle carries. Same sources, same bytes, in any folder.
//   node scripts/build.mjs [--outdir build]
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './run.mjs';

const { values } = parseArgs({ options: { outdir: { type: 'string', default: join(root, 'build') } } });
const outdir = resolve(values.outdir);

let esbuild;
try {
  esbuild = await import('esbuild');
} catch {
  // `npm install -g git+…` comes here too: npm's inner install inherits --global and leaves the tools out.
  console.error('esbuild is not installed: the build needs the development tools. In a clone:');
  console.error('  npm ci && npm install -g .      (not npm ci --omit=dev, not npm install -g git+…)');
  process.exit(1);
}

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  charset: 'utf8',
  legalComments: 'inline',
  // Paths in comments and in module wrappers stay below the root, also where node_modules is a link.
  preserveSymlinks: true,
  logLevel: 'warning',
  metafile: true,
  define: {
    AIRBUNDLE_VERSION: JSON.stringify(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version),
  },
};
/** A target has no npm: one file holds everything. */
const carried = {
  format: 'cjs',
  target: 'node16',
  // tar's own default is one minified file with its dependencies inside: nothing a reviewer could read.
  alias: { tar: 'tar/raw' },
  // ssh2 tries these two and works without them.
  external: ['cpu-features', '*.node'],
};
const entries = [
  // A file for each part that commands load by themselves; a start reads only what its command needs.
  {
    from: 'src/cli.ts',
    to: 'cli.js',
    options: {
      ...{ format: 'esm', target: 'node20', packages: 'external', splitting: true },
      chunkNames: 'cli-[name]-[hash]',
    },
  },
  { from: 'src/installer.ts', to: 'installer.cjs', options: carried },
  { from: 'src/deploy.ts', to: 'deploy.cjs', options: carried },
];

rmSync(outdir, { recursive: true, force: true });
mkdirSync(outdir, { recursive: true });
const bundled = new Set();

for (const { from, to, options } of entries) {
  if (!existsSync(join(root, from))) {
    console.log(`skipped ${to}: there is no ${from} yet`);
    continue;
  }
  const { outputFiles, metafile } = await esbuild.build({
    ...common,
    ...options,
    entryPoints: { [basename(to, extname(to))]: from },
    outdir,
    outExtension: { '.js': extname(to) },
    write: false,
  });
  for (const { path, text } of outputFiles) {
    const isEntry = path === join(outdir, to);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, isEntry ? withShebang(text) : text);
    chmodSync(path, isEntry ? 0o755 : 0o644);
  }
  for (const input of Object.keys(metafile.inputs)) {
    const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
    if (folder !== undefined) bundled.add(folder);
  }
  const sizeBytes = outputFiles.reduce((sum, { contents }) => sum + contents.length, 0);
  const parts = outputFiles.length === 1 ? '' : ` in ${outputFiles.length} files`;
  console.log(`built ${to} (${Math.ceil(sizeBytes / 1024)} KiB${parts})`);
}

for (const script of ['src/install/install.sh']) {
  if (!existsSync(join(root, script))) {
    console.log(`skipped ${basename(script)}: there is no ${script} yet`);
    continue;
  }
  copyFileSync(join(root, script), join(outdir, basename(script)));
  chmodSync(join(outdir, basename(script)), 0o755);
  console.log(`copied ${basename(script)}`);
}

writeFileSync(join(outdir, 'THIRD-PARTY-LICENCES.txt'), licences([...bundled].sort()));
console.log(`wrote THIRD-PARTY-LICENCES.txt (${bundled.size} packages)`);

/** esbuild keeps an entry's own shebang; the others get one. */
function withShebang(text) {
  return text.startsWith('#!') ? text : `#!/usr/bin/env node\n${text}`;
}

/** The licence of every package inside installer.cjs and deploy.cjs. A package without one fails the build. */
function licences(folders) {
  const sections = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
    const files = readdirSync(join(root, folder))
      .filter((file) => /^(licen[cs]e|notice|copying)/i.test(file))
      .sort();
    if (files.length === 0 && typeof license !== 'string') throw new Error(`${folder} names no licence`);
    const texts = files.map((file) =>
      readFileSync(join(root, folder, file), 'utf8')
        .replaceAll('\r\n', '\n')
        .trim(),
    );
    return [`${name} ${version} (${license ?? 'see below'})`, ...texts].join('\n\n');
  });
  const title = 'Parts of these packages are inside installer.cjs and deploy.cjs.';
  return `${[title, ...sections].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
