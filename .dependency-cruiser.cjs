/**
 * The import rules of the rooms under src/. test/rules/imports.test.ts plants a violation of each one.
 * @type {import('dependency-cruiser').IConfiguration}
 */
const ENTRIES = '^src/(cli|installer|deploy)\\.ts$';
const npm = (...names) => `(^|/)node_modules/(${names.join('|')})/`;

module.exports = {
  forbidden: [
    {
      name: 'pure-rooms-import-only-each-other',
      comment: 'model and configure know errors.ts, zod and yaml; nothing else of ours or of npm',
      severity: 'error',
      from: { path: '^src/(model|configure)/' },
      to: {
        dependencyTypesNot: ['core'],
        pathNot: ['^src/(model|configure)/', '^src/errors\\.ts$', npm('zod', 'yaml')],
      },
    },
    {
      name: 'pure-rooms-use-no-builtins',
      comment: 'model and configure do no I/O; only model/signature.ts may compute with node:crypto',
      severity: 'error',
      from: { path: '^src/(model|configure)/', pathNot: '^src/model/signature\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'signature-uses-only-crypto',
      severity: 'error',
      from: { path: '^src/model/signature\\.ts$' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' },
    },
    {
      name: 'flows-stay-apart',
      comment:
        'create, install and fleet never import each other: what two of them need belongs in model or host',
      severity: 'error',
      from: { path: '^src/(create|install|fleet)/' },
      to: { path: '^src/(create|install|fleet)/', pathNot: '^src/$1/' },
    },
    {
      name: 'review-only-reads',
      comment: 'review verifies and inspects with model and host alone; create and install may ask it to',
      severity: 'error',
      from: { path: '^src/review/' },
      to: { path: '^src/', pathNot: ['^src/(review|model|host)/', '^src/(errors|report)\\.ts$'] },
    },
    {
      name: 'review-reads-through-the-host',
      comment: 'review takes a ReadHost, which cannot write or run; it opens and starts nothing by itself',
      severity: 'error',
      from: { path: '^src/review/' },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|path)$' },
    },
    {
      name: 'host-knows-no-flow',
      comment: 'host offers run, read and write; it knows errors and model only',
      severity: 'error',
      from: { path: '^src/host/' },
      to: { path: '^src/', pathNot: ['^src/(host|model)/', '^src/errors\\.ts$'] },
    },
    {
      name: 'rooms-do-not-import-entries',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: ENTRIES },
    },
    {
      name: 'only-entries-build-hosts',
      comment: 'flows receive a Host; only cli.ts, installer.ts and deploy.ts decide which',
      severity: 'error',
      from: { path: '^src/', pathNot: ENTRIES },
      to: { path: '^src/host/(local|ssh)\\.ts$' },
    },
    {
      name: 'installer-stays-small',
      comment: 'what runs on a target never reaches create, fleet or ssh2, not even through others',
      severity: 'error',
      from: { path: '^src/installer\\.ts$' },
      to: { path: ['^src/(create|fleet)/', '^src/host/ssh\\.ts$', npm('ssh2')], reachable: true },
    },
    {
      name: 'deploy-does-not-create',
      comment: 'the jump host is inside the closed network: nothing that collects',
      severity: 'error',
      from: { path: '^src/deploy\\.ts$' },
      to: { path: '^src/create/', reachable: true },
    },
    {
      name: 'no-circular',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true },
    },
    {
      name: 'no-test-in-src',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: ['^test/', '\\.test\\.ts$'] },
    },
    {
      name: 'no-orphans',
      comment: 'a file that nothing imports and that imports nothing is left over',
      severity: 'error',
      from: { path: '^src/', pathNot: ENTRIES, orphan: true },
      to: {},
    },
    {
      name: 'no-dev-dependencies',
      comment: 'src ships with the dependencies of package.json and nothing else',
      severity: 'error',
      from: { path: '^src/' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'not-to-unresolvable',
      severity: 'error',
      from: { path: '^src/' },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(build|dist)/' },
    // `import type` counts: a type is knowledge about another room, too.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default'],
    },
  },
};
