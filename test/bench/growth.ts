/*
 * Whether time and memory grow with what there is to do, and no faster: each size beside the one below it, as many
 * times. Files of the 10 GiB are the same gigabyte under ten names: the reading is from a warm cache either way.
 */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BundlePath } from '../../src/model/grammar.js';
import type { PackMember } from '../../src/create/pack.js';
import type { Contender, Figure, Group, Setting } from './harness.js';
import { plainFigure, race, ROUNDS } from './harness.js';
import { builtProgram, measureProgram } from './measure.js';
import { LARGE_FILE, makeFiles, MIB, SMALL_FILE } from './payloads.js';

export const growth: Group = {
  name: 'growth',
  about: 'the same work on more bytes, more files, more packages',
  async *run(setting) {
    const passes = await builtProgram('passes');
    yield* bytes(setting, passes);
    yield* files(setting, passes);
    const plans = (packages: number): Contender => ({
      name: `plan with ${packages} packages on the node`,
      command: 'makePlan() of src/install/plan.ts, 500 packages in the bundle; rpm itself is not asked',
      round: () => measureProgram(passes, ['plan', String(packages)]),
    });
    yield* grown(plans(5000), plans(500), 10, ROUNDS);
  },
};

async function* bytes({ short, scratch, note }: Setting, passes: string): AsyncGenerator<Figure> {
  const sizes: readonly (readonly [string, number])[] = short
    ? [
        ['6.4 MiB', 6.4 * MIB],
        ['64 MiB', 64 * MIB],
      ]
    : [
        ['0.1 GiB', 102.4 * MIB],
        ['1 GiB', 1024 * MIB],
        ['10 GiB', 10_240 * MIB],
      ];
  const made = makeFiles(scratch, 'bytes', Math.min(sizes.at(-1)?.[1] ?? 0, 1024 * MIB), LARGE_FILE);
  const packs = sizes.map(([name, sizeBytes]) =>
    packing(scratch, passes, name, repeated(made.members, sizeBytes)),
  );
  for (const [index, larger] of packs.entries()) {
    const smaller = packs[index - 1];
    if (smaller === undefined) continue;
    note(larger.name);
    yield* grown(larger, smaller, 10, index === 2 ? 3 : ROUNDS, {
      goalMiB: 120,
      writesBytes: 1.2 * (sizes[index]?.[1] ?? 0),
    });
  }
  rmSync(made.folder, { recursive: true });
}

async function* files({ short, scratch, note }: Setting, passes: string): AsyncGenerator<Figure> {
  const counts = short ? [100, 1000] : [100, 1000, 10_000];
  const made = makeFiles(scratch, 'files', (counts.at(-1) ?? 0) * SMALL_FILE, SMALL_FILE);
  const packs = counts.map((count) =>
    packing(scratch, passes, `${count} files of 20 KiB`, made.members.slice(0, count)),
  );
  for (const [index, larger] of packs.entries()) {
    const smaller = packs[index - 1];
    if (smaller === undefined) continue;
    note(larger.name);
    yield* grown(larger, smaller, 10, ROUNDS, { writesBytes: 2 * (counts[index] ?? 0) * SMALL_FILE });
  }
  rmSync(made.folder, { recursive: true });
}

function packing(scratch: string, passes: string, name: string, members: readonly PackMember[]): Contender {
  const list = path.join(scratch, `${name.replaceAll(' ', '-')}.json`);
  const output = path.join(scratch, 'out.tar');
  writeFileSync(list, JSON.stringify(members));
  return {
    name: `pack ${name}`,
    command: 'packTar() of src/create/pack.ts',
    round: () => measureProgram(passes, ['pack', list, output]),
    after: async () => rmSync(output, { force: true }),
  };
}

/** The first so many bytes of these files, over and over, each time under other names. */
function repeated(members: readonly PackMember[], sizeBytes: number): PackMember[] {
  const count = Math.round(sizeBytes / LARGE_FILE);
  return Array.from({ length: Math.max(count, 1) }, (_, index) => {
    const member = members[index % members.length];
    if (member === undefined) throw new RangeError('no files');
    return { ...member, path: BundlePath.parse(`rpms/copy-${index}.rpm`) };
  });
}

interface Grown {
  /** What the larger one may take of memory. */
  readonly goalMiB?: number;
  readonly writesBytes?: number;
}

async function* grown(
  larger: Contender,
  smaller: Contender,
  times: number,
  rounds: number,
  { goalMiB, writesBytes = 0 }: Grown = {},
): AsyncGenerator<Figure> {
  const many: Contender = {
    ...smaller,
    name: `${times} × ${smaller.name}`,
    round: async () => {
      const cost = await smaller.round();
      return { ...cost, ms: cost.ms * times, cpuMs: (cost.cpuMs ?? Number.NaN) * times };
    },
  };
  const figures = await race({ ours: [larger], rivals: [many], rounds, writesBytes });
  yield* figures;
  const peak = figures[0]?.more?.oursCost.peakMiB?.max;
  if (peak !== undefined) yield plainFigure(`${larger.name}: peak memory`, peak, 'MiB', goalMiB ?? null);
}
