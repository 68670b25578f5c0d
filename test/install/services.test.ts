import { describe, expect, it } from 'vitest';
import type { PlanStep } from '../../src/install/plan.js';
import { restoreServices } from '../../src/install/services.js';
import { rootedHost } from '../host/rooted.js';

type ServicesStep = Extract<PlanStep, { kind: 'services' }>;
type Action = ServicesStep['actions'][number]['action'];

const BEFORE = new Map([['x.service', { active: 'active', enabled: 'enabled' }]]);
const step = (action: Action): ServicesStep => ({
  kind: 'services',
  id: 'services',
  title: '',
  changes: [],
  undo: '',
  actions: [
    {
      service: { component: 'x', unit: 'x.service', unitFile: '/x.service', restartOn: [], reloadOn: [] },
      enable: false,
      action,
    },
  ],
});
/** @param reload its exit code @param after what the unit is once it was reloaded */
async function typed(action: Action, reload = 0, after = 'active'): Promise<string[]> {
  const host = rootedHost({
    answer: ([, word]) => ({
      exitCode: word === 'reload' ? reload : 0,
      stdout: word === 'show' ? `ActiveState=${after}\n` : '',
    }),
  });
  expect(await restoreServices(host, step(action), BEFORE)).toEqual([]);
  return host.commands.filter((line) => / (reload|restart) /.test(line));
}

describe('a failed run takes its services back', () => {
  it('by a reload where it had only reloaded: a restart would cut every stream and move the VIP', async () => {
    expect(await typed('reload')).toEqual(['systemctl reload x.service']);
  });
  it.each([
    ['its reload fails', 1, 'active'],
    ['it is dead after it', 0, 'failed'],
  ])('by a restart where %s', async (_, reload, after) => {
    expect(await typed('reload', reload, after)).toEqual([
      'systemctl reload x.service',
      'systemctl restart x.service',
    ]);
  });
  it.each<[Action, string[]]>([
    ['restart', ['systemctl restart x.service']],
    ['start', ['systemctl restart x.service']],
    ['none', []],
  ])('that it had to %s', async (action, commands) => {
    expect(await typed(action)).toEqual(commands);
  });
});
