import { IPV4 } from './scalars.js';

/* IPv4 addresses and networks as a site and a node write them: `10.20.0.11`, `10.20.0.11/24`. */

export const IPV4_ADDRESS = new RegExp(`^${IPV4}$`);
export const IPV4_WITH_PREFIX = new RegExp(`^${IPV4}/(?:[89]|[12][0-9]|3[0-2])$`);

/** `10.20.0.10/24` → `10.20.0.10` */
export function addressOf(text: string): string {
  return text.split('/')[0] ?? '';
}

/** `10.20.0.10/24` → 24; undefined without a prefix. */
export function prefixOf(text: string): number | undefined {
  const prefix = text.split('/')[1];
  return prefix === undefined ? undefined : Number(prefix);
}

/** Not 0.x, loopback, multicast or reserved. @param text an address, with or without its prefix */
export function isHostAddress(text: string): boolean {
  const first = Number(text.split('.')[0]);
  return first !== 0 && first !== 127 && first < 224;
}

/** @param text an address with its prefix */
export function isNetworkOrBroadcast(text: string): boolean {
  const hostBits = 32 - (prefixOf(text) ?? 32);
  if (hostBits < 2) return false;
  const host = toNumber(addressOf(text)) % 2 ** hostBits;
  return host === 0 || host === 2 ** hostBits - 1;
}

/** Whether an address lies in the network of `network` (`10.20.0.11/24` stands for 10.20.0.0/24). */
export function isInside(address: string, network: string): boolean {
  return networkNumber(addressOf(address), network) === networkNumber(addressOf(network), network);
}

/** `10.20.0.11/24` → `10.20.0.0/24` */
export function networkOf(text: string): string {
  const prefix = prefixOf(text) ?? 32;
  const first = networkNumber(addressOf(text), text) * 2 ** (32 - prefix);
  const octets = [24, 16, 8, 0].map((bits) => Math.floor(first / 2 ** bits) % 256);
  return `${octets.join('.')}/${String(prefix)}`;
}

/** Whether two networks share an address. */
export function overlap(one: string, other: string): boolean {
  return isInside(one, other) || isInside(other, one);
}

function networkNumber(address: string, network: string): number {
  return Math.floor(toNumber(address) / 2 ** (32 - (prefixOf(network) ?? 32)));
}

function toNumber(address: string): number {
  return address.split('.').reduce((total, octet) => total * 256 + Number(octet), 0);
}
