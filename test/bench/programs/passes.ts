/*
 * One pass over a payload in a process of its own, which says what it took: the program's start does not count,
 * its memory is its own, and no TypeScript loader is in it.
 *   passes pack MEMBERS.json OUT.tar · floor MEMBERS.json OUT.tar · read TAR SHA256 · unpack TAR SHA256 INTO ·
 *   plan PACKAGES
 */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { packTar } from '../../../src/create/pack.js';
import type { PackMember } from '../../../src/create/pack.js';
import { localHost } from '../../../src/host/local.js';
import { makePlan } from '../../../src/install/plan.js';
import { unpack } from '../../../src/install/unpack.js';
import { Sha256 } from '../../../src/model/grammar.js';
import { readPayload } from '../../../src/review/payload.js';
import { planRequest, rpm, someContents, someFacts } from '../../install/facts.js';
import type { Cost } from '../harness.js';

const MIB = 1024 * 1024;

function membersIn(list: string): PackMember[] {
  return JSON.parse(readFileSync(list, 'utf8')) as PackMember[];
}

/** The product's own; fsync is told apart. */
async function pack(members: readonly PackMember[], output: string): Promise<number> {
  const { syncMs } = await packTar({
    first: { path: 'bundle.json', bytes: Buffer.from('{}\n') },
    members,
    output,
  });
  return syncMs;
}

/** The floor: read, SHA-256 and write, one after the other, with the cheapest calls that Node has. */
function floor(members: readonly PackMember[], output: string): number {
  const hash = createHash('sha256');
  const piece = Buffer.alloc(MIB);
  const target = openSync(output, 'wx');
  for (const { file } of members) {
    const source = openSync(file, 'r');
    for (let length = readSync(source, piece); length > 0; length = readSync(source, piece)) {
      hash.update(piece.subarray(0, length));
      writeSync(target, piece, 0, length);
    }
    closeSync(source);
  }
  hash.digest();
  const beforeMs = performance.now();
  fsyncSync(target);
  const syncMs = performance.now() - beforeMs;
  closeSync(target);
  return syncMs;
}

/** A plan for a node with so many packages, half of which the bundle has too, and 500 in the bundle. */
function plan(installed: number): void {
  const named = (index: number): string => `package-${index}-1.0-1.el7.x86_64`;
  const rpms = Array.from({ length: 500 }, (_, index) => rpm(named(index)));
  const facts = someFacts({
    installed: Array.from({ length: installed }, (_, index) => rpm(named(index + 250)).nevra),
  });
  makePlan(planRequest({ contents: someContents({ rpms }), facts }));
}

async function main([what = '', ...words]: readonly string[]): Promise<Cost> {
  const [one = '', two = '', three = ''] = words;
  const members = one.endsWith('.json') ? membersIn(one) : [];
  const works: Record<string, () => Promise<number> | number> = {
    pack: () => pack(members, two),
    floor: () => floor(members, two),
    read: async () => {
      await readPayload(localHost(), one, { expected: Sha256.parse(two) });
      return 0;
    },
    unpack: async () => {
      await unpack(localHost(), one, Sha256.parse(two), three);
      return 0;
    },
    plan: () => {
      plan(Number(one));
      return 0;
    },
  };
  const work = works[what];
  if (work === undefined) throw new Error(`there is no pass "${what}"`);
  const cpu = process.cpuUsage();
  const startedMs = performance.now();
  const syncMs = await work();
  const ms = performance.now() - startedMs - syncMs;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, cpuMs: (user + system) / 1000, peakMiB: process.resourceUsage().maxRSS / 1024, syncMs };
}

main(process.argv.slice(2)).then(
  (cost) => console.log(JSON.stringify(cost)),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
