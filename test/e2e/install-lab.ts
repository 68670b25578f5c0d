import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import type { Nevra } from '../../src/model/nevra.js';
import type { MadeBundle, SmallBundle, TestKey } from '../install/bundle.js';
import { makeBundle, makeKey } from '../install/bundle.js';
import { node16 } from '../lab/backend-image.js';
import type { Outcome } from '../lab/docker.js';
import type { Lab } from '../lab/machines.js';
import { LAB, ROOT } from '../lab/paths.js';
import { labRepository } from '../lab/repository.js';

/** Where the operator's files lie on a node. */
export const DESK = '/root/desk';
const NODE = 'lb1';

/** A packager and a medium for small bundles; the runtime and the installer in them are the real ones. */
export interface Packer {
  readonly work: string;
  readonly key: TestKey;
  pack(given?: Partial<SmallBundle>): Promise<MadeBundle>;
  /** An RPM made for a test. */
  rpm(given: RpmSpec): { file: string; nevra: Nevra };
  /** RPMs of the lab's repository, by name. */
  labRpms(...names: string[]): Promise<{ file: string; nevra: Nevra }[]>;
  /** The same with everything that they require, down to glibc. */
  labClosure(...names: string[]): Promise<{ file: string; nevra: Nevra }[]>;
  remove(): void;
}

export interface RpmSpec {
  readonly name: string;
  readonly version?: string;
  readonly pre?: string;
  readonly post?: string;
  readonly preun?: string;
  readonly postun?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly requires?: string;
  /** A file of so many MiB of zeros: rpm is a while at it. */
  readonly large?: { readonly path: string; readonly mib: number };
}

export async function packer(): Promise<Packer> {
  mkdirSync(LAB, { recursive: true });
  const work = mkdtempSync(path.join(LAB, 'install-test-'));
  const key = makeKey();
  const runtime = await node16();
  const installer = path.join(work, 'installer.cjs');
  await build({
    entryPoints: [path.join(ROOT, 'src/installer.ts')],
    outfile: installer,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node16',
    charset: 'utf8',
    logLevel: 'error',
  });
  const installSh = readFileSync(path.join(ROOT, 'src/install/install.sh'), 'utf8');
  let count = 0;
  const next = (): string => path.join(work, String((count += 1)));
  return {
    work,
    key,
    pack: (given = {}) => makeBundle({ work: next(), key, runtime, installer, installSh, ...given }),
    rpm: (spec) => buildRpm(next(), spec),
    labRpms: async (...names) => {
      const { dir } = await labRepository();
      return names.map((name) => findRpm(path.join(dir, 'Packages'), name));
    },
    labClosure: async (...names) => {
      const { dir } = await labRepository();
      return closureOf(path.join(dir, 'Packages'), names);
    },
    remove: () => rmSync(work, { recursive: true, force: true }),
  };
}

const QUERY = '%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n';

function nevraOf(file: string): Nevra {
  const text = execFileSync('rpm', ['-qp', '--nosignature', '--queryformat', QUERY, file], {
    encoding: 'utf8',
  });
  const [name = '', epoch = '0', version = '', release = '', arch = ''] = text.trim().split('\t');
  return { name, epoch: Number(epoch), version, release, arch };
}

function findRpm(folder: string, name: string): { file: string; nevra: Nevra } {
  const files = execFileSync('find', [folder, '-name', `${name}-*.rpm`], { encoding: 'utf8' })
    .trim()
    .split('\n');
  for (const file of files) {
    const nevra = nevraOf(file);
    if (nevra.name === name && nevra.arch !== 'i686') return { file, nevra };
  }
  throw new Error(`the lab's repository has no ${name}`);
}

/** By names only: the lab's repository holds one version of each. */
function closureOf(folder: string, names: readonly string[]): { file: string; nevra: Nevra }[] {
  const files = execFileSync('find', [folder, '-name', '*.rpm', '!', '-name', '*.i686.rpm'], {
    encoding: 'utf8',
  })
    .trim()
    .split('\n');
  const query = '[R %{REQUIRENAME}\n][P %{PROVIDENAME}\n][P %{FILENAMES}\n]';
  const requires = new Map<string, string[]>();
  const providers = new Map<string, string>();
  for (const file of files) {
    const lines = execFileSync('rpm', ['-qp', '--nosignature', '--queryformat', query, file], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    }).split('\n');
    const words = (mark: string): string[] =>
      lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length));
    requires.set(file, words('R '));
    for (const word of words('P ')) if (!providers.has(word)) providers.set(word, file);
  }
  const chosen = new Set<string>();
  const choose = (word: string): void => {
    const file = providers.get(word);
    if (file === undefined || chosen.has(file)) return;
    chosen.add(file);
    for (const required of requires.get(file) ?? []) choose(required);
  };
  names.forEach(choose);
  return [...chosen].sort().map((file) => ({ file, nevra: nevraOf(file) }));
}

