import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import type { MadeBundle, TestKey } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import { ROOT } from '../lab/paths.js';
import type { Packer } from './install-lab.js';
import { packer } from './install-lab.js';

/** The operator's folder on the jump host. */
export const DESK = '/root/desk';
export const JUMP = 'jump';
/** A busy machine may need minutes for what takes seconds: a limit, no measure. */
const DEPLOY_MS = 600_000;

export interface Fleet {
  readonly lab: Lab;
  readonly key: TestKey;
  /** A bundle that carries the tools. */
  readonly pack: Packer['pack'];
  /** The machines of the site. */
  readonly nodes: readonly string[];
  /** On a machine, as root. */
  sh(machine: string, text: string, timeoutMs?: number): Promise<Outcome>;
  /** Brings a bundle's folder to the jump host. @returns its path there */
  carry(bundle: MadeBundle): Promise<string>;
  /** `airbundle deploy FOLDER --site … EXTRA` on the jump host, which trusts the key. */
  deploy(folder: string, extra?: string): Promise<Outcome>;
  down(): Promise<void>;
}

const site = (lab: Lab, nodes: readonly string[]): string =>
  [
    'airbundle-site: 1',
    'name: lab',
    'nodes:',
    ...nodes.map(
      (name, index) =>
        `  - { name: ${name}, address: ${lab.nodes[name]?.address ?? ''}, interface: eth0, priority: ${String(200 - index)} }`,
    ),
    '',
  ].join('\n');

export interface FleetOptions {
  /** gRPC backends. */
  readonly backends?: readonly string[];
  /** The text of the site file; nodes without VIPs and services when absent. */
  readonly site?: (lab: Lab, nodes: readonly string[]) => string;
}

/** A jump host with its tools and a key that every node lets in as root. */
export async function fleet(nodes: readonly string[], more: FleetOptions = {}): Promise<Fleet> {
  const pack = await packer();
  const lab = await startLab({ nodes: [...nodes, JUMP], backends: more.backends ?? [] });
  const sh: Fleet['sh'] = (machine, text, timeoutMs = 120_000) =>
    lab.exec(machine, ['bash', '-c', text], { timeoutMs });
  const tools = path.join(pack.work, 'deploy.cjs');
  await build({
    entryPoints: [path.join(ROOT, 'src/deploy.ts')],
    outfile: tools,
    ...{
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node16',
      charset: 'utf8',
      logLevel: 'error',
    },
    external: ['cpu-features', '*.node'],
  });
  await sh(
    JUMP,
    `mkdir -p -m 700 ${DESK} /root/.ssh; ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519`,
  );
  const publicKey = (await sh(JUMP, 'cat /root/.ssh/id_ed25519.pub')).stdout.trim();
  for (const node of nodes) {
    await sh(
      node,
      `systemctl start ssh; mkdir -p -m 700 /root/.ssh; echo '${publicKey}' >>/root/.ssh/authorized_keys`,
    );
    const hostKey = (await sh(node, 'cat /etc/ssh/ssh_host_ed25519_key.pub')).stdout.trim();
    await sh(JUMP, `echo '${lab.nodes[node]?.address ?? ''} ${hostKey}' >>/root/.ssh/known_hosts`);
  }
  const siteFile = path.join(pack.work, 'site.yaml');
  writeFileSync(siteFile, (more.site ?? site)(lab, nodes));
  await lab.copyIn(JUMP, siteFile, `${DESK}/site.yaml`);
  const keyFile = path.join(pack.work, 'key.pem');
  writeFileSync(keyFile, pack.key.pem);
  await lab.copyIn(JUMP, keyFile, `${DESK}/key.pem`);
  return {
    ...{ lab, nodes, sh },
    pack: (given = {}) => pack.pack({ deploy: tools, ...given }),
    key: pack.key,
    async carry(bundle) {
      await sh(JUMP, `rm -rf '${DESK}/${bundle.stem}'`);
      await lab.copyIn(JUMP, bundle.folder, DESK);
      return `${DESK}/${bundle.stem}`;
    },
    deploy: (folder, extra = '') =>
      sh(
        JUMP,
        `cd ${DESK} && airbundle deploy '${folder}' --site site.yaml -y ${extra} </dev/null`,
        DEPLOY_MS,
      ),
    async down() {
      await lab.down();
      pack.remove();
    },
  };
}
