import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressOf,
  isInside,
  isNetworkOrBroadcast,
  networkOf,
  overlap,
  prefixOf,
} from '../../src/model/networks.js';

const octet = fc.integer({ min: 0, max: 255 });
const address = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'));
const prefix = fc.integer({ min: 8, max: 32 });

/** The address as 32 digits, as on paper. */
const bits = (text: string): string =>
  text
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('');

describe('an address with its prefix', () => {
  it('is taken apart', () => {
    expect([addressOf('10.20.0.10/24'), prefixOf('10.20.0.10/24')]).toEqual(['10.20.0.10', 24]);
    expect([addressOf('10.20.0.10'), prefixOf('10.20.0.10')]).toEqual(['10.20.0.10', undefined]);
  });

  it('has the addresses that share its first bits, and no others', () => {
    fc.assert(
      fc.property(address, address, prefix, (one, other, length) => {
        const network = `${other}/${String(length)}`;
        expect(isInside(one, network)).toBe(bits(one).slice(0, length) === bits(other).slice(0, length));
        expect(isInside(other, network)).toBe(true);
        expect(isInside(addressOf(networkOf(network)), network)).toBe(true);
        expect(Number(bits(addressOf(networkOf(network))).slice(length) || '0')).toBe(0);
      }),
    );
  });

  it('overlaps with a part of itself, and not with the next one', () => {
    expect(overlap('10.20.0.0/16', '10.20.3.7/24')).toBe(true);
    expect(overlap('10.20.3.7/24', '10.20.0.0/16')).toBe(true);
    expect(overlap('10.20.0.5/25', '10.20.0.200/25')).toBe(false);
  });

  it('is the network or the broadcast address at the ends only, and never in /31 and /32', () => {
    expect(['10.0.0.0/24', '10.0.0.255/24', '10.0.1.255/23'].map(isNetworkOrBroadcast)).toEqual([
      true,
      true,
      true,
    ]);
    expect(['10.0.0.255/23', '10.0.0.0/31', '10.0.0.0/32'].map(isNetworkOrBroadcast)).toEqual([
      false,
      false,
      false,
    ]);
  });
});
