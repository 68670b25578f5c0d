import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

/** Tests that need root, Docker and the lab's images. */
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
          name: 'lab',
          include: LAB,
          // Containers share the machine's cores, networks and systemd: one file at a time.
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
