import { describe, expect, it } from 'vitest';
import type { Check } from '../../src/configure/types.js';
import type { Host } from '../../src/host/host.js';
import type { CheckResult } from '../../src/install/checks.js';
import { runChecks } from '../../src/install/checks.js';
import { parseListeners } from '../../src/install/probe.js';
import { rootedHost } from '../host/rooted.js';

async function runCheck(
  host: Host,
  check: Check,
  now: () => number,
  stop: () => boolean,
): Promise<CheckResult> {
  const [result] = await runChecks(host, [check], now, stop);
  if (result === undefined) throw new Error('it was not run');
  return result;
}

const unit = { component: 'c', id: 'unit', kind: 'unit', unit: 'x.service', timeoutMs: 0 } as const;
const problem = async (state: string, activeForMs: number): Promise<string | undefined> => {
  const host = rootedHost({
    answer: () => ({
      stdout: `ActiveState=${state}\nActiveEnterTimestampMonotonic=${(100_000 - activeForMs) * 1000}\n`,
    }),
  });
  host.put('/proc/uptime', '100.00 1.00\n');
  return (
    await runCheck(
      host,
      unit,
      () => 0,
      () => false,
    )
  ).problem;
};

describe('a unit', () => {
  it('holds when it has been active for a while', async () => {
    expect(await problem('active', 60_000)).toBeUndefined();
  });
  it('does not hold while it is restarted again and again', async () => {
    expect(await problem('active', 300)).toContain('x.service does not stay up: active for 300 ms');
    expect(await problem('activating', 0)).toContain('x.service is activating');
  });
});

describe('a unit that has just been started', () => {
  /** Active since `sinceMs` of this clock. */
  const started = (sinceMs: number, dies: boolean): ReturnType<typeof rootedHost> => {
    const host = rootedHost({
      answer: () => {
        const uptimeMs = performance.now();
        host.put('/proc/uptime', `${String(uptimeMs / 1000)} 1.00\n`);
        const state = dies && host.commands.length > 1 ? 'failed' : 'active';
        return { stdout: `ActiveState=${state}\nActiveEnterTimestampMonotonic=${String(sinceMs * 1000)}\n` };
      },
    });
    return host;
  };
  const check = { ...unit, timeoutMs: 30_000 };
  const clock = (): number => performance.now();

  it('is asked again when it has been up for long enough, not all the time', async () => {
    const host = started(performance.now() - 5000, false);
    expect((await runCheck(host, check, clock, () => false)).problem).toBeUndefined();
    expect(host.commands).toHaveLength(2);
  });
  it('does not hold when it has died by then', async () => {
    const host = started(performance.now() - 5500, true);
    const { problem: said } = await runCheck(host, { ...check, timeoutMs: 600 }, clock, () => false);
    expect(said).toContain('x.service is failed');
  });
  it('is not waited for any longer when somebody asks to stop', async () => {
    const host = started(performance.now(), false);
    const { problem: said } = await runCheck(host, check, clock, () => host.commands.length > 0);
    expect(said).toContain('does not stay up');
    expect(host.commands).toHaveLength(1);
  });
});

describe('a unit that was active before its program began', () => {
  /** Ten times as fast as the wall's. */
  const clock = (): number => performance.now() * 10;
  /** On a busy node: it is active for 5.5 s, answers 4 s from now, and dies 5 s after that. */
  const late = (
    type: string,
    dies: boolean,
    afterMs = 4000,
  ): { host: ReturnType<typeof rootedHost>; checks: Check[] } => {
    const startMs = clock();
    const readyMs = startMs + afterMs;
    const host = rootedHost({
      answer: ([program]) => {
        if (program === 'ask') return { exitCode: clock() < readyMs ? 1 : 0 };
        host.put('/proc/uptime', `${String(clock() / 1000)} 1.00\n`);
        const state = dies && clock() > readyMs + 5000 ? 'failed' : 'active';
        return {
          stdout: `Type=${type}\nActiveState=${state}\nActiveEnterTimestampMonotonic=${String((startMs - 5500) * 1000)}\n`,
        };
      },
    });
    const ask = { component: 'c', id: 'ask', kind: 'command', argv: ['ask'], timeoutMs: 30_000 } as const;
    // The others' time is longer than its own.
    return { host, checks: [{ ...unit, timeoutMs: 10_000 }, ask] };
  };
  const problems = async ({ host, checks }: ReturnType<typeof late>): Promise<(string | undefined)[]> =>
    (await runChecks(host, checks, clock, () => false)).map((result) => result.problem);

  it('has to stay up for as long after it has answered', async () => {
    const dying = late('simple', true);
    expect(await problems(dying)).toEqual([expect.stringContaining('x.service is failed'), undefined]);
    const living = late('simple', false);
    expect(await problems(living)).toEqual([undefined, undefined]);
    expect(living.host.commands.filter((line) => line.startsWith('systemctl'))).toHaveLength(2);
  });
  it('is not waited for where it says itself that it is ready', async () => {
    const notifying = late('notify', false, 20_000);
    expect(await problems(notifying)).toEqual([undefined, undefined]);
    const { commands } = notifying.host;
    const lastOf = (program: string): number =>
      commands.map((line) => line.split(' ')[0]).lastIndexOf(program);
    expect(lastOf('systemctl')).toBeLessThan(lastOf('ask'));
  });
});

describe('a port', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000',
    '   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000',
    '   2: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000',
  ].join('\n');
  it('is read from the table of the kernel, listeners only', () => {
    expect(parseListeners(table)).toEqual(['127.0.0.1:8080', '*:22']);
  });
  it.each([
    ['127.0.0.1', 8080, true],
    ['10.0.0.1', 22, true],
    ['0.0.0.0', 22, true],
    ['127.0.0.1', 8081, false],
    ['0.0.0.0', 8080, false],
  ])('%s:%i listens: %s', async (address, port, holds) => {
    const host = rootedHost();
    host.put('/proc/net/tcp', table);
    const check = { component: 'c', id: 'p', kind: 'listen', address, port, timeoutMs: 0 } as const;
    expect(
      (
        await runCheck(
          host,
          check,
          () => 0,
          () => false,
        )
      ).problem === undefined,
    ).toBe(holds);
  });
});
