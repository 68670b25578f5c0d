/*
 * One upload, as a jump host does it: upload.ts makes one file of this and starts it with the runtime that a bundle
 * brings. Prints times of what the node is asked, in ms, and the CPU time of this end during the transfer.
 */
import { readFileSync } from 'node:fs';
import { linkTo } from '../../src/fleet/connect.js';
import { credentials } from '../../src/fleet/credentials.js';
import type { Consignment } from '../../src/fleet/local-bundle.js';
import type { NodeShell } from '../../src/fleet/shell.js';
import { nodeShell } from '../../src/fleet/shell.js';
import { upload } from '../../src/fleet/upload.js';
import { localHost } from '../../src/host/local.js';
import { dialSsh } from '../../src/host/ssh.js';

export interface Once {
  readonly address: string;
  readonly home: string;
  readonly configFile: string;
  readonly stem: string;
  readonly file: Consignment['files'][number];
}

export interface Measured {
  readonly transferMs: number;
  readonly transferCpuMs: number;
  readonly proofMs: number;
}

async function once({ address, home, configFile, stem, file }: Once): Promise<Measured> {
  const known = credentials(undefined);
  const setting = {
    ...{ host: localHost(), dial: dialSsh, flags: { configFile, user: 'root' } },
    ...{ surroundings: { home, agentSocket: undefined }, credentials: known, hostKeys: new Map() },
  };
  const shell = nodeShell(await linkTo({ name: 'lb1', address }, setting), known);
  const tookMs = new Map<string, number>();
  let cpuMs = 0;
  const timed: NodeShell = {
    ...shell,
    async run(words, options) {
      // sh -c SCRIPT node-side VERB …
      const verb = words[4] ?? '';
      const fromMs = performance.now();
      const fromCpu = process.cpuUsage();
      const result = await shell.run(words, options);
      const cpu = process.cpuUsage(fromCpu);
      tookMs.set(verb, performance.now() - fromMs);
      if (verb === 'receive') cpuMs = (cpu.user + cpu.system) / 1000;
      return result;
    },
  };
  await shell.run(['true'], { asRoot: true });
  // Only what an upload looks at.
  const consignment = { stem, files: [file], desk: [], siteName: 'site.yaml', key: { name: 'key.pem' } };
  await upload(setting.host, timed, consignment as unknown as Consignment, () => undefined);
  shell.close();
  return {
    transferMs: tookMs.get('receive') ?? 0,
    transferCpuMs: cpuMs,
    proofMs: tookMs.get('finish') ?? 0,
  };
}

void once(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Once).then((measured) => {
  process.stdout.write(`${JSON.stringify(measured)}\n`);
});
