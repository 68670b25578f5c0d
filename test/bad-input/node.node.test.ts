import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeKey } from '../install/bundle.js';
import type { Outcome } from '../lab/docker.js';
import { node16 } from '../lab/backend-image.js';
import type { Lab } from '../lab/machines.js';
import { startLab } from '../lab/machines.js';
import type { Operator, Packer } from '../e2e/install-lab.js';
import { DESK, FINGERPRINT, operator, packer } from '../e2e/install-lab.js';
import { HOSTILE, makeMedium, MEDIUM, RUNTIME } from './node-bundles.js';
import { terminal } from './node-terminal.js';
import { badInputTable } from './table.js';

/*
 * What an operator gets for bad input, typed on one real node. After each row the node is as before:
 * files with mode, owner and time, rpmdb, enabled units, and airbundle's own folders.
 */

const table = badInputTable('node');
const STATE = '/var/lib/airbundle';
/** The operator's note of the fingerprint. */
const FINGERPRINT_OF = `$(cat ${DESK}/key.fingerprint)`;
const TRUSTING = `--key ${DESK}/key.pem --fingerprint ${FINGERPRINT_OF}`;
const LOG = '/var/log/airbundle/build-hello.log';

interface Row {
  readonly what: string;
  /** Done before and after, whatever comes of it. */
  readonly before?: string;
  readonly after?: string;
  /** What the operator types. */
  readonly type: string;
  readonly exit: number;
  readonly code: string;
  /** The message says little without its first line of evidence: the table shows both. */
  readonly evidence?: true;
}

/** What differs from run to run. */
const MASKED: readonly (readonly [RegExp, string])[] = [
  [/\b(?:[0-9a-f]{4} ){15}[0-9a-f]{4}\b/g, 'FINGERPRINT'],
  [/\b[0-9a-f]{64}\b/g, 'SHA256'],
  [/\b[0-9a-f]{16}(?=\.sig\b)|(?<=signed by )[0-9a-f]{16}\b/g, 'KEYID'],
  [/\b\d{8}T\d{6}Z-\d+/g, 'RUN'],
  [/\bfirst\.\d+\.\w+/g, 'first.PID'],
  [/\bprocess \d+, since \S+/g, 'process PID, since TIME'],
  [/\bSHA-256 is \S+, expected \S+/g, 'SHA-256 is SHA256, expected SHA256'],
  [/\b10\.213\.\d+\.\d+/g, 'ADDRESS'],
  [/\b\d+ MiB free, \d+ MiB\b/g, 'N MiB free, N MiB'],
];

