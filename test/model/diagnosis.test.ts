import { describe, expect, it } from 'vitest';
import type { NodeView } from '../../src/model/cluster.js';
import { diagnose } from '../../src/model/diagnosis.js';
import { ownFindings } from '../../src/model/own-view.js';
import { away, bare, someSite, someStatus, someView, VIP } from '../fleet/views.js';

interface Case {
  readonly what: string;
  readonly views: readonly NodeView[];
  readonly outside?: boolean;
  /** Codes of what is bad, in order. */
  readonly bad: readonly string[];
  readonly notices?: readonly string[];
  /** What the first one says of its cause and its next step. */
  readonly cause?: RegExp;
  readonly next?: RegExp;
}

const closed = { state: 'closed', because: '-A INPUT -p vrrp -j DROP', firewalld: '' } as const;

const CASES: readonly Case[] = [
  { what: 'a pair with one holder', views: [someView('lb1', true), someView('lb2', false)], bad: [] },
  {
    what: 'a pair on which nothing is installed',
    views: [bare('lb1'), bare('lb2')],
    bad: [],
    notices: ['NODE_NOT_INSTALLED', 'NODE_NOT_INSTALLED'],
  },
  {
    what: 'two holders, and different virtual router ids',
    views: [someView('lb1', true), someView('lb2', true, { instance: { virtualRouterId: 52 } })],
    bad: ['TWO_HOLDERS', 'VRRP_SETTINGS_DIFFER'],
    cause: /settings differ.*virtual_router_id differs: lb1 51, lb2 52/,
    next: /same site file/,
  },
  {
    what: 'two holders, and different secrets',
    views: [someView('lb1', true), someView('lb2', true, { instance: { secret: 'different' } })],
    bad: ['TWO_HOLDERS', 'VRRP_SECRET_DIFFERS'],
    cause: /auth_pass on lb2 is not the one/,
  },
  {
    what: 'two holders, one of them multicast',
    views: [someView('lb1', true), someView('lb2', true, { instance: { mode: 'multicast', peers: [] } })],
    bad: ['TWO_HOLDERS', 'VRRP_SETTINGS_DIFFER'],
    cause: /unicast_peer or multicast differs: lb1 unicast, lb2 multicast/,
  },
  {
    what: 'two holders, and one does not name the other as its peer',
    views: [someView('lb1', true), someView('lb2', true, { instance: { peers: ['10.0.0.99'] } })],
    bad: ['TWO_HOLDERS', 'VRRP_SETTINGS_DIFFER'],
    cause: /unicast_peer of lb2 does not name lb1 \(10\.0\.0\.11\)/,
  },
  {
    what: 'two holders, and a packet filter that drops VRRP on one',
    views: [someView('lb1', true), someView('lb2', true, { protocol112: closed })],
    bad: ['TWO_HOLDERS', 'PROTOCOL_112_CLOSED'],
    cause: /protocol 112 \(VRRP\) is not let in on lb2: -A INPUT -p vrrp -j DROP/,
    next: /^on lb2: iptables -I INPUT -p 112/,
  },
  {
    what: 'the same with firewalld',
    views: [
      someView('lb1', true),
      someView('lb2', true, { protocol112: { ...closed, firewalld: 'active' } }),
    ],
    bad: ['TWO_HOLDERS', 'PROTOCOL_112_CLOSED'],
    next: /firewall-cmd --permanent --add-rich-rule/,
  },
  {
    what: 'two holders with nothing wrong on either: the adverts do not arrive',
    views: [someView('lb1', true), someView('lb2', true)],
    bad: ['TWO_HOLDERS'],
    cause: /the adverts do not arrive: IP protocol 112/,
    next: /tcpdump -ni any ip proto 112/,
  },
  {
    what: 'two holders, one of which is left over from a keepalived that died',
    views: [someView('lb1', true), someView('lb2', true, { keepalived: 'failed' })],
    bad: ['TWO_HOLDERS', 'KEEPALIVED_DOWN'],
    cause: /keepalived does not run on lb2, and the address was left behind/,
    next: /on lb2: systemctl start keepalived/,
  },
  {
    what: 'one holder, whose keepalived died',
    views: [someView('lb1', true, { keepalived: 'failed' }), someView('lb2', false)],
    bad: ['HOLDER_WITHOUT_KEEPALIVED', 'KEEPALIVED_DOWN'],
    cause: /left behind/,
  },
  {
    what: 'no holder, and no keepalived',
    views: [
      someView('lb1', false, { keepalived: 'inactive' }),
      someView('lb2', false, { keepalived: 'inactive' }),
    ],
    bad: ['NO_HOLDER', 'KEEPALIVED_DOWN', 'KEEPALIVED_DOWN'],
    cause: /keepalived runs on no node/,
  },
  {
    what: 'no holder, and haproxy down on both',
    views: [someView('lb1', false, { haproxy: 'failed' }), someView('lb2', false, { haproxy: 'failed' })],
    bad: ['NO_HOLDER'],
    cause: /haproxy\.service is failed on lb1; haproxy\.service is failed on lb2/,
  },
  {
    what: 'no holder although everything runs',
    views: [someView('lb1', false), someView('lb2', false)],
    bad: ['NO_HOLDER'],
    next: /ask again in 5 seconds/,
  },
  {
    what: 'a node that cannot be reached, while the other one serves',
    views: [someView('lb1', true), away('lb2')],
    bad: ['NODE_UNREACHABLE'],
  },
  {
    what: 'a node that cannot be reached, and the other one holds nothing',
    views: [away('lb1'), someView('lb2', false)],
    bad: ['HOLDER_UNKNOWN', 'NODE_UNREACHABLE'],
  },
  {
    what: 'the same while the VIP answers: the unreachable one holds it',
    views: [away('lb1'), someView('lb2', false)],
    outside: true,
    bad: ['NODE_UNREACHABLE'],
    notices: ['HOLDER_UNKNOWN'],
  },
  {
    what: 'settings that differ while one still holds alone',
    views: [
      someView('lb1', true),
      someView('lb2', false, { instance: { advertIntervalSeconds: 3, preempt: true } }),
    ],
    bad: ['VRRP_SETTINGS_DIFFER', 'VRRP_SETTINGS_DIFFER'],
  },
  {
    what: 'a node without the instance',
    views: [someView('lb1', true), someView('lb2', false, { instance: { name: 'other' } })],
    bad: ['VRRP_SETTINGS_DIFFER', 'VRRP_SETTINGS_DIFFER'],
  },
  {
    what: 'a secret that is nobody’s: the file here is the wrong one',
    views: [
      someView('lb1', true, { instance: { secret: 'different' } }),
      someView('lb2', false, { instance: { secret: 'different' } }),
    ],
    bad: [],
    notices: ['VRRP_SECRET_NOT_OURS'],
  },
  {
    what: 'a standby without keepalived',
    views: [someView('lb1', true), someView('lb2', false, { keepalived: 'inactive' })],
    bad: ['KEEPALIVED_DOWN'],
  },
  {
    what: 'a run that is not finished',
    views: [someView('lb1', true), someView('lb2', false, { unfinished: { kind: 'install', run: 'R1' } })],
    bad: ['UNFINISHED_RUN'],
  },
  {
    what: 'different releases, site files and clocks, and a backend that is down',
    views: [
      someView('lb1', true, { problems: ['backend tts/tts1 is DOWN'] }),
      someView(
        'lb2',
        false,
        {
          siteDigest: 'f'.repeat(64),
          bundle: { ...someStatus('lb2').bundle, digest: '2'.repeat(64), version: '1.1.0' },
        },
        { clockSkewMs: -61_000 },
      ),
    ],
    bad: [],
    notices: ['NODE_PROBLEM', 'CLOCK_SKEW', 'RELEASES_DIFFER', 'SITES_DIFFER'],
  },
];

