import { availableParallelism } from 'node:os';
import { configDefaults, defineConfig } from 'vitest/config';

/**
 * Tests that need root, Docker and the lab's images, and wait most of the time, for rpm, systemd or a container: two
 * files at once. None of them compares speeds, and each run's containers, networks and caches are its own.
 */
const WAITING = [
  'test/bad-input/collecting.docker.test.ts',
  'test/bad-input/node.node.test.ts',
  'test/configure/programs.docker.test.ts',
  'test/create/collector.docker.test.ts',
  'test/create/rpms.docker.test.ts',
  'test/fleet/ssh.node.test.ts',
  'test/fleet/upload.node.test.ts',
  'test/install/rpm-stuck.node.test.ts',
  ...[
    'ansible',
    'create-engines',
    'create-kill',
    'create-podman',
    'deploy',
    'deploy-six',
    'hostile-node',
    'install-interrupted',
    'install-services',
    'install-sh',
    'isolated',
    'other-software',
    'package',
    'plan',
    'receipts',
    'review',
    'rollback',
    'trust',
    'upgrade-interrupted',
    'walk',
  ].map((name) => `test/e2e/${name}.test.ts`),
];

/**
 * What must not be skipped where the time for all tests is over before the last file: the work that is counted instead
 * of seconds, and the short form of the bench, which nothing else may run beside.
 */
const COUNTED = [
  'test/bench/short.node.test.ts',
  'test/create/work.docker.test.ts',
  'test/faults/work.test.ts',
];

/** All that need those; the rest of them look at more of the machine, or at a clock. */
const LAB = [
  'test/lab/owner.test.ts',
  'test/e2e/**/*.test.ts',
  'test/faults/**/*.test.ts',
  'test/**/*.{docker,node}.test.ts',
];

const RUNNER = './test/support/runner.ts';

export default defineConfig({
  test: {
    reporters: ['./test/support/reporter.ts'],
    teardownTimeout: 120_000,
    projects: [
      {
        test: {
          name: 'unit',
          runner: RUNNER,
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
          name: 'counted',
          runner: RUNNER,
          include: COUNTED,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'waiting',
          runner: RUNNER,
          include: WAITING,
          maxWorkers: 2,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'lab',
          runner: RUNNER,
          include: LAB,
          exclude: [...configDefaults.exclude, ...COUNTED, ...WAITING],
          // Containers share the machine's cores, networks and systemd: one file at a time.
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
