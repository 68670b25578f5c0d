/*
 * An upload to some nodes at once, as a jump host does it: upload.ts makes one file of this and starts it with the
 * runtime that a bundle brings. Prints how long the slowest transfer, the slowest proof and the whole took, in ms.
 */
import { readFileSync } from 'node:fs';
import { linkTo } from '../../src/fleet/connect.js';
import { credentials } from '../../src/fleet/credentials.js';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import type { NodeShell } from '../../src/fleet/shell.js';
import { nodeShell } from '../../src/fleet/shell.js';
import { upload } from '../../src/fleet/upload.js';
import type { ReadHost } from '../../src/host/host.js';
import { localHost } from '../../src/host/local.js';
import { dialSsh } from '../../src/host/ssh.js';

export interface Once {
  readonly addresses: readonly string[];
  readonly home: string;
  readonly configFile: string;
  readonly stem: string;
  readonly file: Consignment['files'][number];
}

export interface Measured {
  readonly transferMs: number;
  readonly proofMs: number;
  /** Both of all nodes, from the first byte to the last proof. */
  readonly wholeMs: number;
}

async function once(given: Once): Promise<Measured> {
  const nodes = await Promise.all(given.addresses.map((address) => open(given, address)));
  const fromMs = performance.now();
  const measured = await Promise.all(nodes.map((node) => send(given, node)));
  const wholeMs = performance.now() - fromMs;
  for (const { shell } of nodes) shell.close();
  return {
    transferMs: Math.max(...measured.map(({ transferMs }) => transferMs)),
    proofMs: Math.max(...measured.map(({ proofMs }) => proofMs)),
    wholeMs,
  };
}

interface Node {
  readonly host: ReadHost;
  readonly shell: NodeShell;
}

async function open({ home, configFile }: Once, address: string): Promise<Node> {
  const known = credentials(undefined);
  const setting = {
    ...{ host: localHost(), dial: dialSsh, flags: { configFile, user: 'root' } },
    ...{ surroundings: { home, agentSocket: undefined }, credentials: known, hostKeys: new Map() },
  };
  const shell = nodeShell(await linkTo({ name: address, address }, setting), known);
  await shell.run(['true'], { asRoot: true });
  return { host: setting.host, shell };
}

async function send({ stem, file }: Once, { host, shell }: Node): Promise<Omit<Measured, 'wholeMs'>> {
  const tookMs = new Map<string, number>();
  const timed: NodeShell = {
    ...shell,
    async run(words, options) {
      // sh -c SCRIPT node-side VERB …
      const verb = words[4] ?? '';
      const fromMs = performance.now();
      const result = await shell.run(words, options);
      tookMs.set(verb, performance.now() - fromMs);
      return result;
    },
  };
  // Only what an upload looks at.
  const consignment = { stem, files: [file], desk: [], siteName: 'site.yaml', key: { name: 'key.pem' } };
  await upload(host, timed, consignment as unknown as Consignment, () => undefined);
  return { transferMs: tookMs.get('receive') ?? 0, proofMs: tookMs.get('finish') ?? 0 };
}

void once(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Once).then((measured) => {
  process.stdout.write(`${JSON.stringify(measured)}\n`);
});
