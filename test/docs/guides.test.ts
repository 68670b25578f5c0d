import { describe, expect, it } from 'vitest';
import { ALL_RUNS, GUIDES, NOT_RUN, titleOf, typedText } from './guide-runs.js';
import { blocksOf, pages, read, shellBlocksOf } from './support.js';

/** Blocks as `page: first line`. */
const onPages = (): string[] =>
  GUIDES.flatMap((page) =>
    shellBlocksOf(page).map(({ text }) => titleOf({ page, first: text.split('\n')[0] ?? '' })),
  );

describe('every shell block of the README and the guides', () => {
  it('is run by a test, or stands in the list of those that are not', () => {
    const blocks = ALL_RUNS.filter((run) => run.isInline === undefined);
    const accounted = [...blocks, ...NOT_RUN].map(titleOf);
    expect(
      onPages().filter((block) => !accounted.includes(block)),
      'not run by any test: give it an entry in test/docs/guide-runs.ts',
    ).toEqual([]);
    expect(
      accounted.filter((block) => !onPages().includes(block)),
      'no longer on its page',
    ).toEqual([]);
    expect(new Set(accounted).size).toBe(accounted.length);
  });

  it('has a first line of its own, so that it is the block that the test means', () => {
    expect(new Set(onPages()).size).toBe(onPages().length);
  });

  it('still has what the test puts its stand-ins for', () => {
    for (const run of ALL_RUNS) expect(typedText(run)).not.toBe('');
  });

  it('is known to be one: no fence without a language', () => {
    const bare = pages().flatMap((page) =>
      blocksOf(page)
        .filter(({ language }) => language === '')
        .map(({ where }) => where),
    );
    expect(bare).toEqual([]);
  });

  it('covers all guides', () => {
    const english = pages().filter((page) => /^(?:README|docs\/guides\/[^.]+)\.md$/.test(page));
    expect([...GUIDES].sort()).toEqual(english);
  });
});

describe('a block that no test runs', () => {
  const section = read('docs/what-was-run.md').split('\n## Not run\n')[1]?.split('\n## ')[0] ?? '';

  it.each(NOT_RUN)('is named in docs/what-was-run.md: $named', ({ named }) => {
    expect(section).toContain(`| ${named}`);
  });

  it.for(NOT_RUN)('$page: $first', ({ reason }, { skip }) => {
    skip(reason);
  });
});
