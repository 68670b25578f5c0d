import type { Figure, Skipped, Spread } from './harness.js';

/** Pure: figures as a table for people. */
export function table(figures: readonly (Figure | Skipped)[]): string {
  const rows = [
    ['', 'ratio', 'min – max', 'CPU', 'goal', '', 'ours', 'theirs', 'peak', 'fsync'],
    ...figures.map(rowOf),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Pure: the same as a table of Markdown. */
export function markdown(figures: readonly (Figure | Skipped)[]): string {
  return [
    '| what | ratio | min – max | CPU ratio | goal | ours | theirs | peak memory |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...figures.map((figure) => {
      const [name, ratio, range, cpu, goal, met, ours, theirs, peak] = rowOf(figure);
      const cells = [name, ratio, range, cpu, `${goal ?? ''} ${met ?? ''}`.trim(), ours, theirs, peak];
      return `| ${cells.map((cell = '') => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    }),
  ].join('\n');
}

/** Pure: the commands that were compared, once each. */
export function commands(figures: readonly (Figure | Skipped)[]): string[] {
  const lines = figures.flatMap((figure) => {
    if ('skipped' in figure || figure.more === undefined) return [];
    const [ours = '', theirs = ''] = figure.name.split(' ÷ ');
    return [`${ours}: ${figure.more.oursCommand}`, `${theirs}: ${figure.more.theirsCommand}`];
  });
  return [...new Set(lines)];
}

function rowOf(figure: Figure | Skipped): string[] {
  if ('skipped' in figure) return [figure.name, `not run: ${lastWords(figure.skipped)}`];
  const { name, ratio, goal, met, ours, theirs, unit, more } = figure;
  const isRatio = ratio !== null;
  return [
    name,
    isRatio ? ratio.toFixed(2) : '',
    more === undefined ? '' : `${more.ratioMin.toFixed(2)} – ${more.ratioMax.toFixed(2)}`,
    more?.cpuRatio?.toFixed(2) ?? '',
    goal === null ? '' : `≤ ${isRatio ? goal.toFixed(2) : amount(goal, unit)}`,
    met === null ? '' : met ? 'met' : 'missed',
    amount(ours, unit),
    theirs === null ? '' : amount(theirs, unit),
    pair(more?.oursCost.peakMiB, more?.theirsCost.peakMiB, (mib) => `${mib.toFixed(0)} MiB`),
    pair(more?.oursCost.syncMs, more?.theirsCost.syncMs, (ms) => `${(ms / 1000).toFixed(2)} s`),
  ];
}

/** A group that failed tells all that its program said: its end, for a table. */
function lastWords(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.find((line) => line.startsWith('error[')) ?? lines[0] ?? '';
}

function amount(value: number, unit: Figure['unit']): string {
  if (unit !== 's') return `${value.toFixed(0)} ${unit}`;
  return value < 1 ? `${(value * 1000).toFixed(0)} ms` : `${value.toFixed(1)} s`;
}

function pair(
  ours: Spread | null | undefined,
  theirs: Spread | null | undefined,
  words: (median: number) => string,
): string {
  const word = (one: Spread | null | undefined): string =>
    one === null || one === undefined ? '–' : words(one.median);
  const isNothing = (ours ?? null) === null && (theirs ?? null) === null;
  return isNothing ? '' : `${word(ours)} / ${word(theirs)}`;
}
