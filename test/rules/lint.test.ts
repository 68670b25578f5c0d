import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';
import { describe, expect, it } from 'vitest';

/** The project's own rules, without those that need types: the planted files are not on disk. */
const eslint = new ESLint({
  cwd: fileURLToPath(new URL('../..', import.meta.url)),
  overrideConfig: [{ ...tseslint.configs.disableTypeChecked, files: ['**/*.ts'] }],
});

async function rulesBrokenBy(code: string, filePath: string): Promise<string[]> {
  const [result] = await eslint.lintText(`${code}\n`, { filePath });
  return (result?.messages ?? []).map(({ ruleId, message }) => ruleId ?? message);
}

describe('the lint rules', () => {
  it.each([
    ['process.exit(1);', 'src/install/planted.ts', 'no-restricted-properties'],
    ['process.exit(1);', 'src/model/planted.ts', 'no-restricted-globals'],
    ['process.exit(1);', 'test/planted.test.ts', 'no-restricted-properties'],
    [`import { exit } from 'node:process';\nexit(1);`, 'src/create/planted.ts', 'no-restricted-imports'],
    [`console.log('x');`, 'src/create/planted.ts', 'no-console'],
    ['export const now = Date.now();', 'src/model/planted.ts', 'no-restricted-properties'],
    ['export const now = new Date();', 'src/configure/planted.ts', 'no-restricted-syntax'],
    ['export const dice = Math.random();', 'src/configure/planted.ts', 'no-restricted-properties'],
    ['export const home = process.env.HOME;', 'src/model/planted.ts', 'no-restricted-globals'],
    ['export const all = globalThis.process;', 'src/model/planted.ts', 'no-restricted-syntax'],
  ])('refuse %j in %s', async (code, file, rule) => {
    expect(await rulesBrokenBy(code, file)).toEqual([rule]);
  });

  it.each([
    [`console.log('x');\nprocess.exit(1);`, 'src/cli.ts'],
    [`console.log('x');\nprocess.exit(1);`, 'src/installer.ts'],
    [`console.log('x');\nprocess.exit(1);`, 'src/deploy.ts'],
    [`export const day = new Date('2020-01-01');`, 'src/model/planted.ts'],
    [`export const now = Date.now();`, 'src/install/planted.ts'],
  ])('accept %j in %s', async (code, file) => {
    expect(await rulesBrokenBy(code, file)).toEqual([]);
  });
});
