import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Names that Node 20 has and Node 16.20 has not, each on a line of its own. */
const missing = {
  fetch: `await fetch('http://x');`,
  structuredClone: `structuredClone({});`,
  findLast: `[1].findLast((n) => n > 0);`,
  toSorted: `[1].toSorted();`,
  'fs.promises.statfs': `await fsPromises.statfs('/');`,
  'fs.statfsSync': `fs.statfsSync('/');`,
  'fs.globSync': `fs.globSync('*');`,
  'readline/promises': `export type R = import('readline/promises').Interface;`,
  'node:readline/promises': `export type N = import('node:readline/promises').Interface;`,
  'crypto.hash': `crypto.hash('sha256', '');`,
  'AbortSignal.any': `AbortSignal.any([]);`,
  'Object.groupBy': `Object.groupBy([1], () => 'a');`,
  'Promise.withResolvers': `Promise.withResolvers();`,
  'Array.fromAsync': `await Array.fromAsync([]);`,
  'Set.union': `new Set([1]).union(new Set([2]));`,
  'import.meta.dirname': `import.meta.dirname;`,
};
/** Names that Node 16.20 has. */
const present = {
  'Array.at': `[1].at(-1);`,
  'Object.hasOwn': `Object.hasOwn({}, 'a');`,
  'Error cause': `new Error('x', { cause: 1 });`,
  replaceAll: `'a'.replaceAll('a', 'b');`,
  'fs.promises.cp': `await fsPromises.cp('a', 'b');`,
  AbortController: `new AbortController().abort();`,
  'stream/promises': `export type S = typeof import('node:stream/promises');`,
  'timers/promises': `export type P = typeof import('node:timers/promises');`,
};

/** Every dependency that can get into installer.cjs and deploy.cjs: their types must not bring Node 20 back. */
const imports = [
  `import * as fs from 'node:fs';`,
  `import * as fsPromises from 'node:fs/promises';`,
  `import * as crypto from 'node:crypto';`,
  ...['commander', 'execa', 'fast-glob', 'tar', 'yaml', 'zod'].map(
    (name, i) => `import * as d${i} from '${name}'; void d${i};`,
  ),
];
const lines = [...imports, ...Object.values(missing), ...Object.values(present)];
const lineOf = (statement: string): number => lines.indexOf(statement);

describe('the compiler settings for Node 16', () => {
  let errorLines: number[];
  let program: ts.Program;

  beforeAll(() => {
    const config = ts.getParsedCommandLineOfConfigFile(
      join(root, 'tsconfig.installer.json'),
      {},
      {
        ...ts.sys,
        onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
          throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
        },
      },
    );
    if (config === undefined) throw new Error('tsconfig.installer.json cannot be read');
    const planted = join(root, 'src/planted.ts');
    const text = lines.join('\n');
    const onDisk = ts.createCompilerHost(config.options);
    const host: ts.CompilerHost = {
      ...onDisk,
      fileExists: (file) => file === planted || onDisk.fileExists(file),
      readFile: (file) => (file === planted ? text : onDisk.readFile(file)),
      getSourceFile: (file, options, ...rest) =>
        file === planted
          ? ts.createSourceFile(file, text, options)
          : onDisk.getSourceFile(file, options, ...rest),
    };
    program = ts.createProgram([...config.fileNames, planted], config.options, host);
    const source = program.getSourceFile(planted);
    if (source === undefined) throw new Error('the planted file is not in the program');
    errorLines = program
      .getSemanticDiagnostics(source)
      .map(({ start }) => source.getLineAndCharacterOfPosition(start ?? 0).line);
  }, 60_000);

  it.each(Object.keys(missing) as (keyof typeof missing)[])('refuse %s', (name) => {
    expect(errorLines).toContain(lineOf(missing[name]));
  });

  it.each(Object.keys(present) as (keyof typeof present)[])('accept %s', (name) => {
    expect(errorLines).not.toContain(lineOf(present[name]));
  });

  it('accept the imports of every dependency', () => {
    expect(errorLines.filter((line) => line < imports.length)).toEqual([]);
  });

  it('load the types of Node 16 and of no other Node', () => {
    const folders = program.getSourceFiles().map(({ fileName }) => dirname(fileName));
    expect(folders).toContain(join(root, 'node_modules/@types/node16'));
    expect(folders.filter((folder) => folder.includes('/@types/node/'))).toEqual([]);
    expect(folders).not.toContain(join(root, 'node_modules/@types/node'));
  });
});
