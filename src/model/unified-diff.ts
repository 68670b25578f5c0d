/** Lines around a change that are shown with it. */
const CONTEXT = 3;
/** Two texts that differ by more lines than this are shown as one replaced by the other. */
const MAX_EDITS = 1500;

type Edit = readonly [' ' | '-' | '+', string];

/** The lines of `diff -u` without its two heads; empty when the texts are the same. Pure. */
export function unifiedDiff(before: string, after: string): string[] {
  const edits = editsOf(linesOf(before), linesOf(after));
  return hunksOf(edits).flatMap(({ from, to }) => [headOf(edits, from, to), ...shown(edits.slice(from, to))]);
}

function shown(edits: readonly Edit[]): string[] {
  return edits.map(([sign, line]) => sign + line);
}

function linesOf(text: string): string[] {
  if (text === '') return [];
  const lines = text.split('\n');
  if (text.endsWith('\n')) lines.pop();
  else lines.push(`${lines.pop() ?? ''} (no line end)`);
  return lines;
}

function editsOf(before: readonly string[], after: readonly string[]): Edit[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail += 1;
  const same = (lines: readonly string[]): Edit[] => lines.map((line) => [' ', line]);
  return [
    ...same(before.slice(0, head)),
    ...shortest(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...same(before.slice(before.length - tail)),
  ];
}

/** Myers, "An O(ND) Difference Algorithm and Its Variations": the fewest lines taken out and put in. */
function shortest(before: readonly string[], after: readonly string[]): Edit[] {
  const trace = pathsOf(before, after);
  if (trace === undefined)
    return [...before.map((line): Edit => ['-', line]), ...after.map((line): Edit => ['+', line])];
  const edits: Edit[] = [];
  let x = before.length;
  let y = after.length;
  for (let depth = trace.length - 1; depth >= 0; depth -= 1) {
    const reach = trace[depth] ?? new Map<number, number>();
    const diagonal = x - y;
    const down = goesDown(reach, diagonal, depth);
    const previous = down ? diagonal + 1 : diagonal - 1;
    const fromX = depth === 0 ? 0 : (reach.get(previous) ?? 0);
    const fromY = depth === 0 ? 0 : fromX - previous;
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      edits.push([' ', before[x] ?? '']);
    }
    if (depth === 0) break;
    if (down) {
      y -= 1;
      edits.push(['+', after[y] ?? '']);
    } else {
      x -= 1;
      edits.push(['-', before[x] ?? '']);
    }
  }
  return edits.reverse();
}

function goesDown(reach: ReadonlyMap<number, number>, diagonal: number, depth: number): boolean {
  return (
    diagonal === -depth ||
    (diagonal !== depth && (reach.get(diagonal - 1) ?? -1) < (reach.get(diagonal + 1) ?? -1))
  );
}

/** For each number of edits, how far each diagonal got before it; undefined: too many edits. */
function pathsOf(before: readonly string[], after: readonly string[]): Map<number, number>[] | undefined {
  const trace: Map<number, number>[] = [];
  const reach = new Map([[1, 0]]);
  const most = Math.min(before.length + after.length, MAX_EDITS);
  for (let depth = 0; depth <= most; depth += 1) {
    trace.push(new Map(reach));
    for (let diagonal = -depth; diagonal <= depth; diagonal += 2) {
      let x = goesDown(reach, diagonal, depth)
        ? (reach.get(diagonal + 1) ?? 0)
        : (reach.get(diagonal - 1) ?? 0) + 1;
      while (x < before.length && x - diagonal < after.length && before[x] === after[x - diagonal]) x += 1;
      reach.set(diagonal, x);
      if (x >= before.length && x - diagonal >= after.length) return trace;
    }
  }
  return undefined;
}

interface Hunk {
  readonly from: number;
  readonly to: number;
}

function hunksOf(edits: readonly Edit[]): Hunk[] {
  const hunks: Hunk[] = [];
  for (const [index, [sign]] of edits.entries()) {
    if (sign === ' ') continue;
    const from = Math.max(0, index - CONTEXT);
    const to = Math.min(edits.length, index + CONTEXT + 1);
    const last = hunks[hunks.length - 1];
    if (last !== undefined && from <= last.to) hunks[hunks.length - 1] = { from: last.from, to };
    else hunks.push({ from, to });
  }
  return hunks;
}

function headOf(edits: readonly Edit[], from: number, to: number): string {
  const count = (part: readonly Edit[], other: '-' | '+'): number =>
    part.filter(([sign]) => sign !== other).length;
  const range = (other: '-' | '+'): string => {
    const lines = count(edits.slice(from, to), other);
    const start = count(edits.slice(0, from), other) + (lines === 0 ? 0 : 1);
    return lines === 1 ? String(start) : `${String(start)},${String(lines)}`;
  };
  return `@@ -${range('+')} +${range('-')} @@`;
}
