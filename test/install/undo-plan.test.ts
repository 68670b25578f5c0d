import { describe, expect, it } from 'vitest';
import type { Displaced, UnitBefore } from '../../src/install/journal.js';
import type { Running } from '../../src/install/running.js';
import { NOTHING_RUNNING } from '../../src/install/running.js';
import type { Layer, PathUndo } from '../../src/install/undo-merge.js';
import { mergeLayers } from '../../src/install/undo-merge.js';
import type { PathNow } from '../../src/install/undo-plan.js';
import { planFile, planServices } from '../../src/install/undo-plan.js';
import { parseNeeded, testErase } from '../../src/install/rpm-erase.js';
import { formatNevra } from '../../src/model/nevra.js';
import { rootedHost } from '../host/rooted.js';
import { nevra } from './facts.js';

const file = (sha256: string, mode = 0o644): PathNow => ({ kind: 'file', sha256, mode, uid: 0, gid: 0 });
const NONE: PathNow = { kind: 'none' };
const displaced = (given: Partial<Displaced> = {}): Displaced => ({
  path: '/etc/a',
  backup: null,
  link: null,
  mode: 0o644,
  uid: 0,
  gid: 0,
  sha256: null,
  after: { sha256: 'ours', link: null },
  ...given,
});
const old = (path = '/etc/a', run = 'r1'): Partial<Displaced> => ({
  path,
  backup: `/var/lib/airbundle/backup/${run}${path}`,
  sha256: 'old',
});
const layer = (run: string, given: Partial<Layer> = {}): Layer => ({
  run,
  bundle: run,
  displaced: [],
  made: [],
  packages: { added: [], replaced: [] },
  accounts: [],
  units: [],
  running: NOTHING_RUNNING,
  ...given,
});
const merged = (...layers: Layer[]) => mergeLayers(layers, { current: undefined, receipt: undefined });
const pathOf = (...layers: Layer[]): PathUndo => merged(...layers).paths[0]!;

describe('what happens to a file', () => {
  const added = pathOf(layer('r1', { displaced: [displaced()] }));
  const replaced = pathOf(layer('r1', { displaced: [displaced(old())] }));

  it.each<[string, PathUndo, PathNow, string | undefined, string, boolean]>([
    ['one that a run added goes', added, file('ours'), undefined, 'remove', false],
    ['one that a run replaced goes back', replaced, file('ours'), undefined, 'put-back', false],
    ['one that is as before stays', replaced, file('old'), undefined, 'same', false],
    [
      'one that is back with another mode gets its mode',
      replaced,
      file('old', 0o600),
      undefined,
      'put-back',
      false,
    ],
    ['one that is gone already stays gone', added, NONE, undefined, 'same', false],
    ['one that somebody removed goes back', replaced, NONE, undefined, 'put-back', true],
    ['one that somebody edited is kept aside', added, file('edited'), undefined, 'remove', true],
    ['one that a package owns by now is left', added, file('edited'), 'ruby', 'leave', true],
    ['a folder in its place is left', replaced, { kind: 'other' }, undefined, 'leave', true],
    ['a link in its place is kept aside', replaced, { kind: 'link', to: '/x' }, undefined, 'put-back', true],
  ])('%s', (_, undo, now, owner, action, byHand) => {
    expect(planFile(undo, now, owner)).toMatchObject({ action, byHand });
  });

  it('counts as changed by hand where nobody knows what a run put there', () => {
    const unknown = pathOf(layer('r1', { displaced: [displaced({ after: null })] }));
    expect(planFile(unknown, file('whatever'), undefined).byHand).toBe(true);
    expect(planFile(unknown, NONE, undefined)).toMatchObject({ action: 'same', byHand: false });
  });
});

describe('several runs as one', () => {
  it('go back to what was there before the first, whatever of theirs is there now', () => {
    const first = layer('r1', { displaced: [displaced(old())], made: ['/d'] });
    const second = layer('r2', {
      displaced: [displaced({ backup: '/b/2', sha256: 'ours', after: { sha256: 'newer', link: null } })],
      made: ['/d/e'],
    });
    const both = merged(second, first);
    expect(both.paths[0]?.before.backup).toBe('/var/lib/airbundle/backup/r1/etc/a');
    expect(both.made).toEqual(['/d', '/d/e']);
    for (const now of ['ours', 'newer'])
      expect(planFile(both.paths[0]!, file(now), undefined)).toMatchObject({
        action: 'put-back',
        byHand: false,
      });
  });

  it('keep what somebody had made of a file between them', () => {
    const first = layer('r1', { displaced: [displaced()] });
    const edited = layer('r2', { displaced: [displaced({ backup: '/b/2/etc/a', sha256: 'edited' })] });
    expect(pathOf(edited, first).edited).toEqual([{ run: 'r2', backup: '/b/2/etc/a' }]);
    const untouched = layer('r2', { displaced: [displaced({ backup: '/b/2/etc/a', sha256: 'ours' })] });
    expect(pathOf(untouched, first).edited).toEqual([]);
  });

  it('know units and accounts as before the first', () => {
    const unit = (active: string): UnitBefore => ({ unit: 'a.service', active, enabled: 'enabled' });
    const both = merged(layer('r2', { units: [unit('active')] }), layer('r1', { units: [unit('inactive')] }));
    expect(both.units).toEqual([unit('inactive')]);
  });
});

