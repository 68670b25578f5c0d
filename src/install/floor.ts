import { z } from 'zod';
import { refusedError } from '../errors.js';
import type { Host } from '../host/host.js';
import { Name, Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';
import type { Receipt } from './receipt.js';

/** The highest release of a product that was ever committed here. */
const Committed = z.strictObject({ sequence: z.int().min(1), digest: Sha256 });
export type Committed = z.infer<typeof Committed>;

/** Product name → what was committed; a map, since a product may be called "constructor". */
export type Floor = ReadonlyMap<string, Committed>;

export const FloorSchema = z.record(Name, Committed);

/**
 * @param receipt counts too: a node may have one from before this file existed
 * @throws BundleError exit 5 when there is a floor that cannot be read
 */
export async function readFloor(host: Host, receipt: Receipt | undefined): Promise<Floor> {
  const floor = new Map(Object.entries(await readStored(host, receipt)));
  if (receipt === undefined) return floor;
  return raised(floor, receipt.contents.name, {
    sequence: receipt.contents.sequence,
    digest: receipt.digest,
  });
}

async function readStored(
  host: Host,
  receipt: Receipt | undefined,
): Promise<Readonly<Record<string, Committed>>> {
  const bytes = await host.read(target.floor);
  if (bytes === undefined) return {};
  try {
    return FloorSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw refusedError({
      code: 'BAD_FLOOR',
      message: 'the file that remembers the highest sequence of each product cannot be read',
      where: target.floor,
      hint: [
        'Without it an older release could be installed again: restore it from a backup of the node.',
        receipt === undefined
          ? 'There is no receipt here that would say what it held.'
          : `When there is no backup, move it away: the installed ${receipt.contents.name} ${receipt.contents.version} with sequence ${String(receipt.contents.sequence)} counts by its receipt.`,
      ].join('\n'),
      cause,
    });
  }
}

/** A lower sequence leaves it as it is; an equal one too: the digest that was committed first counts. */
function raised(floor: Floor, name: string, committed: Committed): Floor {
  if ((floor.get(name)?.sequence ?? 0) >= committed.sequence) return floor;
  return new Map([...floor, [name, committed]]);
}

/**
 * Remembers a release before its receipt is written: a power cut between the two refuses what is older
 * than this release, and accepts this one.
 * @param receipt what was committed before: it is remembered too
 */
export async function raiseFloor(
  host: Host,
  receipt: Receipt | undefined,
  name: string,
  committed: Committed,
): Promise<void> {
  const floor = raised(await readFloor(host, receipt), name, committed);
  const text = `${JSON.stringify(Object.fromEntries(floor), null, 1)}\n`;
  if ((await host.read(target.floor))?.toString('utf8') === text) return;
  await host.writeDurable(target.floor, text, { mode: 0o600 });
}
