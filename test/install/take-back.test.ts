import { describe, expect, it } from 'vitest';
import { openJournal } from '../../src/install/journal.js';
import { takeBack } from '../../src/install/take-back.js';
import { mergeLayers } from '../../src/install/undo-merge.js';
import { createReporter } from '../../src/report.js';
import { rootedHost } from '../host/rooted.js';

describe('taking back', () => {
  it('goes on where the unit that ran before went with a package: nothing could start it', async () => {
    const host = rootedHost({
      answer: ([, word, ...rest]) => {
        const unit = rest.at(-1);
        if (word === 'show')
          return { stdout: unit === 'there.service' ? 'FragmentPath=/x/there.service\n' : 'FragmentPath=\n' };
        return unit === 'gone.service' ? { exitCode: 5, stderr: 'Unit not found.' } : {};
      },
    });
    const warnings = await takeBack(host, {
      undo: mergeLayers([], { current: undefined, receipt: undefined }),
      plan: {
        files: [],
        packages: { erase: [], kept: [], downgrade: [], oneWay: [] },
        services: {
          stop: [],
          disable: [],
          enable: ['gone.service', 'there.service'],
          act: [
            { unit: 'gone.service', action: 'restart' },
            { unit: 'there.service', action: 'start' },
          ],
        },
        accounts: [],
        unpacked: [],
      },
      resumed: false,
      kept: { keep: async () => undefined, keepCopy: async () => undefined, all: () => [] },
      journal: openJournal(host, 'r1'),
      reporter: createReporter({
        format: 'text',
        quiet: true,
        color: false,
        stream: { write: () => true },
        now: () => 0,
      }),
      interrupted: () => false,
      command: 'airbundle rollback -y',
    });
    expect(warnings).toEqual(['gone.service is not started: its unit file is gone']);
    expect(host.commands.filter((line) => !line.includes('show'))).toEqual([
      'systemctl enable there.service',
      'systemctl restart there.service',
    ]);
  });
});
