import { blocksOf, read, shellBlocksOf } from './support.js';

/*
 * How each shell block of the README and the guides is run. A block is found by its page and its first line; all
 * of its lines are typed as they stand there, in English: the Korean pages hold the same blocks
 * (pages.test.ts). PACKAGER_RUNS are typed by test/e2e/guides.test.ts, NODE_RUNS and LEAVING_RUNS by
 * test/e2e/walk.test.ts, the runs on a jump host by test/e2e/failover.test.ts.
 */

export interface GuideRun {
  readonly page: string;
  /** The block's first line. */
  readonly first: string;
  /** Not a block: words in the page's text. */
  readonly isInline?: true;
  /** Typed in the same shell before it: the scene that the page takes for granted. */
  readonly before?: string;
  /** Where it is typed; default: the page's desk, or the bundle's folder on the node. */
  readonly cwd?: string;
  /** What stands in for a name of the page. */
  readonly turned?: readonly (readonly [string, string])[];
  /** What a person types while it runs. */
  readonly input?: string;
  /** Default 0. */
  readonly exit?: number;
  /** What stdout and stderr have to hold. */
  readonly shows: RegExp;
  /** The page shows its whole output, up to each "…". */
  readonly isShown?: true;
  /** Typed afterwards, with the output in $OUT: has to succeed. */
  readonly after?: string;
}

export interface NotRun {
  readonly page: string;
  readonly first: string;
  readonly reason: string;
  /** How the table "Not run" of docs/what-was-run.md names it. */
  readonly named: string;
}

const README = 'README.md';
const OPERATOR = 'docs/guides/operator.md';
const PACKAGER = 'docs/guides/packager.md';
const REVIEWER = 'docs/guides/reviewer.md';
const TROUBLE = 'docs/guides/troubleshooting.md';
const MANIFEST = 'docs/guides/writing-a-manifest.md';

export const GUIDES = [README, OPERATOR, PACKAGER, REVIEWER, TROUBLE, MANIFEST];

const FOLDER = 'dist/tts-ha-1.0.0-el7.x86_64';
const CREATED = /dist\/tts-ha-1\.0\.0-el7\.x86_64/;
const KEY = 'bundle keygen --out keys/packager >/dev/null';
/** Nobody sits at the terminal of a test. */
const YES = ['--node lb1', '--node lb1 -y'] as const;
/** The fingerprint of the key that comes after the first. */
const NEW_KEY = 'new=$(openssl pkey -pubin -in new.pub.pem -outform DER | sha256sum | cut -c 1-64)';
/** No line of the other commands ends like this. */
const WELL = /^all is well$/m;