describe('the diagnosis of a site', () => {
  it.each(CASES.map((one) => [one.what, one] as const))(
    'of %s',
    (_, { views, outside, bad, notices = [], cause, next }) => {
      const findings = diagnose({
        site: someSite(),
        views,
        ...(outside === undefined ? {} : { outside: new Map([[VIP, outside]]) }),
      });
      const codes = (severity: string): string[] =>
        findings.filter((finding) => finding.severity === severity).map(({ code }) => code);
      expect(codes('bad')).toEqual(bad);
      expect(codes('notice')).toEqual(notices);
      if (cause !== undefined) expect(findings[0]?.cause).toMatch(cause);
      if (next !== undefined) expect(findings[0]?.next).toMatch(next);
    },
  );

  it('names all of three holders', () => {
    const views = ['lb1', 'lb2', 'lb3'].map((name) => someView(name, true));
    expect(diagnose({ site: someSite(3), views })[0]?.message).toBe(
      'VIP tts (10.0.0.100) is held by lb1, lb2 and lb3 at the same time',
    );
  });
});

describe('what one node sees of its site', () => {
  const vip = (here: boolean, arp: 'answered' | 'silent' | 'not looked at') => [
    { name: 'tts', address: VIP, here, arp },
  ];
  it.each([
    ['it holds the VIP alone', vip(true, 'silent'), []],
    ['it holds the VIP and another machine answers too', vip(true, 'answered'), ['TWO_HOLDERS']],
    ['another machine holds the VIP', vip(false, 'answered'), []],
    ['nobody holds the VIP', vip(false, 'silent'), ['NO_HOLDER']],
    ['it could not look', vip(false, 'not looked at'), []],
  ] as const)('%s', (_, vips, codes) => {
    expect(ownFindings(someStatus('lb1'), vips).map(({ code }) => code)).toEqual(codes);
  });

  it('tells of its own dead keepalived and closed packet filter as well', () => {
    const status = someStatus('lb1', { keepalived: 'failed', protocol112: closed });
    expect(ownFindings(status, vip(false, 'answered')).map(({ code }) => code)).toEqual([
      'KEEPALIVED_DOWN',
      'PROTOCOL_112_CLOSED',
    ]);
  });
});
