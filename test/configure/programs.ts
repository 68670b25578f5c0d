import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { node16 } from '../lab/backend-image.js';
import type { Outcome } from '../lab/docker.js';
import { attempt, docker, run } from '../lab/docker.js';
import { programsImage } from '../lab/images.js';
import { ownerLabel } from '../lab/owner.js';

/** A container with the real programs, no network, and the example sites' certificates and interfaces. */
export interface Programs {
  /** One command; a non-zero exit is a result. */
  run(argv: readonly string[]): Promise<Outcome>;
  /** A shell line that must succeed. @returns its stdout */
  sh(text: string): Promise<string>;
  /** A program that goes on in the background. */
  start(text: string): Promise<void>;
  write(path: string, content: string): Promise<void>;
  /** Puts haproxy.cfg and keepalived.conf of a folder below golden/ in place. */
  place(folder: string): Promise<void>;
  down(): Promise<void>;
}

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

const CARRIED = {
  golden: '/golden',
  'place-golden.sh': '/place-golden.sh',
  '../../src/configure/check-haproxy.sh': '/check-haproxy.sh',
};

/** Programs of one's own, built for Debian 11, instead of its packages. */
const OWN = { haproxy: 'AIRBUNDLE_TEST_HAPROXY', keepalived: 'AIRBUNDLE_TEST_KEEPALIVED' } as const;

const ownPrograms = (): string[] =>
  Object.entries(OWN).flatMap(([name, variable]) => {
    const given = process.env[variable] ?? '';
    return given === '' ? [] : ['-v', `${given}:/usr/local/sbin/${name}:ro`];
  });

/** @throws LabError when there is no container engine */
export const startPrograms = async (): Promise<Programs> => {
  const [image, node] = [await programsImage(), await node16()];
  const container = `airbundle-lab-programs-${randomBytes(4).toString('hex')}`;
  await docker([
    ...['run', '--detach', '--init', '--name', container, '--network', 'none'],
    ...['--label', `airbundle-lab=${container}`, '--label', `airbundle-lab.owner=${ownerLabel()}`],
    ...['--cap-add', 'NET_ADMIN', '--cap-add', 'NET_BROADCAST'],
    ...['--sysctl', 'net.ipv4.ip_nonlocal_bind=1', ...ownPrograms()],
    ...[image, 'sleep', 'infinity'],
  ]);
  const down = async (): Promise<void> => {
    await docker(['rm', '-f', '-v', container]);
  };
  try {
    for (const [from, to] of Object.entries(CARRIED)) await docker(['cp', here(from), `${container}:${to}`]);
    await docker(['cp', node, `${container}:/usr/local/bin/node`]);
  } catch (error) {
    await down();
    throw error;
  }
  const exec = (...argv: readonly string[]): readonly string[] => ['docker', 'exec', container, ...argv];
  return {
    run: (argv) => attempt(exec(...argv), { timeoutMs: 60_000 }),
    sh: (text) => run(exec('bash', '-c', text), { timeoutMs: 60_000 }),
    start: async (text) => {
      await docker(['exec', '--detach', container, 'bash', '-c', text]);
    },
    write: async (path, content) => {
      await run(['docker', 'exec', '--interactive', container, 'sh', '-c', 'cat >"$1"', 'write', path], {
        input: content,
      });
    },
    place: async (folder) => {
      await run(exec('sh', '/place-golden.sh', `/golden/${folder}`));
    },
    down,
  };
};
