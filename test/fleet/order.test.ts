import { describe, expect, it } from 'vitest';
import { isNewTo, rolloutOrder } from '../../src/fleet/order.js';
import type { NodeView } from '../../src/model/cluster.js';
import { away, bare, someSite, someView } from './views.js';

describe('the order of a rollout', () => {
  it('begins with the lowest priority and ends with the one that serves', () => {
    const views = [someView('lb1', false), someView('lb2', true), someView('lb3', false)];
    expect(rolloutOrder(someSite(3), views)).toEqual(['lb3', 'lb1', 'lb2']);
  });

  it('begins with the highest priority where nothing serves', () => {
    expect(rolloutOrder(someSite(3), [bare('lb1'), bare('lb2'), bare('lb3')])).toEqual(['lb1', 'lb2', 'lb3']);
  });

  it('installs a node that is new to the site last: before that, nobody sends it adverts', () => {
    const views = [someView('lb1', true), someView('lb2', false), bare('lb3')];
    expect(rolloutOrder(someSite(3), views)).toEqual(['lb2', 'lb1', 'lb3']);
  });

  it('takes a node for new only when it answered and nothing is installed there', () => {
    const unread = someView('lb3', false, {}, { status: null, words: 'airbundle status does not answer' });
    const isNew = (third: NodeView) => isNewTo([someView('lb1', true), third], 'lb3');
    expect([bare('lb3'), unread, away('lb3')].map(isNew)).toEqual([true, false, false]);
    const views = [someView('lb1', false), someView('lb2', true), unread];
    expect(rolloutOrder(someSite(3), views)).toEqual(['lb3', 'lb1', 'lb2']);
  });

  it('leaves the active node of somebody else’s keepalived for the end as well', () => {
    const views = [{ ...someView('lb1', true), status: null }, bare('lb2')];
    expect(rolloutOrder(someSite(2), views)).toEqual(['lb2', 'lb1']);
  });

  it('is the site file’s where there is no VIP', () => {
    const site = { ...someSite(3), vips: [] };
    expect(rolloutOrder(site, [bare('lb1'), bare('lb2'), bare('lb3')])).toEqual(['lb1', 'lb2', 'lb3']);
  });
});
