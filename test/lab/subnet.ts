import { networkInterfaces } from 'node:os';

/** The first three bytes of a /24, such as `10.213.7`. */
export type Subnet24 = string;

/** Private /24 ranges that no interface of this host lies in, in a random order. */
export const freeSubnets = (): Subnet24[] => {
  const taken = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((one) => one.family === 'IPv4')
    .map((one) => one.address);
  const first = Math.floor(Math.random() * 256);
  return Array.from({ length: 256 }, (_, index) => `10.213.${(first + index) % 256}`).filter(
    (subnet) => !taken.some((address) => address.startsWith(`${subnet}.`)),
  );
};
