import { describe, expect, it } from 'vitest';
import { readKeepalived } from '../../src/configure/read-keepalived.js';
import { configured, contentOf, example, siteOf } from './fixtures.js';

const CONFIG = '/etc/keepalived/keepalived.conf';

describe('reading a keepalived.conf back', () => {
  it.each(['tts-pair', 'tts-full'] as const)('gives what %s was rendered from', (name) => {
    const site = siteOf(example(name));
    const [node, ...others] = site.nodes;
    const read = readKeepalived(contentOf(configured(site, node?.name), CONFIG));
    expect(read).toHaveLength(1);
    expect(read[0]).toMatchObject({
      name: site.name,
      interface: node?.interface,
      virtualRouterId: site.vrrp?.virtualRouterId,
      priority: node?.priority,
      advertIntervalSeconds: site.vrrp?.advertIntervalSeconds,
      vips: site.vips.map(({ address }) => address),
      secret: 's3cret',
    });
    const peers = read[0]?.peers ?? [];
    if (peers.length > 0) expect(peers).toEqual(others.map(({ address }) => address));
  });

  it('reads what somebody wrote by hand: other spacing, comments, braces on lines of their own', () => {
    const text = [
      '! made by hand',
      'vrrp_instance A',
      '{',
      '  interface bond0 # the inner network',
      '  virtual_router_id 7',
      '  authentication { auth_type PASS',
      '    auth_pass "x" }',
      '  virtual_ipaddress { 10.0.0.1/24 dev bond0',
      '    10.0.0.2 }',
      '}',
      'vrrp_instance B { nopreempt',
      '  advert_int 0.5',
      '}',
    ].join('\n');
    expect(readKeepalived(text)).toMatchObject([
      {
        name: 'A',
        interface: 'bond0',
        virtualRouterId: 7,
        vips: ['10.0.0.1', '10.0.0.2'],
        preempt: true,
        peers: [],
      },
      { name: 'B', preempt: false, advertIntervalSeconds: 0.5, priority: null, secret: null },
    ]);
  });

  it.each(['', '}}}}', '{', 'vrrp_instance', 'vrrp_instance X {'])(
    'makes no more of "%s" than there is',
    (text) => {
      expect(() => readKeepalived(text)).not.toThrow();
    },
  );
});