function buildRpm(folder: string, given: RpmSpec): { file: string; nevra: Nevra } {
  mkdirSync(folder, { recursive: true });
  const files = Object.entries(given.files ?? { [`/usr/share/${given.name}`]: given.name });
  const spec = path.join(folder, `${given.name}.spec`);
  writeFileSync(
    spec,
    [
      `Name: ${given.name}`,
      `Version: ${given.version ?? '1.0'}`,
      'Release: 1.el7',
      'Summary: a package of a test',
      'License: MIT',
      'BuildArch: noarch',
      'AutoReqProv: no',
      ...(given.requires === undefined ? [] : [`Requires: ${given.requires}`]),
      '%description',
      'A package of a test.',
      '%install',
      ...files.map(
        ([name, text]) => `install -D -m 644 /dev/stdin %{buildroot}${name} <<'EOT'\n${text}\nEOT`,
      ),
      ...(given.large === undefined
        ? []
        : [`truncate -s ${String(given.large.mib)}M %{buildroot}${given.large.path}`]),
      '%files',
      ...files.map(([name]) => name),
      ...(given.large === undefined ? [] : [given.large.path]),
      ...(given.pre === undefined ? [] : ['%pre -p /bin/sh', given.pre]),
      ...(given.post === undefined ? [] : ['%post -p /bin/sh', given.post]),
      ...(given.preun === undefined ? [] : ['%preun -p /bin/sh', given.preun]),
      ...(given.postun === undefined ? [] : ['%postun -p /bin/sh', given.postun]),
      '',
    ].join('\n'),
  );
  execFileSync(
    'rpmbuild',
    ['-bb', '--quiet', '--define', `_topdir ${folder}`, '--define', '_binary_payload w9.gzdio', spec],
    { stdio: 'pipe' },
  );
  const file = execFileSync('find', [folder, '-name', '*.rpm'], { encoding: 'utf8' }).trim();
  return { file, nevra: nevraOf(file) };
}

/** Prints everything that must be the same after a run that changed nothing. */
export const FINGERPRINT = [
  'rpm -qa | sort',
  "find /etc /usr /opt -xdev -type f -printf '%p %m %u:%g %s %T@\\n' | sort",
  "find /etc /usr /var/lib/airbundle -xdev ! -type f -printf '%p %m %u:%g %l\\n' | sort",
].join('; ');

/** One node and what an operator does on it. */
export interface Operator {
  /** Root's shell; LC_ALL and the rest as `env` says. */
  sh(text: string, options?: { env?: Record<string, string>; timeoutMs?: number }): Promise<Outcome>;
  /** Copies a bundle's folder to a medium, replacing what is there. @returns its path on the node */
  carry(bundle: MadeBundle): Promise<string>;
  /** `sh install.sh …` in the folder, as the first installation. */
  first(folder: string, extra?: string): Promise<Outcome>;
  /** Everything that must be the same after a run that changed nothing. */
  fingerprint(): Promise<string>;
  /** A node as before: no bundle, no trust, no leftovers of a test. */
  reset(): Promise<void>;
}

export function operator(lab: Lab, key: TestKey): Operator {
  const sh: Operator['sh'] = (text, options = {}) =>
    lab.exec(NODE, ['sh', '-c', text], {
      ...(options.env === undefined ? {} : { env: options.env }),
      timeoutMs: options.timeoutMs ?? 120_000,
    });
  return {
    sh,
    async carry(bundle) {
      const medium = `/media/usb/${bundle.stem}`;
      await sh(`rm -rf '${medium}'; mkdir -p /media/usb ${DESK}; chmod 700 /media/usb ${DESK}`);
      await lab.copyIn(NODE, bundle.folder, '/media/usb');
      await sh(`cat >${DESK}/key.pem <<'EOT'\n${key.pem}EOT`);
      return medium;
    },
    first: (folder, extra = '-y') =>
      sh(`cd '${folder}' && sh install.sh --key ${DESK}/key.pem --fingerprint ${key.fingerprint} ${extra}`),
    async fingerprint() {
      return (await sh(FINGERPRINT)).stdout;
    },
    async reset() {
      await sh(
        [
          'rm -rf /etc/airbundle /var/lib/airbundle /var/log/airbundle /usr/libexec/airbundle',
          'rm -rf /usr/sbin/airbundle /usr/sbin/bundle /usr/local/bin/hello /usr/local/share/hello /media/usb',
          'rm -f /usr/local/bin/hi /root/hold',
          // First what requires the other.
          'for name in other slow; do rpm -e --noscripts "$name" >/dev/null 2>&1; done; rm -f /var/lib/slow.*',
        ].join('; '),
      );
    },
  };
}

const RPM = '/usr/bin/rpm';
/** Of the same name, by which rpm finds its own options (--verifydb). */
const REAL_RPM = '/opt/real/rpm';

/**
 * A command in which the rpm that installs is killed, once half of its second write to a file is done.
 * @param shim the library of `makeShim`, on the node
 * @param file that a package has, of more than one write
 */
export async function withDyingRpm(
  { sh }: Pick<Operator, 'sh'>,
  { shim, file }: { readonly shim: string; readonly file: string },
  command: () => Promise<Outcome>,
): Promise<Outcome> {
  const fault = `FAULT_PREFIX=${file} FAULT_AT=3 FAULT_KIND=torn LD_PRELOAD=${shim}`;
  const wrapper = `#!/bin/sh\ncase "$*" in *--force*) export ${fault} ;; esac\nexec ${REAL_RPM} "$@"\n`;
  await sh(
    `mkdir -p /opt/real && mv ${RPM} ${REAL_RPM} && printf '%s' '${wrapper}' >${RPM} && chmod 755 ${RPM}`,
  );
  const done = await command();
  await sh(`mv ${REAL_RPM} ${RPM}; rmdir /opt/real`);
  // A database that it was in is another matter (RPMDB_UNREADABLE).
  await sh('rm -f /var/lib/rpm/__db.*');
  return done;
}
