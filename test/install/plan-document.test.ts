import { describe, expect, it } from 'vitest';
import { MASK } from '../../src/install/masked.js';
import { formatPlan, planDocument } from '../../src/install/plan-document.js';
import type { PlanDocument } from '../../src/install/plan-schema.js';
import { PlanSchema } from '../../src/install/plan-schema.js';
import type { PlanRequest } from '../../src/install/plan.js';
import { commandScript, makePlan } from '../../src/install/plan.js';
import { renderPlan } from '../../src/install/render.js';
import { configured, example, siteOf, STATS_PASSWORD } from '../configure/fixtures.js';
import { GOLDEN_SITES } from '../configure/golden.js';
import { sha256Of } from './bundle.js';
import { factsAfter, nevra, planRequest, rpm, someContents, someFacts } from './facts.js';

const documentOf = (given: Partial<PlanRequest> = {}): PlanDocument =>
  planDocument(makePlan(planRequest(given)));
const SECRET = 's3cret77';
const tts = configured(siteOf(example('tts-pair')), 'lb1', SECRET);
const KEEPALIVED = '/etc/keepalived/keepalived.conf';
const contentAt = (path: string): string => tts.files.find((file) => file.path === path)?.content ?? '';
const fileAt = (plan: PlanDocument, path: string): PlanDocument['files'][number] | undefined =>
  plan.files.find((file) => file.path === path);
const withFile = (path: string, text: string) => ({
  files: new Map([[path, { sha256: sha256Of(text), mode: 0o600, uid: 0, gid: 0 }]]),
  texts: new Map([[path, text]]),
});

