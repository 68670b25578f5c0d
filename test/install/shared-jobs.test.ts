import { describe, expect, it } from 'vitest';
import { withoutJobs } from '../../src/install/build.js';

describe('a make that shares its jobs', () => {
  it.each([
    ['make -j {jobs} A=1', 'make A=1'],
    ['make A=1 -j {jobs}', 'make A=1'],
    ['make -j{jobs} A=1', 'make A=1'],
    ['gmake --jobs={jobs}', 'gmake'],
    ['make --jobs {jobs} all', 'make all'],
    ['/usr/bin/make -j {jobs}', '/usr/bin/make'],
  ])('loses its own number: %s', (words, left) => {
    expect(withoutJobs(words.split(' '))).toEqual(left.split(' '));
  });

  it.each([
    ['a make that is to run one job', 'make all'],
    ['a number of its own', 'make -j 3'],
    ['a variable of the makefile', 'make JOBS={jobs}'],
    ['-j without a number in front of another word', 'make -j all {jobs}'],
    ['a -j of more words', 'make -j {jobs}x'],
    ['another program', 'ninja -j {jobs}'],
    ['a make of the source', './make -j {jobs}'],
    ['make as a word of another program', 'env make -j {jobs}'],
  ])('is not: %s', (_, words) => {
    expect(withoutJobs(words.split(' '))).toBeUndefined();
  });
});
