import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

/**
 * Tests that need root, Docker and the lab's images, on one node each, which waits most of the time: two files at
 * once. None of them compares speeds, and each node's containers and network are its own.
 */
const ONE_NODE = [
  'hostile-node',
  'install-interrupted',
  'install-services',
  'install-sh',
  'isolated',
  'other-software',
  'plan',
  'receipts',
  'rollback',
  'trust',
].map((name) => `test/e2e/${name}.test.ts`);

/** And those that look at more of the machine, or at a clock. */
const LAB = [
  'test/lab/**/*.test.ts',
  'test/e2e/**/*.test.ts',
  'test/faults/**/*.test.ts',
  'test/**/*.{docker,node}.test.ts',
];

export default defineConfig({
  test: {
    reporters: ['./test/support/reporter.ts'],
    teardownTimeout: 120_000,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...LAB],
          // Vitest's own choice leaves one core free: of two, half the machine.
          maxWorkers: availableParallelism(),
          testTimeout: 20_000,
          hookTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'one-node',
          include: ONE_NODE,
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'lab',
          include: LAB,
          exclude: [...configDefaults.exclude, ...ONE_NODE],
          // Containers share the machine's cores, networks and systemd: one file at a time.
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