describe('the plan as a document', () => {
  it('fits its own schema, and is the same bytes for the same input', () => {
    const document = documentOf({ configuration: tts, secrets: [SECRET] });
    expect(PlanSchema.parse(JSON.parse(formatPlan(document)))).toEqual(document);
    expect(formatPlan(documentOf({ configuration: tts, secrets: [SECRET] }))).toBe(formatPlan(document));
  });

  it('says of each thing how it is undone', () => {
    const plan = documentOf({
      configuration: tts,
      secrets: [SECRET],
      contents: someContents({ rpms: [rpm('gcc-4.8.5-28.el7.x86_64')] }),
      newKey: { keyId: 'k', fingerprint: 'f' },
    });
    const lists = [
      plan.packages,
      plan.files,
      plan.directories,
      plan.builds,
      plan.accounts,
      plan.services,
      plan.sysctl,
    ];
    for (const list of lists) {
      expect(list.length).toBeGreaterThan(0);
      expect(list.map(({ undo }) => undo)).not.toContain('nothing to undo');
    }
  });

  it('of a node on which everything is in place has nothing to undo', () => {
    const before = planRequest({ configuration: tts, secrets: [SECRET] });
    const facts = factsAfter(before, sha256Of(commandScript()));
    const plan = documentOf({ configuration: tts, secrets: [SECRET], facts });
    const configurationFiles = plan.files.filter((file) => file.kind === 'configuration');
    expect(new Set(configurationFiles.map((file) => [file.change, file.undo, file.diff].join()))).toEqual(
      new Set(['unchanged,nothing to undo,']),
    );
    expect(plan.accounts.every(({ change }) => change === 'unchanged')).toBe(true);
  });

  it('shows the old and the new line of a configuration, and no line with a secret', () => {
    const old = contentAt(KEEPALIVED)
      .replace(/priority \d+/, 'priority 7')
      .replace(SECRET, 'hunter22');
    const plan = documentOf({
      configuration: tts,
      secrets: [SECRET],
      facts: someFacts(withFile(KEEPALIVED, old)),
    });
    const file = fileAt(plan, KEEPALIVED);
    expect(file?.change).toBe('replaced');
    expect(file?.diff).toContain('-    priority 7');
    expect(file?.diff?.some((line) => /^\+ {4}priority \d+$/.test(line))).toBe(true);
    expect(file?.was?.digest).toMatch(/^scrypt:/);
    expect(file?.digest).toMatch(/^scrypt:/);
    for (const shown of [formatPlan(plan), renderPlan(plan, true)])
      for (const secret of [SECRET, 'hunter22', sha256Of(old), sha256Of(contentAt(KEEPALIVED))])
        expect(shown).not.toContain(secret);
  });

  it('shows no password of a stats page, old or new, and guards the digest of its file', () => {
    const path = '/etc/haproxy/haproxy.cfg';
    const site = GOLDEN_SITES.find(({ name }) => name === 'stats-page')?.site ?? siteOf(example('tts-full'));
    const configuration = configured(site, 'lb1', SECRET);
    const content = configuration.files.find((file) => file.path === path)?.content ?? '';
    const old = content.replace(STATS_PASSWORD, 'of-last-year').replace('maxconn 20\n', 'maxconn 21\n');
    const plan = documentOf({
      configuration,
      secrets: [SECRET, STATS_PASSWORD],
      facts: someFacts(withFile(path, old)),
    });
    const file = fileAt(plan, path);
    expect([file?.mode, file?.diff]).toEqual(['0600', expect.arrayContaining(['-    maxconn 21'])]);
    expect(file?.digest).toMatch(/^scrypt:/);
    for (const shown of [formatPlan(plan), renderPlan(plan, true)])
      for (const secret of [STATS_PASSWORD, 'of-last-year', sha256Of(content)])
        expect(shown).not.toContain(secret);
  });

  it('shows a new file as a whole, with its secret masked', () => {
    const file = fileAt(documentOf({ configuration: tts, secrets: [SECRET] }), KEEPALIVED);
    expect([file?.change, file?.was]).toEqual(['new', null]);
    expect(file?.diff).toContain(`+${MASK}`);
  });

  it('names what somebody changed by hand, shows it without --verbose, and says where it belongs', () => {
    const edited = `${contentAt('/etc/haproxy/haproxy.cfg')}# mine\n`;
    const there = withFile('/etc/haproxy/haproxy.cfg', edited);
    const of = (changed: ReadonlySet<string>): PlanDocument =>
      documentOf({ configuration: tts, secrets: [SECRET], facts: someFacts({ ...there, edited: changed }) });
    const plan = of(new Set(['/etc/haproxy/haproxy.cfg']));
    expect(fileAt(plan, '/etc/haproxy/haproxy.cfg')?.changedByHand).toBe(true);
    const shown = renderPlan(plan, false);
    expect(shown).toMatch(/^replaced {2}\/etc\/haproxy\/haproxy\.cfg .* changed by hand since/m);
    expect(shown).toContain('| -# mine');
    expect(plan.notes.join()).toContain('what is to stay belongs into /etc/haproxy/conf.d/*.cfg');
    const older = of(new Set());
    expect(older.files.some((file) => file.changedByHand)).toBe(false);
    expect(renderPlan(older, false)).not.toContain('mine');
  });

  it('does not take what a killed run has put there for a change by hand', () => {
    const path = '/etc/haproxy/haproxy.cfg';
    const facts = someFacts({ ...withFile(path, contentAt(path)), edited: new Set([path]) });
    const plan = documentOf({ configuration: tts, secrets: [SECRET], facts });
    expect(fileAt(plan, path)?.changedByHand).toBe(false);
    expect(renderPlan(plan, false)).not.toContain('by hand');
  });

  it('says what to do for the firewall that the site names', () => {
    const of = (firewallKind: 'firewalld' | 'iptables' | 'none') =>
      documentOf({ configuration: { ...tts, firewallKind }, secrets: [SECRET] }).firewall.rules.map(
        ({ commands, todo }) => [commands.map((argv) => argv.join(' ')).join('; '), todo],
      );
    expect(of('iptables')).toEqual([
      [
        'iptables -I INPUT -p tcp -d 10.20.0.10 --dport 50051 -j ACCEPT; service iptables save',
        expect.stringContaining('iptables, which is not active here'),
      ],
      [
        'iptables -I INPUT -p 112 -s 10.20.0.12 -j ACCEPT; service iptables save',
        expect.stringContaining('iptables, which is not active here'),
      ],
    ]);
    expect(of('firewalld')[0]?.[0]).toContain('--add-port=50051/tcp');
    expect(of('none')[0]).toEqual(['', expect.stringContaining('no firewall')]);
  });

  it('does not claim to know a file that is no text', () => {
    const { files } = withFile(KEEPALIVED, 'x');
    const file = fileAt(
      documentOf({ configuration: tts, secrets: [SECRET], facts: someFacts({ files }) }),
      KEEPALIVED,
    );
    expect([file?.change, file?.diff, file?.diffNote]).toEqual([
      'replaced',
      null,
      'what is there is not text, or larger than 256 KiB',
    ]);
  });

  it('names each kernel setting with its old and new value', () => {
    const sysctl = new Map([['net.ipv4.ip_nonlocal_bind', '0']]);
    const plan = documentOf({ configuration: tts, secrets: [SECRET], facts: someFacts({ sysctl }) });
    expect(plan.sysctl).toContainEqual(
      expect.objectContaining({ key: 'net.ipv4.ip_nonlocal_bind', from: '0', to: '1' }),
    );
    expect(renderPlan(plan, true)).toContain('net.ipv4.ip_nonlocal_bind  0 → 1');
  });

  it('gives the commands for firewalld or iptables, whichever runs, and does not run them', () => {
    const of = (firewalld: string, iptables: string) =>
      documentOf({
        configuration: tts,
        secrets: [SECRET],
        facts: someFacts({ firewall: { firewalld, iptables } }),
      }).firewall.rules.map(({ commands, todo }) => ({ commands: commands.length, todo }));
    expect(of('active', '').every(({ commands }) => commands === 2)).toBe(true);
    expect(of('inactive', 'active')[0]).toMatchObject({ commands: 2, todo: /iptables is active/ });
    expect(of('', '')[0]).toMatchObject({ commands: 0, todo: /in front of this node/ });
  });

  it('tells what it costs, and which figures are estimates', () => {
    const { cost } = documentOf({ contents: someContents({ rpms: [rpm('gcc-4.8.5-28.el7.x86_64')] }) });
    expect(cost.disk.map(({ folder, estimate, stays }) => [folder, estimate, stays])).toEqual([
      ['/var/lib/airbundle/stage', false, false],
      ['/', true, true],
      ['/var/lib/airbundle/build', true, false],
      ['/usr/libexec/airbundle', false, true],
    ]);
    expect([cost.basis, cost.seconds > 0]).toEqual(['estimate', true]);
  });

  it('is short for people, and whole with --verbose', () => {
    const rpms = Array.from({ length: 40 }, (_, index) => rpm(`p${String(index)}-1-1.el7.x86_64`));
    const plan = documentOf({ contents: someContents({ rpms }) });
    const short = renderPlan(plan, false);
    expect(short).toContain('… and 30 more (--verbose shows all)');
    expect(short).toContain('not tried: rpm --test');
    expect(short.split('\n').length).toBeLessThan(60);
    for (const one of rpms)
      expect(renderPlan(plan, true)).toContain(`install  ${one.nevra.name}-1-1.el7.x86_64`);
  });
});

