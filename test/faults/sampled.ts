import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { BLOCK_BYTES, paddingBytes, parseUstarHeader } from '../../src/model/ustar.js';
import { readKey } from '../../src/review/keys.js';
import type { Folder } from './damage.js';
import { notRefused } from './damage.js';
import type { Options } from './options.js';
import { realBundle } from './real.js';
import type { GroupResult } from './tally.js';
import { randomFrom, Tally } from './tally.js';

/*
 * The demo's bundle, as `bundle create` made it, damaged in memory: the verifying code reads all of it in each
 * case, and there is nothing there that it could change.
 */

const SHORT = 40;
const LONG = 10_000;

type Damage = { readonly name: string; readonly at: number } & (
  { readonly kind: 'flip'; readonly bit: number } | { readonly kind: 'cut' }
);

const inWords = (damage: Damage): string =>
  damage.kind === 'cut'
    ? `${damage.name} cut at ${String(damage.at)}`
    : `${damage.name} byte ${String(damage.at)} bit ${String(damage.bit)}`;

/** Where members begin and end in a canonical tar: headers, bodies, padding, and the zeros behind. */
function boundariesOf(tar: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; ;) {
    const header = parseUstarHeader(tar.subarray(at, at + BLOCK_BYTES));
    if (header === undefined) return [...found, at];
    const body = at + BLOCK_BYTES;
    const end = body + header.sizeBytes;
    found.push(at, body, end);
    at = end + paddingBytes(header.sizeBytes);
  }
}

type Draw = (below: number) => number;

/** Seven of ten in the payload, half of these around a boundary; the rest in the small files. */
function* damages(files: ReadonlyMap<string, Buffer>, count: number, draw: Draw): Generator<Damage> {
  const nameOf = (ending: string): string => [...files.keys()].find((name) => name.endsWith(ending)) ?? '';
  const tar = nameOf('.tar');
  const sizeOf = (name: string): number => files.get(name)?.length ?? 0;
  const boundaries = boundariesOf(files.get(tar) ?? Buffer.alloc(0));
  const atBoundary = (): number => {
    const near = (boundaries[draw(boundaries.length)] ?? 0) - 1 + draw(3);
    return Math.min(Math.max(near, 0), sizeOf(tar) - 1);
  };
  const flip = (name: string, at = draw(sizeOf(name))): Damage => ({ kind: 'flip', name, at, bit: draw(8) });
  const cut = (name: string, at = draw(sizeOf(name))): Damage => ({ kind: 'cut', name, at });
  const small = (name: string): Damage => (draw(4) === 0 ? cut(name) : flip(name));
  const kinds: readonly (() => Damage)[] = [
    () => flip(tar),
    () => flip(tar, atBoundary()),
    () => cut(tar),
    () => small(nameOf('.sha256')),
    () => flip(tar),
    () => cut(tar, atBoundary()),
    () => small(nameOf('.sig')),
    () => flip(tar),
    () => flip(tar, atBoundary()),
    () => small('install.sh'),
  ];
  for (let round = 0; round < count; round += 1) {
    const next = kinds[round % kinds.length];
    if (next !== undefined) yield next();
  }
}

/** The payload is damaged where it lies, and mended again: a copy of 170 MB for each case takes longer than its hash. */
async function problemWith(folder: Folder, damage: Damage): Promise<string | undefined> {
  const whole = folder.files.get(damage.name) ?? Buffer.alloc(0);
  if (damage.kind === 'cut')
    return notRefused(folder, new Map([...folder.files, [damage.name, whole.subarray(0, damage.at)]]));
  const turn = (): void => {
    whole[damage.at] = (whole[damage.at] ?? 0) ^ (1 << damage.bit);
  };
  turn();
  try {
    return await notRefused(folder, folder.files);
  } finally {
    turn();
  }
}

export async function sampledGroup(options: Options): Promise<GroupResult> {
  const packed = await realBundle();
  const tally = new Tally("flips and truncations of the demo's bundle", 'refused, with a reason', options);
  tally.planned = options.long ? LONG : SHORT;
  tally.note = `a payload of ${String(packed.payloadBytes)} bytes`;
  const files = new Map(
    readdirSync(packed.folder).map((name) => [name, readFileSync(path.join(packed.folder, name))]),
  );
  const folder: Folder = { files, key: readKey(readFileSync(packed.publicKey, 'utf8'), packed.publicKey) };
  const isWhole = async (): Promise<void> => {
    const said = await notRefused(folder, files);
    if (said !== 'it was accepted')
      tally.add('the whole one', { fired: true, problem: `the undamaged bundle: ${said ?? 'refused'}` });
  };
  await isWhole();
  for (const [index, damage] of [...damages(files, tally.planned, randomFrom(options.seed + 6))].entries()) {
    // A group without a case has shown nothing.
    if (index > 0 && performance.now() > options.deadline) break;
    tally.add(inWords(damage), { fired: true, problem: await problemWith(folder, damage) });
  }
  // Everything was mended after each case.
  await isWhole();
  return tally.result();
}
