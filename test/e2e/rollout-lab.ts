import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import type { MadeBundle, SmallBundle } from '../install/bundle.js';
import { helloComponent } from '../install/bundle.js';
import { programsImage } from '../lab/images.js';
import type { Lab } from '../lab/machines.js';
import { LAB } from '../lab/paths.js';
import type { Fleet } from './deploy-lab.js';

/*
 * haproxy and keepalived without a build of minutes: Debian's own programs lie on the nodes in /opt/programs, and a
 * small bundle's "build" copies them. Everything from there on is the product's: configuration, units, VRRP.
 */

const PROGRAMS = '/opt/programs';
export const PORT = 50051;

/** Debian's haproxy and keepalived with the libraries that the nodes lack. */
export async function carryPrograms({ lab, nodes, ...fleet }: Fleet): Promise<void> {
  const work = mkdtempSync(path.join(LAB, 'programs-'));
  try {
    const image = await programsImage();
    const collect = [
      'set -e; cp /usr/sbin/haproxy /usr/sbin/keepalived /out/; mkdir /out/lib',
      "ldd /usr/sbin/haproxy /usr/sbin/keepalived | sed -n 's/.* => \\(\\/[^ ]*\\).*/\\1/p' | sort -u | xargs -I{} cp -L {} /out/lib/",
    ].join('; ');
    chmodSync(work, 0o755);
    execFileSync('docker', ['run', '--rm', '-v', `${work}:/out`, image, 'sh', '-c', collect]);
    for (const node of nodes) {
      await lab.copyIn(node, work, PROGRAMS);
      // What a node has of its own stays as it is.
      await fleet.sh(
        node,
        `cd ${PROGRAMS}/lib && for lib in *; do ldconfig -p | grep -qF "$lib" || cp "$lib" /usr/lib/x86_64-linux-gnu/; done; ldconfig; chmod -R a+rX ${PROGRAMS}`,
      );
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Two load balancers with one VIP in front of the lab's gRPC backends. */
export function pairSite(lab: Lab, nodes: readonly string[]): string {
  return stringify({
    'airbundle-site': 1,
    name: 'lab',
    nodes: nodes.map((name, index) => ({
      ...{ name, address: lab.nodes[name]?.address, interface: lab.interfaceName },
      role: index === 0 ? 'primary' : 'secondary',
    })),
    vips: [{ name: 'tts', address: `${lab.vip}/24` }],
    vrrp: { virtualRouterId: 51, secretFile: 'vrrp.secret' },
    services: [
      {
        ...{ name: 'tts', bind: 'tts', port: PORT, protocol: 'grpc' },
        backends: Object.values(lab.backends).map(({ name, address }) => ({
          name,
          address,
          port: lab.backendPort,
        })),
      },
    ],
  });
}

/** A release of both: another version is another recipe, so haproxy is built, placed and restarted anew. */
export function release(
  fleet: Fleet,
  version: string,
  sequence: number,
  given: Partial<SmallBundle> = {},
): Promise<MadeBundle> {
  const component = (name: string) =>
    helloComponent({
      ...{ name, version, configuration: name },
      build: [['sh', 'build.sh']],
      install: ['sh', `install-${name}.sh`, '{destdir}'],
      files: [`/usr/local/sbin/${name}`, ...(name === 'haproxy' ? ['/usr/local/share/tts-ha/version'] : [])],
    });
  const install = (name: string): string =>
    `set -e; install -D -m 755 ${PROGRAMS}/${name} "$1/usr/local/sbin/${name}"\n`;
  return fleet.pack({
    ...{ name: 'tts-ha', version, sequence },
    component: component('haproxy'),
    source: {
      'build.sh': ': nothing\n',
      'install-haproxy.sh': `${install('haproxy')}mkdir -p "$1/usr/local/share/tts-ha"; echo ${version} >"$1/usr/local/share/tts-ha/version"\n`,
      'install-keepalived.sh': install('keepalived'),
    },
    contents: (contents) => ({
      ...contents,
      components: [
        {
          ...component('haproxy'),
          ...(contents.components[0]?.source === undefined
            ? {}
            : { source: { ...contents.components[0].source, commit: commitOf(sequence) } }),
        },
        component('keepalived'),
      ],
    }),
    ...given,
  });
}

const commitOf = (sequence: number): ReturnType<typeof helloComponent>['source']['commit'] =>
  String(sequence).repeat(40) as ReturnType<typeof helloComponent>['source']['commit'];
