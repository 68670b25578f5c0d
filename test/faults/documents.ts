/* Where two JSON documents differ: "accounts[1].name: "mini" → nothing". */

const SHOWN = 120;

const inShort = (value: unknown): string => {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
};

const partsOf = (value: unknown): Readonly<Record<string, unknown>> | undefined =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;

function* differing(path: string, before: unknown, after: unknown): Generator<string> {
  const [one, other] = [partsOf(before), partsOf(after)];
  if (one === undefined || other === undefined || Array.isArray(before) !== Array.isArray(after)) {
    if (!Object.is(before, after)) yield `${path}: ${inShort(before)} → ${inShort(after)}`;
    return;
  }
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)]))
    yield* differing(
      Array.isArray(before) ? `${path}[${key}]` : `${path}${path === '' ? '' : '.'}${key}`,
      one[key],
      other[key],
    );
  // The same members in another order are another file.
  if (Object.keys(one).join() !== Object.keys(other).join())
    yield `${path === '' ? 'the whole' : path}: its members are others`;
}

/** By path; one path can have several, which are compared in their order. Those that are the same are left out. */
export type Documents = readonly (readonly [path: string, text: string])[];

export function documentDifferences(before: Documents, after: Documents): string[] {
  const without = (all: Documents, others: Documents): Documents =>
    all.filter(([path, text]) => !others.some(([there, same]) => there === path && same === text));
  const left = [...without(after, before)];
  return without(before, after).flatMap(([path, text]) => {
    const at = left.findIndex(([there]) => there === path);
    if (at < 0) return [];
    const [found] = left.splice(at, 1);
    return [...differing('', JSON.parse(text), JSON.parse(found?.[1] ?? 'null'))].map(
      (line) => `in ${path}: ${line}`,
    );
  });
}
