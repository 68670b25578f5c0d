import tseslint from 'typescript-eslint';

const ENTRIES = ['src/cli.ts', 'src/installer.ts', 'src/deploy.ts'];
const PURE = ['src/model/**/*.ts', 'src/configure/**/*.ts'];

const noExit = {
  object: 'process',
  property: 'exit',
  message:
    'Throw a BundleError: only the entries (src/cli.ts, src/installer.ts, src/deploy.ts) end the process.',
};
const noClock = 'model and configure are pure: take the time, the environment or randomness as an argument.';

export default tseslint.config(
  { ignores: ['node_modules/', 'build/', 'dist/', 'coverage/', '.lab/', 'keys/', 'seed/', 'types/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // A number in a message is not a mistake; objects, null and undefined still are.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `(x) => push(x)` as a callback is shorter than a block and hides nothing.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `[...text]` means code points here; nobody counts emojis.
      '@typescript-eslint/no-misused-spread': ['error', { allow: [{ from: 'lib', name: 'string' }] }],
      // It asks for `!`, which the strict rules forbid.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // A loop that ends with return or break inside.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      // `_name` says: the signature is given by someone else.
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-properties': ['error', noExit],
      'no-restricted-imports': [
        'error',
        {
          paths: ['process', 'node:process'].map((name) => ({
            name,
            importNames: ['exit'],
            message: noExit.message,
          })),
        },
      ],
    },
  },
  {
    files: PURE,
    rules: {
      'no-restricted-globals': [
        'error',
        ...[
          'process',
          'performance',
          'setTimeout',
          'setInterval',
          'setImmediate',
          'queueMicrotask',
          'fetch',
        ].map((name) => ({ name, message: noClock })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: noClock },
        { object: 'Math', property: 'random', message: noClock },
      ],
      'no-restricted-syntax': [
        'error',
        { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: noClock },
        { selector: 'CallExpression[callee.name="Date"]', message: noClock },
        { selector: 'MemberExpression[object.name="globalThis"]', message: noClock },
      ],
    },
  },
  {
    files: ENTRIES,
    rules: { 'no-console': 'off', 'no-restricted-properties': 'off', 'no-restricted-imports': 'off' },
  },
  {
    // Programs of their own, started by a person or in a container: their output is the console.
    files: ['test/lab/**/*.ts', 'test/bench/**/*.ts', 'test/support/reporter.ts'],
    ignores: ['**/*.test.ts'],
    rules: { 'no-console': 'off', 'no-restricted-properties': 'off' },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // Tests index into what they have just built; a wrong index fails the test anyway.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Fakes of async interfaces need not await.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['**/*.{js,mjs,cjs}'],
    extends: [tseslint.configs.base],
    rules: { eqeqeq: 'error', 'no-undef': 'off', 'prefer-const': 'error', 'no-var': 'error' },
  },
);
