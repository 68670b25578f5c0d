/*
 * Text that somebody else wrote, made fit for a terminal: what would move the cursor, change colours,
 * turn the direction of writing or hide itself is shown as its number.
 */

/**
 * Control characters (C0, DEL, C1), format characters (bidirectional overrides, zero-width ones, tags),
 * line and paragraph separators, lone surrogates.
 */
const UNFIT = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const escaped = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x1_0000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
};

/** One line that a terminal shows as it is: `\u001b[2J` instead of a cleared screen. */
export function plain(text: string): string {
  return text.replace(UNFIT, escaped);
}

/** The same for text of several lines: line feeds and tabs stay. */
export function plainLines(text: string): string {
  return text.replace(UNFIT, (character) =>
    character === '\n' || character === '\t' ? character : escaped(character),
  );
}

/** JSON of several lines, the same value, that a terminal shows as it is. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(UNFIT, (character) =>
    character === '\n'
      ? character
      : [...Array(character.length).keys()]
          .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
          .join(''),
  );
}
