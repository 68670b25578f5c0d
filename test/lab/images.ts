import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { docker, hasImage, run } from './docker.js';
import { hashOfFiles } from './hash.js';
import { withLock } from './lock.js';
import { IMAGE_SCRIPTS, LAB } from './paths.js';
import { timed } from './progress.js';

const setup = (name: string): string => path.join(IMAGE_SCRIPTS, `${name}.sh`);

const tagOf = async (name: string, scripts: readonly string[], more: readonly string[]): Promise<string> =>
  `airbundle-lab/${name}:${await hashOfFiles(scripts.map(setup), more)}`;

/** Makes the image `tag` once, whatever the number of processes that ask for it. */
const once = async (name: string, tag: string, make: () => Promise<void>): Promise<string> => {
  if (await hasImage(tag)) return tag;
  return withLock(`image-${name}`, async () => {
    if (!(await hasImage(tag))) await timed(`image ${tag}`, make);
    return tag;
  });
};

/** Debian 11, minimal, with package lists. Everything else stands on it. */
export const baseImage = async (): Promise<string> => {
  const tag = await tagOf('base', ['base'], []);
  return once('base', tag, async () => {
    await mkdir(LAB, { recursive: true });
    const root = await mkdtemp(path.join(LAB, 'base-'));
    try {
      await run(['sh', setup('base'), root]);
      await run(['sh', setup('import'), root, tag]);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
};

interface Recipe {
  readonly name: string;
  readonly from: string;
  /** Scripts that the image depends on; the one named like the image is run. */
  readonly scripts: readonly string[];
  /** Other inputs of the image's tag. */
  readonly inputs: readonly string[];
  /** Host folders that the script reads: container path → host path. */
  readonly mounts: Readonly<Record<string, string>>;
  /** Dockerfile instructions for the result, such as `CMD ["/sbin/init"]`. */
  readonly changes: readonly string[];
  /** One layer without history: what the script removed is really gone. */
  readonly flat: boolean;
}

const makeImage = async (recipe: Recipe): Promise<string> => {
  const tag = await tagOf(recipe.name, recipe.scripts, [recipe.from, ...recipe.inputs, ...recipe.changes]);
  return once(recipe.name, tag, async () => {
    const container = `airbundle-lab-make-${recipe.name}-${process.pid}`;
    const mounts = { ...recipe.mounts, '/setup': IMAGE_SCRIPTS };
    const changes = recipe.changes.flatMap((change) => ['--change', change]);
    try {
      await docker([
        ...['run', '--name', container, '--network', 'host'],
        ...Object.entries(mounts).flatMap(([to, from]) => ['-v', `${from}:${to}:ro`]),
        ...[recipe.from, 'sh', `/setup/${recipe.name}.sh`],
      ]);
      if (recipe.flat) await run(['sh', setup('flatten'), container, tag, ...changes]);
      else await docker(['commit', ...changes, container, tag]);
    } finally {
      await docker(['rm', '-f', '-v', container]);
    }
  });
};

/** rpm 4.16, and dnf under the name of yum: the stand-in for the CentOS collector image. */
export const collectorImage = async (): Promise<string> =>
  makeImage({
    name: 'collector',
    from: await baseImage(),
    scripts: ['collector', 'rpm-macros'],
    inputs: [],
    mounts: {},
    changes: ['CMD ["/bin/bash"]'],
    flat: false,
  });

/** rpmbuild, createrepo_c, dpkg-source: the lab's own workshop. */
export const builderImage = async (): Promise<string> =>
  makeImage({
    name: 'builder',
    from: await baseImage(),
    scripts: ['builder', 'rpm-macros'],
    inputs: [],
    mounts: {},
    changes: [],
    flat: false,
  });

export interface NodeImageInput {
  /** Debian packages of the base system. */
  readonly debs: readonly string[];
  /** Folder of the RPMs that the rpmdb should list, and nothing else. */
  readonly registered: string;
  /** Identity of that folder's contents. */
  readonly identity: string;
}

/** A server shaped like CentOS 7.5 that boots systemd; no compiler, no headers, no perl, no apt. */
export const nodeImage = async (input: NodeImageInput): Promise<string> =>
  makeImage({
    name: 'node',
    from: await baseImage(),
    scripts: ['node', 'rpm-macros', 'flatten', 'lab-init'],
    inputs: [...input.debs, input.identity],
    mounts: { '/registered': input.registered },
    changes: ['CMD ["/usr/sbin/lab-init"]'],
    flat: true,
  });

/** Node 20, the gRPC backend and its clients. `folder` holds `node`, `server.cjs`, `client.cjs`, `load.cjs`. */
export const backendImage = async (folder: string, identity: string): Promise<string> =>
  makeImage({
    name: 'backend',
    from: await baseImage(),
    scripts: ['backend', 'serve'],
    inputs: [identity],
    mounts: { '/backend': folder },
    changes: ['CMD ["/srv/serve"]'],
    flat: false,
  });

/** Holds /python.tar, which makes a node one that Ansible can work on. */
export const pythonImage = async (): Promise<string> =>
  makeImage({
    name: 'python',
    from: await baseImage(),
    scripts: ['python'],
    inputs: [],
    mounts: {},
    changes: [],
    flat: false,
  });

/** haproxy and keepalived, ready to read generated files. */
export const programsImage = async (): Promise<string> =>
  makeImage({
    name: 'programs',
    from: await baseImage(),
    scripts: ['programs'],
    inputs: [],
    mounts: {},
    changes: [],
    flat: false,
  });