/** Message and first evidence in one line, as the table shows it. */
const withEvidence = (stderr: string): string =>
  stderr.replace(/^(error\[.*)\n((?: {2}at: .*\n)?) {2}\| (.*)$/m, '$1: $3\n$2');

let lab: Lab;
let pack: Packer;
let op: Operator;
let medium: string;

beforeAll(async () => {
  pack = await packer();
  [lab, medium] = await Promise.all([startLab({ nodes: ['lb1'] }), makeMedium(pack)]);
  op = operator(lab, pack.key);
  await op.sh(`mkdir -p ${RUNTIME.replace(/\/[^/]*$/, '')}; chmod 755 /opt/lab-node`);
  await lab.copyIn('lb1', await node16(), RUNTIME);
  await carryAll();
});
afterAll(async () => {
  await lab.down();
  pack.remove();
});

/** The medium and the operator's desk, whole again. */
const carryAll = async (): Promise<void> => {
  await op.sh(`chmod 755 ${RUNTIME}; rm -rf ${MEDIUM} ${DESK}; mkdir -p ${DESK} /media; chmod 700 ${DESK}`);
  await lab.copyIn('lb1', medium, '/media');
  const other = makeKey();
  const site = (extra: string, on = 'eth0'): string =>
    `airbundle-site: 1\nname: bank\nnodes: [{ name: lb1, address: ${lab.nodes['lb1']!.address}, interface: ${on}, role: primary }]\n${extra}`;
  const files: Record<string, string> = {
    'key.pem': pack.key.pem,
    'key.fingerprint': pack.key.fingerprint,
    'other.pem': other.pem,
    'other.fingerprint': other.fingerprint,
    'site.yaml': site('components: { hello: { port: 8080 } }\n'),
    'syntax.yaml': site('components: { hello: { port: 8080 }\n'),
    'value.yaml': site('components: { hello: { port: 80800 } }\n'),
    'missing.yaml': site(''),
    'ssh.yaml': site('components: { hello: { port: 22 } }\n'),
    'vips.yaml': site(
      `vips: [{ name: tts, address: ${lab.vip}/24 }]\nvrrp: { virtualRouterId: 51, secretFile: vrrp.secret }\n`,
      'eth9',
    ),
    'outside.yaml': site(
      'vips: [{ name: tts, address: 10.9.9.100/32 }]\nvrrp: { virtualRouterId: 51, secretFile: vrrp.secret }\n',
    ),
    'other-node.yaml': site(
      `vips: [{ name: tts, address: ${lab.vip}/24 }]\nvrrp: { virtualRouterId: 51, secretFile: vrrp.secret }\n`,
    ).replace(
      /nodes: .*/,
      `nodes: [{ name: lb1, address: ${lab.vip.replace(/\d+$/, '201')}, interface: eth0, role: primary }, { name: lb2, address: ${lab.vip.replace(/\d+$/, '202')}, interface: eth0, role: secondary }]`,
    ),
    'lost-secret.yaml': site(
      `vips: [{ name: tts, address: ${lab.vip}/24 }]\nvrrp: { virtualRouterId: 51, secretFile: lost.secret }\n`,
    ),
    'vrrp.secret': 's3cr3t-8\n',
  };
  await op.sh(
    [
      `chmod 700 ${MEDIUM}`,
      ...Object.entries(files).map(([name, text]) => `cat >${DESK}/${name} <<'EOT'\n${text.trimEnd()}\nEOT`),
      `chmod 600 ${DESK}/*`,
    ].join('\n'),
  );
};

/** Everything that must be as before. Empty folders of airbundle's own are documented, and come and go. */
const stateOfNode = async (): Promise<string> => {
  const found = await op.sh(
    [
      `ls -A ${STATE}/stage ${STATE}/build 2>/dev/null | grep -v -e '^$' -e ':$'`,
      `[ -e ${STATE}/receipt.json ] || rmdir ${STATE}/stage ${STATE}/build ${STATE}/backup ${STATE} /var/log/airbundle 2>/dev/null`,
      `sha256sum ${STATE}/receipt.json 2>/dev/null`,
      'systemctl list-unit-files --no-pager --no-legend',
      'findmnt -rno TARGET',
      'getent passwd; getent group',
      FINGERPRINT,
    ].join('; '),
  );
  return found.stdout
    .split('\n')
    .filter((line) => !line.startsWith(`${STATE}/backup/`) && !line.startsWith(`${STATE}/receipts `))
    .join('\n');
};

const typed = ({ before = ':', type, after = ':' }: Row): Promise<Outcome> =>
  op.sh(
    `{ ${before}\n} >/dev/null 2>&1\n${type}\nended=$?\n{ cd /; ${after}\n} >/dev/null 2>&1\nexit $ended`,
  );

let known: string | undefined;

const expectRow = async (row: Row): Promise<void> => {
  known ??= await stateOfNode();
  const done = await typed(row);
  expect([done.exitCode, done.stderr]).toEqual([row.exit, expect.stringContaining(`error[${row.code}]`)]);
  expect(done.stderr).not.toContain('not undone');
  const stderr = row.evidence === true ? withEvidence(done.stderr) : done.stderr;
  table.row(row.what, { exit: done.exitCode, stderr }, MASKED);
  const now = await stateOfNode();
  const lost = new Set(now.split('\n'));
  const was = new Set(known.split('\n'));
  expect({
    gone: [...was].filter((line) => !lost.has(line)),
    come: [...lost].filter((line) => !was.has(line)),
  }).toEqual({ gone: [], come: [] });
};

/** A copy of the good folder to change; the shell stands in it. */
const changed = (how: string): Pick<Row, 'before' | 'after'> => ({
  before: `cp -r ${MEDIUM}/good /media/usb/case; cd /media/usb/case; ${how}`,
  after: 'rm -rf /media/usb/case',
});
const X = '"$(basename *.sha256 .sha256)"';
const FILES: Readonly<Record<string, string>> = {
  'X.tar': `${X}.tar`,
  'X.sha256': `${X}.sha256`,
  'the signature': '*.sig',
  'install.sh': 'install.sh',
};
const CHANGES: Readonly<Record<string, (file: string) => string>> = {
  'is missing': (file) => `rm ${file}`,
  'is that of another bundle': (file) =>
    `other=$(cd ${MEDIUM}/lower; echo ${file}); cat ${MEDIUM}/lower/"$other" >f; mv f ${file}`,
  'was altered': (file) =>
    `printf X | dd of=$(echo ${file}) bs=1 seek=$(( $(stat -c %s ${file}) / 2 )) conv=notrunc`,
};
const tmpfs = (size: string, where: string): Pick<Row, 'before' | 'after'> => ({
  before: `mkdir -p ${where}; mount -t tmpfs -o mode=755,${size} tmpfs ${where}`,
  after: `umount -l ${where}`,
});

describe('a first installation', () => {
  const first = (folder: string, words = '-y'): string =>
    `cd ${folder} && sh install.sh ${TRUSTING} ${words}`;
  const GOOD = `${MEDIUM}/good`;
  const rows: Row[] = [
    {
      what: '`sh install.sh`, not as root',
      before: 'chmod 755 /media/usb',
      type: `cd ${GOOD} && setpriv --reuid 65534 --clear-groups sh install.sh --site site.yaml --node lb1`,
      after: 'chmod 700 /media/usb',
      ...{ exit: 5, code: 'NOT_ROOT' },
    },
    {
      what: '`openssl` is not installed',
      before: 'mv /usr/bin/openssl /usr/bin/openssl.away',
      type: first(GOOD),
      after: 'mv /usr/bin/openssl.away /usr/bin/openssl',
      ...{ exit: 5, code: 'TOOL_MISSING' },
    },
    { what: 'no key', type: `sh ${GOOD}/install.sh -y`, exit: 2, code: 'NO_TRUST' },
    {
      what: 'a key file that is not there',
      type: `sh ${GOOD}/install.sh --key ${DESK}/none.pem -y`,
      ...{ exit: 2, code: 'NO_KEY' },
    },
    {
      what: 'no fingerprint, and no terminal to ask on',
      type: `sh ${GOOD}/install.sh --key ${DESK}/key.pem -y`,
      ...{ exit: 2, code: 'NO_FINGERPRINT' },
    },
    {
      what: 'a fingerprint with a digit too few',
      type: `sh ${GOOD}/install.sh --key ${DESK}/key.pem --fingerprint $(cut -c 2- ${DESK}/key.fingerprint) -y`,
      ...{ exit: 2, code: 'NO_FINGERPRINT' },
    },
    {
      what: 'a fingerprint in words',
      type: `sh ${GOOD}/install.sh --key ${DESK}/key.pem --fingerprint 'as told' -y`,
      ...{ exit: 2, code: 'NO_FINGERPRINT' },
    },
    {
      what: "another key's fingerprint",
      type: `sh ${GOOD}/install.sh --key ${DESK}/key.pem --fingerprint $(cat ${DESK}/other.fingerprint) -y`,
      ...{ exit: 4, code: 'WRONG_FINGERPRINT' },
    },
    {
      what: 'another key, with its own fingerprint',
      type: `sh ${GOOD}/install.sh --key ${DESK}/other.pem --fingerprint $(cat ${DESK}/other.fingerprint) -y`,
      ...{ exit: 4, code: 'BAD_SIGNATURE', evidence: true as const },
    },
    {
      what: 'a file that is no key',
      type: `sh ${GOOD}/install.sh --key ${DESK}/site.yaml --fingerprint ${FINGERPRINT_OF} -y`,
      ...{ exit: 4, code: 'BAD_PUBLIC_KEY' },
    },
    ...Object.entries(FILES).flatMap(([name, file]) =>
      Object.entries(CHANGES).flatMap(([how, change]): Row[] => {
        // Without install.sh there is nothing to type; an altered one here is a valid script with one more line.
        if (name === 'install.sh' && how === 'is missing') return [];
        const text = name === 'install.sh' ? 'echo "# one more line" >>install.sh' : change(file);
        if (name === 'install.sh' && how === 'is that of another bundle') return [];
        const code =
          name === 'X.sha256' && how === 'is missing'
            ? 'NO_BUNDLE'
            : name === 'X.tar' && how === 'is missing'
              ? 'MISSING'
              : name === 'X.tar' || name === 'install.sh'
                ? 'BAD_CHECKSUM'
                : 'BAD_SIGNATURE';
        return [
          {
            what: `${name} ${how}`,
            ...changed(text),
            type: `sh install.sh ${TRUSTING} -y`,
            ...{ exit: 4, code },
            ...(code.startsWith('BAD') ? { evidence: true as const } : {}),
          },
        ];
      }),
    ),
    {
      what: 'a link instead of X.tar',
      ...changed(`mv ${X}.tar ../moved; ln -s ../moved ${MEDIUM}/case/small-1.1.0-el7.x86_64.tar`),
      type: `sh install.sh ${TRUSTING} -y`,
      after: 'rm -rf /media/usb/case /media/usb/moved',
      ...{ exit: 4, code: 'MISSING' },
    },
    {
      what: 'a second X.sha256 in the folder',
      ...changed(`cp ${X}.sha256 second.sha256`),
      type: `sh install.sh ${TRUSTING} -y`,
      ...{ exit: 4, code: 'NO_BUNDLE' },
    },
    ...Object.keys(HOSTILE).map((what, index): Row => ({
      what: `a payload with ${what}, signed with the right key; openssl and sha256sum accept it`,
      type: `cd ${MEDIUM}/hostile-${String(index)} && openssl dgst -sha256 -verify ${DESK}/key.pem -signature *.sig *.sha256 >/dev/null && sha256sum --strict -c *.sha256 >/dev/null && sh install.sh ${TRUSTING} -y`,
      ...{ exit: 4, code: 'BAD_PAYLOAD' },
    })),
    {
      what: 'X.sha256 and bundle.json name different sequences',
      type: first(`${MEDIUM}/other-release`),
      ...{ exit: 4, code: 'OTHER_RELEASE' },
    },
    {
      what: 'a bundle for another architecture',
      type: first(`${MEDIUM}/other-arch`),
      ...{ exit: 4, code: 'BAD_CONTENTS', evidence: true },
    },
    {
      what: 'a machine of another architecture (uname is a stand-in)',
      before:
        "printf '#!/bin/sh\\necho aarch64\\n' >/opt/uname; chmod 755 /opt/uname; mount --bind /opt/uname /usr/bin/uname",
      type: first(GOOD),
      after: 'umount /usr/bin/uname; rm /opt/uname',
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: 'CentOS 7.9 instead of 7.5',
      before:
        'for file in /etc/centos-release /etc/redhat-release; do [ -e $file ] && at=$(readlink -f $file); done; sed s/7\\.5\\.1804/7.9.2009/ $at >/run/release; mount --bind /run/release $at',
      type: first(GOOD),
      after: 'umount $at; rm /run/release',
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: 'Rocky Linux instead of CentOS',
      before:
        'at=$(readlink -f /etc/os-release); sed -e s/^ID=.*/ID=rocky/ -e "s/^PRETTY_NAME=.*/PRETTY_NAME=\\"Rocky Linux 8\\"/" $at >/run/release; mount --bind /run/release $at',
      type: first(GOOD),
      after: 'umount $at; rm /run/release',
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: 'too little disk in /var/lib/airbundle for the copy of the folder',
      ...tmpfs('size=64k', STATE),
      type: first(GOOD),
      ...{ exit: 5, code: 'NO_ROOM' },
    },
    {
      what: 'too little disk in /var/lib/airbundle for a build',
      ...tmpfs('size=64m', STATE),
      type: first(GOOD),
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: '/var/lib/airbundle is mounted noexec',
      ...tmpfs('noexec', STATE),
      type: first(GOOD),
      ...{ exit: 5, code: 'NOEXEC' },
    },
    {
      what: '/var/lib/airbundle is mounted read-only',
      ...tmpfs('ro', STATE),
      type: first(GOOD),
      ...{ exit: 5, code: 'NO_STAGE' },
    },
    {
      what: '/usr is mounted read-only',
      before: 'mount --bind /usr /usr; mount -o remount,bind,ro /usr',
      type: first(GOOD),
      after: 'umount -l /usr',
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: 'an RPM of the bundle needs what neither it nor the node has',
      type: first(`${MEDIUM}/lacking-rpm`),
      ...{ exit: 5, code: 'PLAN_REFUSED', evidence: true },
    },
    {
      what: 'no `-y`, and no terminal to ask on',
      type: first(GOOD, ''),
      ...{ exit: 2, code: 'NO_TERMINAL' },
    },
  ];

  beforeAll(async () => {
    await op.reset();
    await carryAll();
    known = undefined;
  });

  it.each(rows.map((row) => [row.what, row] as const))(
    'is refused with a message, and nothing is changed: %s',
    (_, row) => expectRow(row),
  );

  it('is refused when a file of the stage changes while the plan is read', async () => {
    const screen = terminal(lab.nodes['lb1']!, `sh -c 'cd ${GOOD} && exec sh install.sh ${TRUSTING}'`);
    await screen.until('Go on? [y/N]');
    await op.sh(`echo '// more' >>$(ls ${STATE}/stage/2*/installer.cjs)`);
    screen.type('y\n');
    const stderr = (await screen.exitCode.then(() => screen.screen())).replaceAll('\r', '');
    expect([await screen.exitCode, stderr]).toEqual([6, expect.stringContaining('error[STAGE_CHANGED]')]);
    expect(stderr).toContain('Undone: ');
    table.row('a file of the stage is changed after it was verified', { exit: 6, stderr }, MASKED);
    await op.sh(`rm ${STATE}/journal.ndjson; rm -rf ${STATE}/backup ${STATE}/receipts`);
    expect(await stateOfNode()).toBe(known);
  });

  it.each([
    ['n', (screen: ReturnType<typeof terminal>) => screen.type('n\n')],
    ['nothing but Enter', (screen: ReturnType<typeof terminal>) => screen.type('\n')],
    ['the end of input', (screen: ReturnType<typeof terminal>) => screen.type('\u0004')],
    ['Ctrl-C', (screen: ReturnType<typeof terminal>) => screen.type('\u0003')],
  ])('changes nothing when the question is answered with %s', async (_, answer) => {
    const screen = terminal(lab.nodes['lb1']!, `sh -c 'cd ${GOOD} && exec sh install.sh ${TRUSTING}'`);
    await screen.until('Go on? [y/N]');
    answer(screen);
    expect([await screen.exitCode, screen.screen()]).toEqual([
      5,
      expect.stringMatching(/nothing was changed\s*$/),
    ]);
    expect(await stateOfNode()).toBe(known);
  });
});

describe('on a node with a bundle', () => {
  const install = (name: string, words = '-y'): string => `airbundle install ${MEDIUM}/${name} ${words}`;
  const siteWords = (file: string, node = 'lb1'): string => `--site ${DESK}/${file} --node ${node} -y`;
  const refused: Pick<Row, 'exit' | 'code' | 'evidence'> = { exit: 5, code: 'PLAN_REFUSED', evidence: true };
  const badBuild: Pick<Row, 'exit' | 'code' | 'evidence'> = { exit: 6, code: 'BUILD_OUTPUT', evidence: true };
  const rows: Row[] = [
    {
      what: '`airbundle install`, not as root',
      before: 'chmod 755 /media/usb',
      type: `setpriv --reuid 65534 --clear-groups ${install('good')}`,
      after: 'chmod 700 /media/usb',
      ...{ exit: 5, code: 'NOT_ROOT' },
    },
    { what: 'a folder that is not there', type: install('none'), exit: 2, code: 'NO_FOLDER' },
    {
      what: 'a file instead of the folder',
      type: install('good/install.sh'),
      ...{ exit: 2, code: 'NO_FOLDER' },
    },
    {
      what: 'an empty folder',
      before: 'mkdir /media/usb/empty',
      type: install('empty'),
      after: 'rmdir /media/usb/empty',
      ...{ exit: 4, code: 'NO_BUNDLE' },
    },
    {
      what: '`--key` with a key that is not trusted here',
      type: install('good', `--key ${DESK}/other.pem --fingerprint $(cat ${DESK}/other.fingerprint) -y`),
      ...{ exit: 5, code: 'TRUST_EXISTS' },
    },
    {
      what: '`--key` with the trusted key and a fingerprint that is none',
      type: install('good', `--key ${DESK}/key.pem --fingerprint 1234 -y`),
      ...{ exit: 2, code: 'NO_FINGERPRINT' },
    },
    {
      what: 'a good bundle of another signer',
      type: install('other-signer'),
      ...{ exit: 4, code: 'BAD_SIGNATURE', evidence: true },
    },
    ...Object.entries(FILES).flatMap(([name, file]) =>
      // An installed node does not run install.sh.
      name === 'install.sh'
        ? []
        : Object.entries(CHANGES).map(([how, change]): Row => {
            const code =
              name === 'X.tar'
                ? 'BAD_PAYLOAD'
                : name === 'X.sha256' && how === 'is missing'
                  ? 'NO_BUNDLE'
                  : 'BAD_SIGNATURE';
            return {
              what: `${name} ${how} (a later installation)`,
              ...changed(change(file)),
              type: install('case'),
              ...{ exit: 4, code },
              ...(code === 'BAD_SIGNATURE' ? { evidence: true as const } : {}),
            };
          }),
    ),
    {
      what: 'files that were renamed together',
      ...changed('for file in small-*; do mv $file small-9${file#small-1}; done'),
      type: install('case'),
      ...{ exit: 4, code: 'RENAMED' },
    },
    { what: 'a lower sequence', type: install('lower'), exit: 5, code: 'SEQUENCE_LOWER' },
    {
      what: 'the same sequence, but another bundle',
      type: install('equal'),
      ...{ exit: 5, code: 'SEQUENCE_EQUAL' },
    },
    { what: 'a bundle of another name', type: install('other-name'), exit: 5, code: 'OTHER_BUNDLE' },
    {
      what: 'a key in the trust store is damaged',
      before:
        'cd /etc/airbundle/trust; name=$(ls); mv $name /run/kept.pem; head -c 60 /run/kept.pem >/etc/airbundle/trust/kept.pem',
      type: install('good'),
      after: `rm /etc/airbundle/trust/kept.pem; mv /run/kept.pem /etc/airbundle/trust/$name`,
      ...{ exit: 4, code: 'BAD_PUBLIC_KEY' },
    },
    {
      what: 'the receipt is damaged',
      before: `cp -a ${STATE}/receipt.json /run/kept; truncate -s 100 ${STATE}/receipt.json`,
      type: install('good'),
      after: `mv /run/kept ${STATE}/receipt.json`,
      ...{ exit: 5, code: 'BAD_RECEIPT' },
    },
    { what: 'no site file', type: install('declared'), exit: 2, code: 'NO_SITE' },
    {
      what: 'a site file that is not there',
      type: install('declared', siteWords('none.yaml')),
      ...{ exit: 2, code: 'NO_SITE' },
    },
    {
      what: 'a site file without this node',
      type: install('declared', siteWords('site.yaml', 'lb2')),
      ...{ exit: 3, code: 'NODE_UNKNOWN' },
    },
    {
      what: 'a site file with a syntax error',
      type: install('declared', siteWords('syntax.yaml')),
      ...{ exit: 3, code: 'SITE_INVALID' },
    },
    {
      what: 'a wrong value for a declared configuration',
      type: install('declared', siteWords('value.yaml')),
      ...{ exit: 3, code: 'SITE_INVALID' },
    },
    {
      what: 'a missing value for a declared configuration',
      type: install('declared', siteWords('missing.yaml')),
      ...{ exit: 3, code: 'SITE_INVALID' },
    },
    {
      what: "the VRRP secret's file is not there",
      type: install('keepalived', siteWords('lost-secret.yaml')),
      ...{ exit: 2, code: 'NO_SECRET' },
    },
    {
      what: "the VIP's interface is not on this node",
      type: install('keepalived', siteWords('vips.yaml')),
      ...refused,
    },
    {
      what: "the VIP is outside of its interface's network",
      type: install('keepalived', siteWords('outside.yaml')),
      ...refused,
    },
    {
      what: 'the node has another address than the site says',
      type: install('keepalived', siteWords('other-node.yaml')),
      ...refused,
    },
    {
      what: 'a port that another program listens on',
      type: install('declared', siteWords('ssh.yaml')),
      ...refused,
    },
    {
      what: '/var/lib/airbundle is mounted noexec (a later installation)',
      before: `mount --bind ${STATE} ${STATE}; mount -o remount,bind,noexec ${STATE}`,
      type: install('good'),
      after: `umount -l ${STATE}`,
      ...refused,
    },
    {
      what: '/usr is mounted read-only (a later installation)',
      before: 'mount --bind /usr /usr; mount -o remount,bind,ro /usr',
      type: install('undeclared'),
      after: 'umount -l /usr',
      ...refused,
    },
    {
      what: '/var/lib/airbundle is mounted read-only (a later installation)',
      before: `mount --bind ${STATE} ${STATE}; mount -o remount,bind,ro ${STATE}`,
      type: install('good'),
      after: `umount -l ${STATE}`,
      ...{ exit: 5, code: 'READ_ONLY' },
    },
    {
      what: 'the disk is full while the payload is copied',
      ...tmpfs('size=256k', `${STATE}/stage`),
      type: install('good'),
      ...{ exit: 5, code: 'NO_ROOM' },
    },
    {
      what: 'a build command fails',
      type: install('build-fails'),
      ...{ exit: 6, code: 'BUILD_FAILED', evidence: true },
    },
    {
      what: 'the disk is full in the middle of a build',
      ...tmpfs('size=2m', `${STATE}/build`),
      type: install('build-large'),
      ...{ exit: 6, code: 'BUILD_FAILED', evidence: true },
    },
    {
      what: 'the disk is full while files are put in place',
      ...tmpfs('size=128k', '/usr/local'),
      type: install('installs-large'),
      ...{ exit: 6, code: 'NO_ROOM' },
    },
    { what: 'the build makes a file that is not declared', type: install('undeclared'), ...badBuild },
    { what: 'the build does not make a declared file', type: install('undone'), ...badBuild },
    { what: 'the build makes a setuid file', type: install('setuid'), ...badBuild },
    { what: 'the build makes a link that is not declared', type: install('linked'), ...badBuild },
    {
      what: 'Ctrl-C during a build',
      before: `rm -f ${LOG}; setsid -w sh -c 'echo $$ >/run/group; exec ${install('build-waits')}' >/dev/null 2>/run/told & until grep -q ^building ${LOG}; do sleep 0.1; done; kill -INT -$(cat /run/group)`,
      type: 'wait $!; ended=$?; cat /run/told >&2; (exit $ended)',
      after: 'rm /run/group /run/told',
      ...{ exit: 6, code: 'INTERRUPTED' },
    },
  ];

  it('begins with an installation whose plan was shown and answered with y', async () => {
    await op.reset();
    await carryAll();
    const screen = terminal(
      lab.nodes['lb1']!,
      `sh -c 'cd ${MEDIUM}/installed && exec sh install.sh ${TRUSTING}'`,
    );
    await screen.until('Go on? [y/N]');
    screen.type('y\n');
    expect([await screen.exitCode, screen.screen()]).toEqual([
      0,
      expect.stringContaining('installed small 1.0.0'),
    ]);
    expect((await op.sh('hello')).stdout).toBe('hello');
    known = undefined;
  });

  it.each(rows.map((row) => [row.what, row] as const))(
    'is refused with a message, and what is there stays: %s',
    (_, row) => expectRow(row),
  );

  it('with -o json shows the plan beside the result before it asks', async () => {
    const screen = terminal(
      lab.nodes['lb1']!,
      `sh -c '${install('undeclared', '-o json')} >/run/result.json'`,
    );
    await screen.until('Go on? [y/N]');
    expect(screen.screen()).toContain('Plan for this node: small');
    screen.type('n\n');
    expect(await screen.exitCode).toBe(5);
    const result = await op.sh('cat /run/result.json; rm /run/result.json');
    expect(JSON.parse(result.stdout)).toMatchObject({ outcome: 'declined', plan: { refusals: [] } });
    expect(await stateOfNode()).toBe(known);
  });

  it('is refused while another run is at work, whose process is named', async () => {
    const screen = terminal(lab.nodes['lb1']!, `airbundle install ${MEDIUM}/undeclared`);
    await screen.until('Go on? [y/N]');
    try {
      const second = await op.sh(install('good'));
      expect([second.exitCode, second.stderr]).toEqual([5, expect.stringContaining('error[BUSY]')]);
      const pid = /process (\d+)/.exec(second.stderr)?.[1] ?? '';
      expect((await op.sh(`tr '\\0' ' ' </proc/${pid}/cmdline`)).stdout).toContain('installer.cjs install');
      expect(second.stderr).toContain(`installer.cjs install ${MEDIUM}/undeclared`);
      expect(second.stderr).toContain(`ps -fp ${pid}`);
      table.row('another airbundle is at work', { exit: second.exitCode, stderr: second.stderr }, MASKED);
    } finally {
      screen.type('n\n');
      await screen.exitCode;
    }
    expect(await stateOfNode()).toBe(known);
  });

  it('is not held up by a lock file or a stage of a dead run', async () => {
    await op.sh(
      `: >>/run/airbundle.lock; setsid sh -c 'exec flock /run/airbundle.lock sh -c "echo \\$\\$ >/run/holder; exec sleep 300"' >/dev/null 2>&1 & until [ -s /run/holder ]; do sleep 0.1; done`,
    );
    expect((await op.sh(install('good'))).stderr).toContain('error[BUSY]');
    await op.sh(
      `kill -KILL $(cat /run/holder); rm /run/holder; mkdir -p ${STATE}/stage/20200102T030405Z-1/rpms ${STATE}/stage/first.999999.abc; echo x >${STATE}/stage/20200102T030405Z-1/rpms/x.rpm`,
    );
    const done = await op.sh(install('installed'));
    expect([done.exitCode, done.stdout]).toEqual([0, expect.stringContaining('nothing was changed')]);
    expect(await stateOfNode()).toBe(known);
  });

  it('does not need install.sh, which it does not run', async () => {
    const row = changed('rm install.sh');
    const done = await op.sh(`${row.before ?? ''}; airbundle install . --dry-run`);
    await op.sh(row.after ?? '');
    expect([done.exitCode, done.stdout]).toEqual([
      0,
      expect.stringContaining('small 1.1.0: nothing to do, but to write down that it is installed'),
    ]);
    expect(await stateOfNode()).toBe(known);
  });

  it('goes on from all of that to the next release', async () => {
    const done = await op.sh(install('good'));
    expect([done.exitCode, done.stdout]).toEqual([0, expect.stringContaining('installed small 1.1.0')]);
    expect((await op.sh('airbundle status')).stdout).toMatch(/^small 1\.1\.0[^]*all is well/);
    // It had no step, for it holds the same; an older one is refused from now on all the same.
    const older = await op.sh(install('installed'));
    expect([older.exitCode, older.stderr]).toEqual([5, expect.stringContaining('error[SEQUENCE_LOWER]')]);
  });

  it('has a row for each of these in docs/reference/bad-input.md, and no others', () => {
    table.complete();
  });
});

describe('a good installation', () => {
  /** Path, mode, owner and bytes of all that an installation leaves; what holds a time is without its bytes. */
  const left = async (): Promise<string> => {
    const found = await op.sh(
      [
        'find /etc/airbundle /etc/hello.conf /usr/local /usr/libexec/airbundle /usr/sbin/airbundle /usr/sbin/bundle -printf "%p %y %m %u:%g %l\\n" | sort',
        'find /etc/airbundle /etc/hello.conf /usr/local /usr/libexec/airbundle /usr/sbin/airbundle -type f -exec sha256sum {} + | sort',
        `find ${STATE} /var/log/airbundle \\( -path '${STATE}/backup/*' -o -path '${STATE}/receipts/*' \\) -prune -o -printf "%p %y %m %u:%g\\n" | sort`,
        'rpm -qa | sort; getent passwd; ls -A /root',
      ].join('; '),
    );
    return found.stdout;
  };
  const command = (words = ''): string =>
    `cd ${MEDIUM}/with-rpm && sh install.sh ${TRUSTING} --site ${DESK}/site.yaml --node lb1 -y ${words}`;

  it('says in JSON what it did, and nothing else on stdout', async () => {
    await op.reset();
    await op.sh('rm -f /etc/hello.conf');
    await carryAll();
    const done = await op.sh(command('-o json --log-format json'));
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    const result = JSON.parse(done.stdout) as Record<string, unknown>;
    expect(result).toMatchObject({
      outcome: 'installed',
      warnings: [],
      plan: {
        bundle: { name: 'small', digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
        node: 'lb1',
        siteDigest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        refusals: [],
      },
    });
    const { steps } = result['plan'] as { steps: Record<string, unknown>[] };
    expect(steps.map((step) => step['id'])).toEqual([
      'trust',
      'command',
      'rpms',
      'build',
      'files',
      'configuration',
    ]);
    expect(steps.every((step) => ['id', 'title', 'changes', 'undo'].every((key) => key in step))).toBe(true);
    for (const line of done.stderr.split('\n')) expect(JSON.parse(line)).toHaveProperty('kind');
  });

  it('leaves the same files with the same modes in a hostile environment', async () => {
    const clean = await left();
    expect(clean).toContain('/usr/local/bin/hello f 755 root:root');
    expect(clean).toContain('/etc/hello.conf f 644 root:root');
    expect(clean).toContain('other-1.0-1.el7');
    await op.reset();
    await op.sh('rm -f /etc/hello.conf');
    await carryAll();
    await op.sh(
      [
        'mkdir -p /run/evil/bin',
        'for tool in openssl sha256sum tar rpm cp env sh id sed cut; do printf "#!/bin/bash\\necho $0 >>/run/evil/ran\\nexit 0\\n" >/run/evil/bin/$tool; chmod 755 /run/evil/bin/$tool; done; rm /run/evil/bin/sh',
        "echo \"require('fs').writeFileSync('/run/evil/ran', 'node')\" >/run/evil/evil.js",
        'echo "echo bash >>/run/evil/ran" >/run/evil/bashrc',
        'printf "%%_dbpath /run/evil/db\\n%%_topdir /run/evil\\n%%_tmppath /run/evil/none\\n" >/root/.rpmmacros',
      ].join('; '),
    );
    const done = await op.sh(`umask 077; ${command()}`, {
      env: {
        NODE_OPTIONS: '--require=/run/evil/evil.js',
        LC_ALL: 'ko_KR.UTF-8',
        TZ: 'Asia/Seoul',
        PATH: '/run/evil/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        BASH_ENV: '/run/evil/bashrc',
        ENV: '/run/evil/bashrc',
        CDPATH: '/usr:/',
        GREP_OPTIONS: '--invert-match',
        POSIXLY_CORRECT: '1',
      },
    });
    const ran = await op.sh('cat /run/evil/ran; rm -rf /run/evil /root/.rpmmacros');
    expect([done.exitCode, done.stderr]).toEqual([0, expect.anything()]);
    expect(ran.stdout).toBe('');
    expect(await left()).toBe(clean);
  });
});
