/*
 * Packing from a warm store. All contenders read a warm page cache and leave dirty pages; fsync is timed beside.
 * gzip takes half a minute for 1 GiB: what compresses is compared on the small set only.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Contender, Figure, Group, Rival, Setting, Skipped } from './harness.js';
import { plainFigure, race, ROUNDS } from './harness.js';
import { builtProgram, measureCommand, measureProgram, syncMs } from './measure.js';
import type { FileSet } from './payloads.js';
import { LARGE_FILE, makeFiles, MIB, SMALL_FILE } from './payloads.js';

const MAKESELF = '/usr/bin/makeself';

const SHELL = 'tar -cf - . | tee ../out.tar | sha256sum';
const GZIP = 'tar -czf ../out.tar . && sha256sum ../out.tar';

export const pack: Group = {
  name: 'pack',
  about: 'files of a warm store into X.tar, hashed twice',
  async *run(setting) {
    const passes = await builtProgram('passes');
    const sets = setting.short
      ? [
          ['32 MiB in 4 MiB files', 32 * MIB, LARGE_FILE] as const,
          ['16 MiB in 20 KiB files', 16 * MIB, SMALL_FILE] as const,
        ]
      : [
          ['100 MiB in 4 MiB files', 100 * MIB, LARGE_FILE] as const,
          ['100 MiB in 20 KiB files', 100 * MIB, SMALL_FILE] as const,
          ['1 GiB in 4 MiB files', 1024 * MIB, LARGE_FILE] as const,
          ['1 GiB in 20 KiB files', 1024 * MIB, SMALL_FILE] as const,
        ];
    for (const [index, [name, sizeBytes, fileBytes]] of sets.entries()) {
      const files = makeFiles(setting.scratch, name, sizeBytes, fileBytes);
      setting.note(`pack ${name}`);
      yield* packFigures(setting, files, passes, index === 0);
      rmSync(files.folder, { recursive: true });
    }
  },
};

async function* packFigures(
  { scratch }: Setting,
  files: FileSet,
  passes: string,
  withGzip: boolean,
): AsyncGenerator<Figure | Skipped> {
  const output = path.join(scratch, 'out.tar');
  // The goals are for 1 GiB: a start of a thread is a larger part of less.
  const isGoal = files.sizeBytes >= 1000 * MIB;
  const list = path.join(scratch, 'members.json');
  writeFileSync(list, JSON.stringify(files.members));
  const after = async (): Promise<void> => rmSync(output, { force: true });
  const ours: Contender = {
    name: `pack ${files.name}`,
    command: 'packTar() of src/create/pack.ts, as "bundle create" calls it',
    round: () => measureProgram(passes, ['pack', list, output]),
    after,
  };
  const shell = (name: string, text: string): Contender => ({
    name,
    command: `sh -c '${text}', in the folder of the files`,
    round: async () => {
      const cost = await measureCommand(['sh', '-c', text], { cwd: files.folder });
      return { ...cost, syncMs: await syncMs(output) };
    },
    after,
  });
  const makeself = (name: string, flag: string): Contender => ({
    name,
    command: `makeself --sha256 ${flag} --notemp FOLDER out.tar bench true`,
    round: async () => {
      const cost = await measureCommand([
        MAKESELF,
        '--sha256',
        flag,
        '--notemp',
        files.folder,
        output,
        'bench',
        'true',
      ]);
      return { ...cost, syncMs: await syncMs(output) };
    },
    after,
  });
  const rivals: Rival[] = [
    {
      name: 'one pass',
      command: 'read, SHA-256 and write in turn, one process, one thread (test/bench/programs/passes.ts)',
      round: () => measureProgram(passes, ['floor', list, output]),
      after,
      goal: isGoal ? 1.5 : undefined,
    },
    { ...shell('tar | tee | sha256sum', SHELL), goal: isGoal ? 1 / 3 : undefined },
    ...(withGzip ? [shell('tar czf + sha256sum', GZIP)] : []),
    ...(existsSync(MAKESELF)
      ? [
          makeself('makeself --nocomp', '--nocomp'),
          ...(withGzip ? [makeself('makeself --gzip', '--gzip')] : []),
        ]
      : []),
  ];
  const figures = await race({ ours: [ours], rivals, rounds: ROUNDS, writesBytes: 2 * files.sizeBytes });
  yield* figures;
  const peak = figures[0]?.more?.oursCost.peakMiB?.max;
  if (peak !== undefined) yield plainFigure(`${ours.name}: peak memory`, peak, 'MiB', 120);
  if (withGzip && !existsSync(MAKESELF))
    yield { name: 'pack ÷ makeself', skipped: 'makeself is not installed: apt-get install makeself' };
}