describe('what happens to a service', () => {
  const service = {
    component: 'hello',
    unit: 'hello.service',
    unitFile: '/etc/systemd/system/hello.service',
    restartOn: [],
    reloadOn: ['/etc/hello.conf'],
  };
  const running: Running = { ...NOTHING_RUNNING, services: [service] };
  const plan = (
    before: [string, string],
    now: [string, string],
    touched: string[] = [],
    fragment = service.unitFile,
  ) =>
    planServices(
      {
        ...merged(
          layer('r1', { running, units: [{ unit: service.unit, active: before[0], enabled: before[1] }] }),
        ),
        receipt: undefined,
        current: undefined,
      },
      new Map([[service.unit, { active: now[0], enabled: now[1], fragment }]]),
      new Set(touched),
    );
  const nothing = { stop: [], disable: [], enable: [], act: [] };

  it('is stopped and disabled when it did not run before', () => {
    expect(plan(['inactive', 'disabled'], ['active', 'enabled'])).toEqual({
      ...nothing,
      stop: ['hello.service'],
      disable: ['hello.service'],
    });
    expect(plan(['inactive', ''], ['activating', 'enabled']).stop).toEqual(['hello.service']);
  });

  it('is reloaded for its configuration, restarted for its unit, left alone otherwise', () => {
    const acts = (touched: string[]) => plan(['active', 'enabled'], ['active', 'enabled'], touched).act;
    expect(acts(['/etc/hello.conf'])).toEqual([{ unit: 'hello.service', action: 'reload' }]);
    expect(acts(['/etc/hello.conf', service.unitFile])).toEqual([
      { unit: 'hello.service', action: 'restart' },
    ]);
    expect(acts(['/etc/other'])).toEqual([]);
  });

  it('is started and enabled again when it ran before and does not now', () => {
    expect(plan(['active', 'enabled'], ['failed', 'disabled'])).toEqual({
      ...nothing,
      enable: ['hello.service'],
      act: [{ unit: 'hello.service', action: 'start' }],
    });
  });

  it('is no concern of a systemd that does not know it any more', () => {
    expect(plan(['inactive', ''], ['inactive', ''], [], '')).toEqual(nothing);
  });
});

describe('which packages can go', () => {
  /** A stand-in for rpm: app (not ours) needs lib, lib needs base; tool is free. */
  const needs: [string, string, string][] = [
    ['app-1-1.x86_64', 'liblib.so.1()(64bit)', 'lib-1-1.x86_64'],
    ['lib-1-1.x86_64', 'base >= 1', 'base-1-1.x86_64'],
  ];
  const host = () =>
    rootedHost({
      answer: ([program, ...words]) => {
        if (program !== 'rpm') return undefined;
        if (words[0] === '-q') {
          const found = needs.find(([, capability]) => capability.startsWith(words[words.length - 1] ?? '?'));
          const [name = '', version = '', rest = ''] = found?.[2].split('-') ?? [];
          return found === undefined
            ? { exitCode: 1 }
            : { stdout: [name, '(none)', version, rest.split('.')[0], 'x86_64'].join('\t') };
        }
        const gone = words.slice(2);
        const broken = needs.filter(([by, , from]) => gone.includes(from) && !gone.includes(by));
        return {
          exitCode: broken.length === 0 ? 0 : 1,
          stderr: [
            'error: Failed dependencies:',
            ...broken.map(([by, capability]) => `\t${capability} is needed by (installed) ${by}`),
          ].join('\n'),
        };
      },
    });
  const packages = ['base-1-1.x86_64', 'lib-1-1.x86_64', 'tool-1-1.x86_64'].map(nevra);

  it('is those that nobody needs, also by way of one that stays', async () => {
    const { erase, kept } = await testErase(host(), packages);
    expect(erase.map(formatNevra)).toEqual(['tool-1-1.x86_64']);
    expect(kept).toEqual([
      { nevra: 'lib-1-1.x86_64', because: 'app-1-1.x86_64 needs it' },
      { nevra: 'base-1-1.x86_64', because: 'lib-1-1.x86_64 needs it' },
    ]);
  });

  it('is all when the one that needs them goes as well', async () => {
    const { erase, kept } = await testErase(host(), packages, new Set(['app-1-1.x86_64']));
    expect([erase.length, kept]).toEqual([3, []]);
  });

  it('is none when rpm says something that cannot be laid to a package', async () => {
    const odd = rootedHost({ answer: () => ({ exitCode: 1, stderr: 'error: rpmdb: damaged' }) });
    const { erase, kept } = await testErase(odd, packages);
    expect([erase, kept.map(({ because }) => because)]).toEqual([
      [],
      Array<string>(3).fill('rpm -e --test: error: rpmdb: damaged'),
    ]);
  });

  it.each([
    ['libz.so.1()(64bit) is needed by (installed) gcc-4.8.5-28.el7.x86_64', 'libz.so.1()(64bit)'],
    ['make >= 3.80 is needed by (installed) kernel-devel-3.10-1.x86_64', 'make >= 3.80'],
    ['/bin/sh is needed by bash-1-1.x86_64', '/bin/sh'],
  ])('reads %s', (line, capability) => {
    expect(parseNeeded(line)?.capability).toBe(capability);
  });
});