/** EVRs of CentOS 7.5 (bundle), and of 7.6 to 7.9 with updates (node). */
describe('a node with the patches of 7.6 to 7.9', () => {
  const BUNDLE = [
    'glibc-headers-2.17-222.el7.x86_64',
    'glibc-devel-2.17-222.el7.x86_64',
    'gcc-4.8.5-28.el7.x86_64',
    'openssl-libs-1:1.0.2k-12.el7.x86_64',
    'openssl-devel-1:1.0.2k-12.el7.x86_64',
    'zlib-devel-1.2.7-17.el7.x86_64',
    'pcre-devel-8.32-17.el7.x86_64',
    'perl-4:5.16.3-292.el7.x86_64',
    'autoconf-2.69-11.el7.noarch',
    'libgcc-4.8.5-28.el7.x86_64',
  ];
  const contents = someContents({ rpms: BUNDLE.map(rpm) });
  const actions = (installed: readonly string[], allow: Partial<PlanRequest['allow']> = {}) => {
    const plan = documentOf({
      contents,
      facts: someFacts({ installed: installed.map(nevra) }),
      allow: { upgrade: false, protectedNames: [], takeOver: false, ...allow },
    });
    return {
      of: (name: string) => {
        const found = plan.packages.find((one) => one.package.startsWith(`${name}-`));
        return [found?.action, found?.installed];
      },
      refusals: plan.refusals,
    };
  };
  const PATCHED = [
    'glibc-devel-2.17-326.el7_9.x86_64',
    'glibc-headers-2.17-326.el7_9.x86_64',
    'gcc-4.8.5-44.el7.x86_64',
    'libgcc-4.8.5-44.el7.x86_64',
    'openssl-libs-1:1.0.2k-26.el7_9.x86_64',
    'openssl-devel-1:1.0.2k-26.el7_9.x86_64',
    'zlib-devel-1.2.7-20.el7_9.x86_64',
    'pcre-devel-8.32-17.el7.x86_64',
    'perl-4:5.16.3-299.el7_9.x86_64',
    'autoconf-2.69-11.el7.noarch',
  ];

  it('keeps its newer packages, skips the same ones, and has nothing refused', () => {
    const plan = actions(PATCHED);
    expect(plan.of('glibc-devel')).toEqual(['keep newer', 'glibc-devel-2.17-326.el7_9.x86_64']);
    expect(plan.of('openssl-libs')).toEqual(['keep newer', 'openssl-libs-1:1.0.2k-26.el7_9.x86_64']);
    expect(plan.of('perl')).toEqual(['keep newer', 'perl-4:5.16.3-299.el7_9.x86_64']);
    expect(plan.of('pcre-devel')[0]).toBe('same');
    expect(plan.of('autoconf')[0]).toBe('same');
    expect(plan.refusals).toEqual([]);
  });

  it('never compares an epoch away: 0:2.0 is older than 1:1.0.2k', () => {
    expect(actions(['openssl-devel-2.0-1.el7.x86_64'], { upgrade: true }).of('openssl-devel')[0]).toBe(
      'upgrade',
    );
  });

  it('refuses an older one, and says why; with --allow-upgrade it becomes an upgrade', () => {
    const older = ['gcc-4.8.5-16.el7_4.2.x86_64'];
    const refused = actions(older);
    expect(refused.of('gcc')).toEqual(['refused', 'gcc-4.8.5-16.el7_4.2.x86_64']);
    expect(refused.refusals.join()).toContain('--allow-upgrade');
    expect(actions(older, { upgrade: true }).of('gcc')).toEqual(['upgrade', 'gcc-4.8.5-16.el7_4.2.x86_64']);
  });

  it('never touches an older openssl-libs without its name', () => {
    const older = ['openssl-libs-1:1.0.2k-8.el7.x86_64'];
    expect(actions(older, { upgrade: true }).of('openssl-libs')[0]).toBe('refused');
    expect(actions(older, { upgrade: true, protectedNames: ['openssl-libs'] }).of('openssl-libs')[0]).toBe(
      'upgrade',
    );
  });

  it('takes the newest of two installed versions of one package', () => {
    const two = ['gcc-4.8.5-16.el7.x86_64', 'gcc-4.8.5-44.el7.x86_64'];
    expect(actions(two).of('gcc')).toEqual(['keep newer', 'gcc-4.8.5-44.el7.x86_64']);
    expect(actions([...two].reverse()).of('gcc')).toEqual(['keep newer', 'gcc-4.8.5-44.el7.x86_64']);
  });

  it('does not take an i686 library for the x86_64 one', () => {
    const plan = actions(['zlib-devel-1.2.7-20.el7_9.i686', 'pcre-devel-8.32-17.el7.x86_64']);
    expect(plan.of('zlib-devel')).toEqual(['install', null]);
    expect(plan.of('pcre-devel')[0]).toBe('same');
  });

  it('is planned with 5,000 installed packages in less than a second', () => {
    const installed = Array.from({ length: 5000 }, (_, index) =>
      nevra(`package-${String(index % 4900)}-1.${String(index)}-1.el7_9.x86_64`),
    );
    const rpms = Array.from({ length: 300 }, (_, index) => rpm(`package-${String(index)}-1.1-1.el7.x86_64`));
    const request = planRequest({ contents: someContents({ rpms }), facts: someFacts({ installed }) });
    const started = performance.now();
    const plan = makePlan(request);
    const tookMs = performance.now() - started;
    expect(plan.details.packages).toHaveLength(300);
    expect(tookMs).toBeLessThan(1000);
  });
});
