import { readFileSync } from 'node:fs';
import { BundledConfiguration } from '../../src/model/declared.js';
import type { Packer } from '../e2e/install-lab.js';
import type { BundledComponent } from '../../src/model/contents.js';
import type { MadeBundle } from '../install/bundle.js';
import { helloComponent } from '../install/bundle.js';

type Commit = BundledComponent['source']['commit'];

/*
 * A product in miniature, so that an installation can be broken off hundreds of times: two RPMs with
 * scriptlets, a one-file source, an account, a folder, a configuration, a service that answers. The
 * installer in the bundle is the real one; the runtime is a stand-in.
 */

export const SERVICE = 'mini.service';
/** What the service says, by bundle. */
export const ANSWER = { old: 'mini 1.0.0 every 7', new: 'mini 1.1.0 every 7' } as const;

export interface Miniature {
  readonly old: MadeBundle;
  readonly new: MadeBundle;
  /** Of the package that the new one replaces. */
  readonly oldRpm: string;
}

const text = (name: string): string => readFileSync(new URL(`./mini/${name}`, import.meta.url), 'utf8');

const configurationOf = (version: string): BundledConfiguration =>
  BundledConfiguration.parse({
    values: { every: { type: 'integer', min: 1, max: 100 } },
    accounts: [{ name: 'mini' }],
    directories: [{ path: '/var/lib/mini-data', mode: '0750', owner: 'mini' }],
    files: [
      {
        path: '/etc/mini/mini.conf',
        mode: '0640',
        group: 'mini',
        content: `# {{notice}}\n# mini ${version}\nevery {{every}}\n`,
        validate: { command: ['/usr/local/bin/mini', '--test', '{file}'] },
      },
    ],
    units: [
      {
        name: SERVICE,
        content:
          '[Unit]\nDescription=miniature\nStartLimitIntervalSec=0\n[Service]\nExecStart=/usr/local/bin/mini\nRestart=on-failure\nRestartSec=1\n[Install]\nWantedBy=multi-user.target\n',
      },
    ],
    checks: [{ command: ['/usr/local/bin/mini', 'ask'], expect: 'every {{every}}', timeout: '15s' }],
    version: ['/usr/local/bin/mini', '--version'],
  });

export const SITE = `airbundle-site: 1
name: mini
nodes: [{ name: lb1, address: 10.0.0.1, interface: eth0 }]
components: { mini: { every: 7 } }
`;

const scriptlet = (name: string, when: string): string =>
  `[ ! -e /opt/faults/${name}.${when}-fails ] || { echo "${name}: told to fail in %${when}" >&2; exit 1; }; ` +
  `while [ -e /opt/faults/${name}.${when}-waits ]; do echo $$ >/opt/faults/${name}.${when}-is-here; sleep 0.05; done; ` +
  `mkdir -p /var/lib/mini; echo done >/var/lib/mini/${name}.${when}`;

export async function miniature(pack: Packer, installer?: string): Promise<Miniature> {
  const rpm = (name: string, version: string, requires?: string): ReturnType<Packer['rpm']> =>
    pack.rpm({
      name,
      version,
      files: { [`/usr/share/${name}`]: `${name} ${version}` },
      pre: scriptlet(name, 'pre'),
      post: scriptlet(name, 'post'),
      ...(requires === undefined ? {} : { requires }),
    });
  const library = rpm('mini-lib', '1.0');
  const nextLibrary = rpm('mini-lib', '2.0');
  const extra = rpm('mini-extra', '1.0', 'mini-lib');
  const bundle = (version: string, sequence: number, rpms: (typeof library)[]): Promise<MadeBundle> =>
    pack.pack({
      name: 'mini',
      version,
      sequence,
      rpms,
      source: {
        'build.sh': text('build.sh'),
        'install.sh': text('install.sh'),
        'mini.js': text('mini.js'),
        version: version,
      },
      component: {
        name: 'mini',
        version,
        // Another commit, so that the component is built again.
        source: { ...helloComponent().source, commit: String(sequence).repeat(40) as Commit },
        configuration: configurationOf(version),
        files: ['/usr/local/bin/mini', '/usr/local/share/mini/*'],
        links: [{ path: '/usr/local/bin/mini-link', to: '/usr/local/bin/mini' }],
      },
      runtime: new URL('./mini/runtime.sh', import.meta.url).pathname,
      ...(installer === undefined ? {} : { installer }),
    });
  return {
    old: await bundle('1.0.0', 1, [library]),
    new: await bundle('1.1.0', 2, [nextLibrary, extra]),
    oldRpm: library.file,
  };
}
