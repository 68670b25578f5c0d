import { describe, expect, it } from 'vitest';
import type { NodeAgent } from '../../src/fleet/agent.js';
import { lookAt } from '../../src/fleet/look.js';
import type { RunResult } from '../../src/host/process.js';
import { isBare, isUnreadable } from '../../src/model/cluster.js';

const SAID: RunResult = {
  ...{ exitCode: 0, signal: undefined, stdout: '', stderr: '' },
  ...{ startError: undefined, timedOut: false },
};

/** @param told what two of the commands answer that a look consists of */
async function lookedAt(told: { test?: Partial<RunResult>; status?: Partial<RunResult> }) {
  const agent: NodeAgent = {
    name: 'lb1',
    run: async (argv) => ({
      ...SAID,
      ...(argv[0] === 'test' ? told.test : argv.includes('status') ? told.status : {}),
    }),
    upload: () => Promise.reject(new Error('nothing is sent')),
    follow: () => Promise.reject(new Error('nothing is run')),
    close: () => Promise.resolve(),
  };
  const clock = { now: () => 0, wallMs: () => 0, sleep: () => Promise.resolve() };
  const view = await lookAt(agent, clock);
  return { words: view.words, isBare: isBare(view), isUnreadable: isUnreadable(view) };
}

const NOT_INSTALLED = 'error[NOT_INSTALLED]: no bundle is installed on this node';

describe('what a node without a status is taken for', () => {
  it('bare, where there is no command, or where it says that nothing is installed', async () => {
    const bare = { words: '', isBare: true, isUnreadable: false };
    expect(await lookedAt({ test: { exitCode: 1 } })).toEqual(bare);
    expect(await lookedAt({ status: { exitCode: 5, stderr: NOT_INSTALLED } })).toEqual(bare);
  });

  it('not bare, where nobody could see whether the command is there', async () => {
    expect(await lookedAt({ test: { exitCode: 126, stderr: 'sh: test: Input/output error' } })).toEqual({
      words: 'whether airbundle is there could not be seen: sh: test: Input/output error',
      isBare: false,
      isUnreadable: true,
    });
    const late = await lookedAt({ test: { exitCode: undefined, timedOut: true } as never });
    expect([late.isBare, late.isUnreadable]).toEqual([false, true]);
  });

  it('not bare, where the command fails or is not understood', async () => {
    expect(await lookedAt({ status: { exitCode: 1, stderr: 'Killed' } })).toEqual({
      words: 'airbundle status does not answer: Killed',
      isBare: false,
      isUnreadable: true,
    });
    expect((await lookedAt({ status: { stdout: '{}' } })).isUnreadable).toBe(true);
  });
});
