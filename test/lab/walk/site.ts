import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Lab } from '../machines.js';

/** The port of the VIP on which the clients call. */
export const SERVICE_PORT = 50051;

export interface SiteChoices {
  /** Names of the backends that the site knows; all of them when absent. */
  readonly backends?: readonly string[];
  readonly maxConnections?: number;
}

/**
 * The site of a lab: its nodes, one VIP, its gRPC backends; and the VRRP secret beside it.
 * @returns the folder, with site.yaml and vrrp.secret
 */
export async function labSite(lab: Lab, folder: string, choices: SiteChoices = {}): Promise<string> {
  const { backends = Object.keys(lab.backends), maxConnections } = choices;
  const site = join(folder, 'site');
  await mkdir(site, { recursive: true });
  const nodes = Object.values(lab.nodes).map(({ name, address }, index) => ({
    name,
    address,
    interface: lab.interfaceName,
    role: index === 0 ? 'primary' : 'secondary',
  }));
  const text = stringify({
    'airbundle-site': 1,
    name: 'lab',
    nodes,
    vips: [{ name: 'tts', address: `${lab.vip}/24` }],
    vrrp: { virtualRouterId: 51, secretFile: 'vrrp.secret' },
    services: [
      {
        name: 'tts',
        bind: 'tts',
        port: SERVICE_PORT,
        protocol: 'grpc',
        backends: Object.values(lab.backends)
          .filter(({ name }) => backends.includes(name))
          .map(({ name, address }) => ({ name, address, port: lab.backendPort })),
      },
    ],
    ...(maxConnections === undefined ? {} : { haproxy: { maxConnections } }),
  });
  await writeFile(join(site, 'site.yaml'), text);
  await writeFile(join(site, 'vrrp.secret'), 's3cr3t-8\n', { mode: 0o600 });
  return site;
}
