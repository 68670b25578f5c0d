import { describe, expect, it } from 'vitest';
import { withoutCredentials } from '../../src/create/credentials.js';

describe('text of git servers and repositories', () => {
  it.each([
    ['fatal: https://me:secret@host/x.git', 'fatal: https://host/x.git'],
    ['(http://token@host)', '(http://host)'],
    ['ssh://git@host/x and ssh://git:secret@host/x', 'ssh://git@host/x and ssh://git@host/x'],
    ['git+https://me:secret@host', 'git+https://me@host'],
    ['1https://me:secret@host', '1https://host'],
    [`${'a'.repeat(60)}://me:secret@host`, `${'a'.repeat(60)}://me@host`],
  ])('loses what is secret: %s', (text, shown) => {
    expect(withoutCredentials(text)).toBe(shown);
  });

  it.each(['a.', 'a:', 'http:', 'a://', 'http://', 'a://b:', 'x+', '@'])(
    'is read in no time however much of it is there: %s…',
    (part) => {
      const startedMs = performance.now();
      withoutCredentials(part.repeat(300_000));
      expect(performance.now() - startedMs).toBeLessThan(300);
    },
  );

  it('is cut where it is long, and never inside of an address', () => {
    for (let before = 8000; before < 8300; before += 7) {
      const shown = withoutCredentials(
        `${'x '.repeat(before / 2)}https://me:${'secret'.repeat(40)}@host/x end`,
      );
      expect(shown).not.toContain('me:');
      expect(shown).not.toContain('secret');
    }
    expect(withoutCredentials('word '.repeat(3000))).toMatch(/^(?:word )+…$/);
    expect(withoutCredentials(`https://me:${'secret'.repeat(2000)}@host`)).toBe('…');
  });
});
