import { describe, expect, it } from 'vitest';
import { deployRelease } from '../../src/fleet/deploy-release.js';
import { vrrpChanges } from '../../src/fleet/vrrp-change.js';
import { changes, scripted } from './scripted-cluster.js';
import { bare, someSite, someView } from './views.js';

const site = someSite();
const pair = (instance: object) => [
  someView('lb1', true, { instance }),
  someView('lb2', false, { instance }),
];

describe('a site that changes what the nodes have to agree on', () => {
  it.each([
    ['the router id', { virtualRouterId: 50 }, 'virtual_router_id is 50 there and 51 in the site file'],
    ['the interval', { advertIntervalSeconds: 2 }, 'advert_int is 2 there and 1 in the site file'],
    ['the transport', { mode: 'multicast' }, 'the transport is multicast there and unicast in the site file'],
    ['the secret', { secret: 'different' }, "auth_pass there is not the one in the site's secretFile"],
  ])('is seen: %s', (_, instance, words) => {
    const found = vrrpChanges(site, pair(instance));
    expect(found).toHaveLength(2);
    expect(found[0]).toContain(`lb1: ${words}`);
  });

  it('is none when they agree, when nothing serves, and when keepalived is stopped everywhere', () => {
    expect(vrrpChanges(site, pair({}))).toEqual([]);
    expect(vrrpChanges(site, [bare('lb1'), bare('lb2')])).toEqual([]);
    const stopped = { keepalived: 'inactive', instance: { virtualRouterId: 50 } };
    expect(vrrpChanges(site, [someView('lb1', false, stopped), someView('lb2', false, stopped)])).toEqual([]);
  });

  it('is refused before the first change', async () => {
    const all = scripted();
    const cluster = {
      ...all.cluster,
      site: {
        ...all.cluster.site,
        vrrp: { virtualRouterId: 52, advertIntervalSeconds: 1, transport: 'unicast' as const },
      },
    };
    await expect(deployRelease(all.given({ cluster }))).rejects.toMatchObject({
      code: 'VRRP_WOULD_SPLIT',
      exit: 5,
    });
    expect(changes(all)).toEqual([]);
  });

  it('makes a pair of a single node: it is changed first, with nobody to hand over to', async () => {
    const all = scripted();
    all.node('lb2').history = [];
    all.node('lb2').keepalived = 'inactive';
    expect((await deployRelease(all.given())).outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb1', 'install lb2']);
  });

  it('adds a node to a pair that serves without a second holder', async () => {
    const all = scripted({ count: 3 });
    all.node('lb3').history = [];
    all.node('lb3').keepalived = 'inactive';
    expect((await deployRelease(all.given())).outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'start lb1', 'install lb1', 'install lb3']);
  });
});
