/** One line for a POSIX shell that starts exactly these words. */
export function quoted(words: readonly string[]): string {
  return words.map(quotedWord).join(' ');
}

function quotedWord(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * Arguments of `sh -c` with which it does `first`, one command, and then becomes exactly these words. Between quotes a
 * csh takes no line end, and "!" is its history: words that have one come as one word, for printf %b.
 */
export function shellArguments(first: string, words: readonly string[]): string[] {
  const line = quoted(words);
  if (!/[\n\r!]/.test(line)) return [`${first}; exec "$@"`, 'sh', ...words];
  const plain = line.replace(/[\\'\n\r!]/g, (one) => `\\0${one.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return [`${first}; eval "set -- $(printf %b "$1")"; exec "$@"`, 'sh', plain];
}
