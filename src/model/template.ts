import { nearest } from './nearest.js';

/*
 * A template is text with `{{name}}` slots, and nothing else: no conditions, no loops, no escapes. What
 * goes into a slot has a closed grammar (values.ts), so a rendered line is the template's own line.
 */

/** Slots that every template may use, besides the values that its component declares. */
export const BUILT_IN = ['site.name', 'node.name', 'node.address', 'node.interface', 'notice'] as const;
export type BuiltIn = (typeof BUILT_IN)[number];

const SLOT = /\{\{([^{}\n]*)\}\}/g;

/** What is wrong at one place of a text. */
export interface TextProblem {
  readonly message: string;
  /** Offset into the text, UTF-16 units. */
  readonly offset: number;
}

/** The names in a text's slots, with their places, in order. */
export function slotsOf(text: string): { readonly name: string; readonly offset: number }[] {
  return [...text.matchAll(SLOT)].map((match) => ({ name: (match[1] ?? '').trim(), offset: match.index }));
}

/** Slots with unknown names, and braces that are no slot. */
export function templateProblems(text: string, known: readonly string[]): TextProblem[] {
  const unknown = slotsOf(text)
    .filter(({ name }) => !known.includes(name))
    .map(({ name, offset }) => ({ message: unknownName(name, known), offset }));
  const rest = text.replace(SLOT, (slot) => ' '.repeat(slot.length));
  const stray = [...rest.matchAll(/\{\{|\}\}/g)].map((match) => ({
    message: `"${match[0]}" is no part of a {{name}}: a template cannot hold it otherwise`,
    offset: match.index,
  }));
  return [...unknown, ...stray].sort((a, b) => a.offset - b.offset);
}

/**
 * Fills every slot, once: what a value brings is not looked at again.
 * @throws Error for a name without a value: templateProblems finds it earlier
 */
export function fillTemplate(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(SLOT, (_slot, inner: string) => {
    const value = values.get(inner.trim());
    if (value === undefined) throw new Error(`no value for {{${inner.trim()}}}`);
    return value;
  });
}

function unknownName(name: string, known: readonly string[]): string {
  const close = nearest(name, known);
  return `unknown value "${name}"${close === undefined ? `; known here: ${known.join(', ')}` : `; did you mean "${close}"?`}`;
}