/** On the packager's machine, in this order; a desk of its own for each page, with the shipped manifests on it. */
export const PACKAGER_RUNS: readonly GuideRun[] = [
  {
    page: README,
    first: 'npm ci && npm install -g .',
    cwd: 'clone',
    shows: /^Usage: bundle /m,
    after: 'test -x "$npm_config_prefix/bin/airbundle"',
  },
  {
    page: README,
    first: 'bundle keygen --out keys/packager',
    shows: CREATED,
    after: `test "$(ls ${FOLDER} | wc -l)" = 4`,
  },
  {
    page: README,
    first: 'openssl pkey -pubin -in packager.pub.pem -outform DER | sha256sum',
    cwd: FOLDER,
    turned: [['packager.pub.pem', '../../keys/packager.pub.pem']],
    shows: /^Verified OK\n.*\.tar: OK\ninstall\.sh: OK\n\{\n "airbundle": 1,/m,
    after: 'test "${OUT%% *}" = "$F"',
  },
  {
    page: PACKAGER,
    first: 'npm ci && npm install -g .',
    cwd: 'clone',
    shows: /^\d+\.\d+\.\d+$/m,
  },
  {
    page: PACKAGER,
    first: 'bundle keygen --out keys/packager',
    shows: /fingerprint/,
    after: 'test "$(stat -c %a keys/packager.key.pem)" = 600',
  },
  {
    page: PACKAGER,
    first: 'bundle keygen --out keys/release --passphrase-file keys/passphrase',
    before: 'echo "a long one" >keys/passphrase',
    shows: /fingerprint/,
    after: 'grep -q ENCRYPTED keys/release.key.pem',
  },
  {
    page: PACKAGER,
    first: 'bundle create manifests/tts-ha.yaml --key keys/packager.key.pem',
    shows: CREATED,
    after: 'test -s manifests/tts-ha.lock.json && git add manifests && git commit -q -m lock',
  },
  {
    page: PACKAGER,
    first: 'bundle lock manifests/tts-ha.yaml --update',
    shows: /tts-ha\.lock\.json/,
    after: 'git diff --quiet',
  },
  {
    page: PACKAGER,
    first:
      'bundle create manifests/tts-ha.yaml --key keys/packager.key.pem --image my-registry/centos:7.5.1804',
    turned: [['my-registry/centos:7.5.1804', '"$LAB_IMAGE" --out dist-image']],
    before: 'unset AIRBUNDLE_IMAGE',
    shows: /dist-image\/tts-ha/,
  },
  {
    page: PACKAGER,
    first: `cd ${FOLDER}`,
    shows: /^Verified OK\n.*\.tar: OK\ninstall\.sh: OK$/m,
  },
  {
    page: PACKAGER,
    first: 'bundle create manifests/tts-ha.yaml --key keys/second.key.pem',
    before: 'for name in second third; do bundle keygen --out "keys/$name" >/dev/null; done',
    shows: CREATED,
    after: `test "$(ls ${FOLDER}/*.sig | wc -l)" = 3`,
  },
  {
    page: PACKAGER,
    first: 'bundle create manifests/tts-ha.yaml --key keys/packager.key.pem -o json --log-format json',
    shows: /"payloadSha256": "[0-9a-f]{64}"/,
  },
  {
    page: REVIEWER,
    first:
      'git -c core.abbrev=40 -c tar.umask=0022 -C CLONE archive --format=tar --prefix=NAME/ COMMIT | sha256sum',
    before: `${KEY}; bundle create manifests/tts-ha.yaml --key keys/packager.key.pem >/dev/null`,
    turned: [
      ['CLONE', '"$CLONE"'],
      ['NAME/', 'haproxy/'],
      ['COMMIT', '"$COMMIT"'],
    ],
    shows: /^[0-9a-f]{64} {2}-$/m,
    after: `tar -xOf ${FOLDER}/tts-ha-1.0.0-el7.x86_64.tar bundle.json | grep -q "\${OUT%% *}"`,
  },
  {
    page: REVIEWER,
    first: 'sha256sum X.sha256',
    cwd: FOLDER,
    before:
      'bundle keygen --out ../../keys/security >/dev/null; mkdir /tmp/away.$$; cp ./*.sha256 /tmp/away.$$; cd /tmp/away.$$',
    turned: [['security.key.pem', '"$OLDPWD/../../keys/security.key.pem"']],
    shows: /^signed: tts-ha 1\.0\.0, sequence 1, [^]*^Not checked, /m,
  },
  { page: TROUBLE, first: 'docker version', shows: /Server/ },
  { page: TROUBLE, first: 'podman info', shows: /ociRuntime/ },
  {
    page: TROUBLE,
    first:
      'AIRBUNDLE_ENGINE_ARGS="--runtime runc --ulimit nproc=1024:1024" bundle create manifests/tts-ha.yaml --key keys/packager.key.pem',
    before: KEY,
    shows: CREATED,
  },
  {
    page: TROUBLE,
    first: 'AIRBUNDLE_ENGINE_NETWORK=host bundle create manifests/tts-ha.yaml --key keys/packager.key.pem',
    before: 'rm manifests/tts-ha.lock.json',
    turned: [['--key', '--out dist-host --key']],
    shows: /dist-host\/tts-ha/,
  },
  {
    page: TROUBLE,
    first: 'bundle lock manifests/tts-ha.yaml --update',
    before: 'git add manifests && git commit -q -m lock',
    shows: /tts-ha\.lock\.json/,
    after: 'git diff --quiet',
  },
  {
    page: TROUBLE,
    first: 'docker ps -a --filter label=airbundle.run',
    shows: /^CONTAINER ID/m,
  },
  {
    page: MANIFEST,
    first: 'bundle init redis-bundle',
    shows: /^Next: /m,
    isShown: true,
    after: 'test -f redis-bundle/templates/hello.service',
  },
  {
    page: MANIFEST,
    first: 'git ls-remote https://github.com/redis/redis.git refs/tags/6.2.16',
    cwd: 'redis-bundle',
    // A repository of the test answers in upstream's place.
    before:
      'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.$UPSTREAM.insteadOf" GIT_CONFIG_VALUE_0=https://github.com/redis/redis.git',
    shows: /^[0-9a-f]{40}\trefs\/tags\/6\.2\.16$/m,
  },
  {
    page: MANIFEST,
    first: 'openssl rand -base64 32 > redis.secret && chmod 600 redis.secret',
    cwd: 'redis-bundle',
    shows: /^$/,
    after: 'test "$(stat -c %a:%s redis.secret)" = 600:45',
  },
  {
    page: MANIFEST,
    first: 'bundle keygen --out keys/packager',
    cwd: 'redis-bundle',
    before: "sed -i 's/{{maxMemory}}/{{maxMemry}}/' templates/redis.conf",
    exit: 3,
    shows: /BAD_TEMPLATE/,
    isShown: true,
    after: "sed -i 's/{{maxMemry}}/{{maxMemory}}/' templates/redis.conf",
  },
  {
    page: MANIFEST,
    first: 'bundle create manifest.yaml --key keys/packager.key.pem',
    cwd: 'redis-bundle',
    shows: /dist\/redis-1\.0\.0-el7\.x86_64/,
  },
];

/** Key and site lie on the operator's desk, not in the bundle's folder. */
const KEY_FILE = ['--key packager.pub.pem', '--key /root/airbundle/packager.pub.pem'] as const;
const KEY_OF_OPENSSL = ['-verify packager.pub.pem', '-verify /root/airbundle/packager.pub.pem'] as const;
const SITE_FILE = ['--site site.yaml', '--site /root/airbundle/site.yaml'] as const;
const CACHE1 = ['cache1', 'lb1'] as const;

/** On a node after the walk's installation, in this order; `lb1` is its name there too. */
export const NODE_RUNS: readonly GuideRun[] = [
  {
    page: README,
    first:
      'openssl dgst -sha256 -verify packager.pub.pem -signature tts-ha-1.0.0-el7.x86_64.sha256.KEYID.sig tts-ha-1.0.0-el7.x86_64.sha256 \\',
    turned: [KEY_OF_OPENSSL, KEY_FILE, SITE_FILE, YES],
    shows: WELL,
  },
  {
    page: OPERATOR,
    first: 'install -d -m 700 /root/airbundle',
    input: 's3cr3t-8\n',
    shows: /^$/,
    after: 'test "$(stat -c %a /root/airbundle/vrrp.secret)" = 600',
  },
  {
    page: OPERATOR,
    first: 'cd /media/usb/tts-ha-1.0.0-el7.x86_64',
    shows: /^Verified OK\n.*\.tar: OK\ninstall\.sh: OK\n[^]*nothing was changed/m,
  },
  { page: OPERATOR, first: 'airbundle status', shows: WELL },
  {
    page: OPERATOR,
    first: 'airbundle plan /media/usb/tts-ha-1.0.0-el7.x86_64 --site /root/airbundle/site.yaml --node lb1',
    before: `sed -i 's/^    protocol: grpc$/&\\n    balance: leastconn/' /root/airbundle/site.yaml`,
    turned: [[' --node lb1\nairbundle install', ' --node lb1\nairbundle install -y']],
    shows: /~ \/etc\/haproxy\/haproxy\.cfg[^]*installed tts-ha 1\.0\.0/,
    after: 'grep -q leastconn /etc/haproxy/haproxy.cfg',
  },
  {
    page: OPERATOR,
    first:
      'airbundle plan /media/usb/tts-ha-1.0.0-el7.x86_64 --site /root/airbundle/site.yaml --node lb1 --verbose -o /root/airbundle/plan.json',
    before: `sed -i '/^    balance: leastconn$/d' /root/airbundle/site.yaml`,
    turned: [['--plan /root/airbundle/plan.json', '--plan /root/airbundle/plan.json -y']],
    shows: /\| -.*leastconn[^]*installed tts-ha 1\.0\.0/,
    after: '! grep -q leastconn /etc/haproxy/haproxy.cfg',
  },
  {
    page: OPERATOR,
    first: 'systemctl stop keepalived',
    shows: /^$/,
    after:
      '! systemctl is-active -q haproxy && ! systemctl is-active -q keepalived && systemctl start haproxy keepalived',
  },
  {
    page: OPERATOR,
    first: 'airbundle trust list',
    cwd: '/root',
    before: `openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out new.pub.pem 2>/dev/null; ${NEW_KEY}`,
    turned: [
      ['trust add new.pub.pem', 'trust add new.pub.pem --fingerprint "$new" -y'],
      ['require 2', 'require 2 -y'],
    ],
    shows: /^trusted {2}[0-9a-f]{16} [^]*^2 of 2 trusted keys must sign a release$/m,
  },
  {
    page: OPERATOR,
    first: 'airbundle trust require 1',
    cwd: '/root',
    before: NEW_KEY,
    turned: [
      ['require 1', 'require 1 -y'],
      ['remove 1a2b3c4d', 'remove "$(echo "$new" | cut -c 1-8)" -y'],
    ],
    shows: /^removed {2}[0-9a-f]{16} /m,
  },
  {
    page: REVIEWER,
    first: 'openssl pkey -pubin -in packager.pub.pem -outform DER | sha256sum',
    cwd: '/root/airbundle',
    shows: /^[0-9a-f]{64} {2}-$/m,
    after: 'test "${OUT%% *}" = "$F"',
  },
  {
    page: REVIEWER,
    first: 'ls -l',
    turned: [KEY_OF_OPENSSL],
    shows: /Verified OK\n.*\.tar: OK\ninstall\.sh: OK\n# airbundle-1 name=tts-ha version=1\.0\.0 sequence=1 /,
  },
  {
    page: REVIEWER,
    first: 'tar -tvf X.tar',
    shows: / bundle\.json\n/,
    after: `grep -q '^ "airbundle": 1,$' /tmp/bundle.json`,
  },
  {
    page: REVIEWER,
    first: 'mkdir /tmp/review && tar -xf X.tar -C /tmp/review',
    // The lab's key signed the lab's packages.
    before: 'mkdir -p /etc/pki/rpm-gpg && cp /root/rpm-key /etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7',
    shows: /^(?:.*\.rpm: digests signatures OK\n?)+$/,
    after: 'test "$(printf "%s\\n" "$OUT" | wc -l)" = "$(ls /tmp/review/rpms | wc -l)" && rm -r /tmp/review',
  },
  {
    page: REVIEWER,
    first: 'bundle verify . --key packager.pub.pem --fingerprint F',
    turned: [KEY_FILE],
    shows: /^verified: tts-ha 1\.0\.0[^]*haproxy/m,
  },
  {
    page: REVIEWER,
    first:
      'sh install.sh --key packager.pub.pem --fingerprint F --site site.yaml --node lb1 --dry-run --verbose',
    turned: [KEY_FILE, SITE_FILE],
    shows: /^Plan for lb1: tts-ha 1\.0\.0/m,
  },
  {
    page: REVIEWER,
    first:
      'sh install.sh plan --key packager.pub.pem --fingerprint F --site site.yaml --node lb1 -o /tmp/plan.json',
    turned: [KEY_FILE, SITE_FILE],
    shows: /^Plan for lb1: tts-ha 1\.0\.0/m,
    after: `/usr/libexec/airbundle/node -e 'JSON.parse(require("fs").readFileSync("/tmp/plan.json"))'`,
  },
  {
    page: REVIEWER,
    first:
      'sh install.sh inventory --key packager.pub.pem --fingerprint F --site site.yaml --node lb1 > /tmp/lb1.json',
    turned: [KEY_FILE, SITE_FILE],
    shows: /^/,
    after: `/usr/libexec/airbundle/node -e 'if (JSON.parse(require("fs").readFileSync("/tmp/lb1.json")).node !== "lb1") throw 1'`,
  },
  {
    page: REVIEWER,
    first: 'airbundle status -o json',
    shows: /"drift": [^]*haproxy/,
  },
  {
    page: TROUBLE,
    first: 'airbundle status',
    shows: /active \(running\)[^]*inet /,
  },
  {
    page: TROUBLE,
    first: 'sha256sum X.sha256 X.tar install.sh',
    turned: [['-in packager.pub.pem', '-in /root/airbundle/packager.pub.pem']],
    shows: /^[0-9a-f]{64} {2}install\.sh$/m,
    after: 'printf %s "$OUT" | grep -q "^$F  -"',
  },
  { page: TROUBLE, first: 'ls -l /etc/airbundle/trust/', shows: /\.pem$/m },
  {
    page: TROUBLE,
    first: 'lslocks | grep airbundle',
    // What a run of airbundle does while it lasts.
    before:
      '(flock -n /run/airbundle.lock sh -c "echo \\$\\$; exec sleep 300" >/root/held 2>/dev/null &); until [ -s /root/held ]; do sleep 0.05; done',
    shows: /^flock +\d+ .*\/run\/airbundle\.lock$/m,
    after: 'kill "$(cat /root/held)"',
  },
  {
    page: TROUBLE,
    first: 'df -h /usr /var',
    // In a container the database lies in the image's layer, from where rpm cannot rename it: into this one's.
    before: 'cp -a /var/lib/rpm /var/lib/rpm.own && rm -r /var/lib/rpm && mv /var/lib/rpm.own /var/lib/rpm',
    shows: /Use%/,
    after: 'test "$(rpm -qa | wc -l)" -gt 100',
  },
  {
    page: TROUBLE,
    first: "grep -n '^[$] ' /var/log/airbundle/build-haproxy.log | tail -n 1",
    shows: /^\d+:\$ .*haproxy/,
  },
  {
    page: TROUBLE,
    first: 'journalctl -u haproxy -u keepalived --since -15min --no-pager',
    shows: /haproxy/,
  },
  {
    page: TROUBLE,
    first: 'sha256sum /root/airbundle/vrrp.secret',
    shows: /^[0-9a-f]{64} .*\n *virtual_router_id 51$/m,
  },
  { page: TROUBLE, first: '/etc/keepalived/check-haproxy 8404 lb1; echo $?', shows: /^0\n/ },
  {
    page: TROUBLE,
    first: 'airbundle plan /media/usb/tts-ha-1.0.0-el7.x86_64 --site /root/airbundle/site.yaml --node lb1',
    before: 'cp -p /etc/haproxy/haproxy.cfg /root/kept.cfg; echo "# by hand" >>/etc/haproxy/haproxy.cfg',
    shows: /~ \/etc\/haproxy\/haproxy\.cfg/,
    after: 'cp -p /root/kept.cfg /etc/haproxy/haproxy.cfg',
  },
  {
    page: MANIFEST,
    first: 'openssl dgst -sha256 -verify packager.pub.pem -signature X.sha256.KEYID.sig X.sha256 \\',
    // The walk's bundle in place of Redis's, which test/e2e/other-software.test.ts installs.
    turned: [KEY_OF_OPENSSL, KEY_FILE, SITE_FILE, CACHE1],
    shows: WELL,
  },
  {
    page: MANIFEST,
    first: 'bundle plan . --site site.yaml --node cache1',
    turned: [SITE_FILE, CACHE1],
    shows: /nothing was changed/,
  },
  {
    page: REVIEWER,
    first: 'airbundle verify .',
    isInline: true,
    shows: /^verified: tts-ha 1\.0\.0/m,
  },
  {
    page: TROUBLE,
    first: "ss -ltnp 'sport = :50051'",
    isInline: true,
    // The program's name too on a server; in a container root may not look into other users' processes.
    shows: /^LISTEN .*:50051 /m,
  },
  {
    page: TROUBLE,
    first: 'mount -o remount,exec POINT',
    isInline: true,
    before: 'mkdir /root/point && mount -t tmpfs -o noexec none /root/point',
    turned: [['POINT', '/root/point']],
    shows: /^$/,
    after: '! findmnt -n -o OPTIONS /root/point | grep noexec && umount /root/point',
  },
  // From here on the node refuses 1.0.0.
  {
    page: OPERATOR,
    first: 'airbundle install /media/usb/tts-ha-1.0.1-el7.x86_64 --site /root/airbundle/site.yaml --node lb1',
    before: "sed -i '/^    balance: leastconn$/d' /root/airbundle/site.yaml",
    turned: [YES],
    shows: /installed tts-ha 1\.0\.1/,
  },
];

/** On the same node at the walk's end, in this order; the fingerprint is in $F. */
export const LEAVING_RUNS: readonly GuideRun[] = [
  {
    page: OPERATOR,
    first: 'airbundle rollback --dry-run',
    turned: [['dry-run\nairbundle rollback', 'dry-run\nairbundle rollback -y']],
    shows:
      /^this was the plan only; nothing was changed$[^]*^rollback done: tts-ha 1\.0\.0 is what is installed now$/m,
    after: 'systemctl is-active haproxy keepalived && grep -q "tts-ha 1.0.0" /etc/haproxy/haproxy.cfg',
  },
  {
    page: OPERATOR,
    first: 'airbundle uninstall --dry-run',
    turned: [['dry-run\nairbundle uninstall', 'dry-run\nairbundle uninstall -y']],
    shows:
      /^this was the plan only; nothing was changed$[^]*^uninstall done: no bundle is installed on this node now$/m,
    after:
      'test -z "$(ls /usr/sbin/airbundle /usr/local/sbin/haproxy /etc/keepalived/keepalived.conf /etc/airbundle/trust/*.pem 2>/dev/null)"',
  },
  {
    page: OPERATOR,
    first: 'sh install.sh rollback --key /root/airbundle/packager.pub.pem --fingerprint F',
    // The floor stays with the receipts: an older release is not taken any more.
    cwd: '/media/usb/tts-ha-1.0.1-el7.x86_64',
    // A first installation that is stopped when its packages go in.
    before: [
      'rm -f /var/log/airbundle/rpm-install.log',
      'setsid sh install.sh --key /root/airbundle/packager.pub.pem --fingerprint "$F" --site /root/airbundle/site.yaml --node lb1 -y >/root/first.log 2>&1 &',
      'until [ -s /var/log/airbundle/rpm-install.log ]; do sleep 0.1; done',
      'kill -TERM "-$!"; code=0; wait "$!" || code=$?',
      'if [ "$code" != 6 ]; then cat /root/first.log; exit 1; fi',
      'rpm -q gcc >/dev/null',
    ].join('\n'),
    turned: [['--fingerprint F', '--fingerprint F -y']],
    shows: /^ +erase gcc-[^]*^rollback done: no bundle is installed on this node now$/m,
    after: '! rpm -q gcc make openssl-devel | grep -v "is not installed"',
  },
];

const ON_DESK = '/root/airbundle';
/** The lab's next release, on the medium. */
const NEXT = ['tts-ha-1.0.1', '/media/usb/tts-ha-1.1.0'] as const;

/** On a jump host that has nothing yet, in this order. */
export const JUMP_FIRST_RUNS: readonly GuideRun[] = [
  {
    page: OPERATOR,
    first: 'sh install.sh --tools-only --key /root/airbundle/packager.pub.pem --fingerprint F',
    before:
      'openssl dgst -sha256 -verify /root/airbundle/packager.pub.pem -signature ./*.sig ./*.sha256 && sha256sum --strict -c ./*.sha256',
    shows: /^Verified OK\n.*\.tar: OK\ninstall\.sh: OK\n[^]*^the tools of tts-ha 1\.0\.0 are here/m,
    after: 'ls /etc/airbundle/trust/*.pem && ! ls /usr/local/sbin/haproxy',
  },
  {
    page: OPERATOR,
    first: 'airbundle deploy /media/usb/tts-ha-1.0.0-el7.x86_64 --site /root/airbundle/site.yaml --user ops',
    cwd: ON_DESK,
    turned: [['--user ops', '--user ops -y']],
    shows: /^tts-ha 1\.0\.0: every node has it, its services run, and each VIP has one holder$/m,
  },
];

/** On the same jump host, when the nodes of the site have 1.0.0. */
export const JUMP_NEXT_RUNS: readonly GuideRun[] = [
  {
    page: OPERATOR,
    first: 'airbundle deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --check',
    cwd: ON_DESK,
    turned: [NEXT],
    shows:
      /tts-ha 1\.0\.0 → tts-ha 1\.1\.0[^]*^tts-ha 1\.1\.0: this was the check only; nothing that runs was changed$/m,
  },
  {
    page: OPERATOR,
    first: 'airbundle deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml',
    cwd: ON_DESK,
    turned: [NEXT, ['--site site.yaml\nairbundle status', '--site site.yaml -y\nairbundle status']],
    shows:
      /^tts-ha 1\.1\.0: every node has it, its services run, and each VIP has one holder$[^]*^all is well$/m,
  },
];

/** Every block and word that a test types. */
export const ALL_RUNS: readonly GuideRun[] = [
  ...PACKAGER_RUNS,
  ...NODE_RUNS,
  ...LEAVING_RUNS,
  ...JUMP_FIRST_RUNS,
  ...JUMP_NEXT_RUNS,
];

export const NOT_RUN: readonly NotRun[] = [
  {
    page: README,
    first:
      'npm run demo     # the main job, in a lab of containers: create, carry in, install, call, break things',
    reason: 'it is what runs the tests; the demo has the same parts as test/e2e/walk.test.ts',
    named: '`npm run demo` and `npm test`',
  },
  {
    page: OPERATOR,
    first: 'firewall-cmd --permanent --add-port=50051/tcp',
    reason: "the lab's node has no firewalld",
    named: '`firewall-cmd`',
  },
  {
    page: TROUBLE,
    first: 'tcpdump -ni eth0 ip proto 112',
    reason: "the lab's node has no tcpdump, and the command does not end by itself",
    named: '`tcpdump`',
  },
];

/** What a page shows as the output of a run, cut at each "…". */
export function shownLines(run: GuideRun): string[] {
  if (run.isShown === undefined) return [];
  const found = blocksOf(run.page).find(({ text }) => text.startsWith(`$ ${run.first}\n`));
  const lines = found?.text.split('\n').filter((line) => !/^[$#] /.test(line)) ?? [];
  if (lines.length === 0) throw new Error(`${titleOf(run)}: the page shows no output`);
  return lines.map((line) => line.replace(/…$/, ''));
}

/** What a page has of a run: the block's lines, or the words in the text. */
function onPage({ page, first, isInline }: GuideRun): string {
  if (isInline === undefined) {
    const found = shellBlocksOf(page).find(({ text }) => text.split('\n')[0] === first);
    if (found !== undefined) return found.text;
  } else if (read(page).includes(`\`${first}\``)) return first;
  throw new Error(`${page} no longer has: ${first}`);
}

/** The text of a run, as the page has it, with its stand-ins. */
export function typedText(run: GuideRun): string {
  let text = onPage(run);
  for (const [from, to] of run.turned ?? []) {
    if (!text.includes(from)) throw new Error(`${titleOf(run)} has no "${from}" to be turned`);
    text = text.replaceAll(from, to);
  }
  return text;
}

export const titleOf = (run: { page: string; first: string }): string => `${run.page}: ${run.first}`;

/** Names of the pages' examples that every bundle has its own of. */
export interface Names {
  readonly stem: string;
  readonly keyId: string;
  readonly fingerprint: string;
}

/** The script of one run, for a shell that stops at the first command that fails. */
export function scriptOf(run: GuideRun, cwd: string, names: Names): string {
  const text = typedText(run)
    .replaceAll('KEYID', names.keyId)
    .replaceAll(/--fingerprint F\b/g, `--fingerprint ${names.fingerprint}`)
    .replaceAll(/\bX(?=\.(?:sha256|tar))/g, names.stem);
  return ['set -eu', 'exec 2>&1', `cd '${cwd}'`, run.before ?? '', text].join('\n');
}
