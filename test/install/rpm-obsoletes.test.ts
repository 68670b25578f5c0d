import { describe, expect, it } from 'vitest';
import { isObsoleted, obsoleteRefusals, parseObsoletes } from '../../src/install/rpm-obsoletes.js';
import { staying } from '../../src/install/rpm-plan.js';
import { nevra, rpm } from './facts.js';

describe('what a package obsoletes', () => {
  const LESS = 2;
  const EQUAL = 8;
  const GREATER = 4;
  it.each([
    ['every version', 0, '', 'b-9:9-9.x86_64', true],
    ['another name', 0, '', 'bb-1-1.x86_64', false],
    ['an older one', LESS, '2', 'b-1-9.x86_64', true],
    ['the same, where only older ones are meant', LESS, '2', 'b-2-1.x86_64', false],
    ['the same with any release', LESS | EQUAL, '2', 'b-2-9.x86_64', true],
    ['an older release', LESS, '2-5', 'b-2-4.el7.x86_64', true],
    ['a newer release', LESS, '2-5', 'b-2-6.el7.x86_64', false],
    ['one whose epoch makes it newer', LESS, '2', 'b-1:1-1.x86_64', false],
    ['one below an epoch', LESS, '1:0-1', 'b-9-1.x86_64', true],
    ['exactly one', EQUAL, '1-1', 'b-1-1.x86_64', true],
    ['exactly another', EQUAL, '1-1', 'b-1-2.x86_64', false],
    ['a newer one', GREATER, '1', 'b-2-1.x86_64', true],
  ])('is %s', (_, sense, evr, there, is) => {
    expect(isObsoleted(nevra(there), { name: 'b', sense, evr })).toBe(is);
  });

  /** rpm 4.18 prints nothing for a package without any, 4.11 "(none)". */
  const HEADERS = [
    ...['R a-2-1.x86_64', '(none)', '/usr/bin/a\t33188\t0\t\t', ''],
    ...['R b-ng-1-1.x86_64', 'O b\t2\t2', 'O glibc\t0\t', 'O b-ng\t2\t9', ''],
    ...['R c-1-1.x86_64', '', ''],
  ].join('\n');

  it('is read package by package', () => {
    expect([...parseObsoletes(HEADERS)]).toEqual([
      ['a-2-1.x86_64', []],
      [
        'b-ng-1-1.x86_64',
        [
          { name: 'b', sense: LESS, evr: '2' },
          { name: 'glibc', sense: 0, evr: '' },
          { name: 'b-ng', sense: LESS, evr: '9' },
        ],
      ],
      ['c-1-1.x86_64', []],
    ]);
  });

  const refusals = (installed: string[], upgrade: string[] = []): string[] =>
    obsoleteRefusals(
      ['a-2-1.x86_64', 'b-ng-1-1.x86_64', 'c-1-1.x86_64'].map(rpm),
      staying(installed.map(nevra), upgrade.map(rpm)),
      HEADERS,
    );

  it('is refused where it is installed, with both and the next step', () => {
    expect(refusals(['b-1-1.x86_64', 'c-1-1.x86_64'])).toEqual([
      'b-ng-1-1.x86_64 obsoletes b-1-1.x86_64, which is installed and would be lost (if nothing here needs it, remove it by hand first: rpm -e b; otherwise leave b-ng out of the manifest)',
    ]);
  });
  it('is nothing to remove by hand where it is protected', () => {
    expect(refusals(['glibc-2.17-222.el7.x86_64'])).toEqual([
      'b-ng-1-1.x86_64 obsoletes glibc-2.17-222.el7.x86_64, which is installed and would be lost (glibc is protected: leave b-ng out of the manifest)',
    ]);
  });
  it('is none where the bundle replaces that one, where it is newer, and where it is an older self', () => {
    expect(refusals(['b-1-1.x86_64'], ['b-2-1.x86_64'])).toEqual([]);
    expect(refusals(['b-2-1.x86_64', 'b-ng-0-1.x86_64'])).toEqual([]);
  });
});
