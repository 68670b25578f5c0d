/** Covers secrets in text that people will read. */
export interface SecretCover {
  readonly learn: (secret: string) => void;
  readonly cover: (text: string) => string;
}

const COVER = '(hidden)';
/** Shorter ones are covered as whole words only: they occur everywhere. */
const LONG = 4;

/** Programs that refuse a configuration quote the line that they stumble over, whole or up to the next blank. */
export function secretCover(): SecretCover {
  const known = new Set<string>();
  return {
    learn(secret) {
      const text = secret.replace(/\r?\n$/, '');
      const pieces = text.split(/[\s#"'\\{}]+/).filter((piece) => piece.length >= LONG);
      for (const form of [text, JSON.stringify(text).slice(1, -1), ...pieces])
        if (form !== '') known.add(form);
    },
    cover: (text) =>
      [...known]
        .sort((a, b) => b.length - a.length)
        .reduce((covered, secret) => covered.replace(patternOf(secret), COVER), text),
  };
}

function patternOf(secret: string): RegExp {
  const literal = secret.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(secret.length >= LONG ? literal : `(?<![\\w-])${literal}(?![\\w-])`, 'g');
}
