import { connect } from 'node:net';
import type { Check } from '../configure/types.js';
import { judgeOf } from '../configure/index.js';
import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import { parseListeners } from './probe.js';

export interface CheckResult {
  readonly check: Check;
  /** undefined: the check holds. */
  readonly problem: string | undefined;
  readonly warnings: readonly string[];
}

const INTERVAL_MS = 300;

/**
 * All checks at once, each until it holds or its time is over.
 * @param now milliseconds, monotonic
 */
export function runChecks(
  host: Host,
  checks: readonly Check[],
  now: () => number,
  stop: () => boolean,
): Promise<CheckResult[]> {
  const running = new Map<Check, Promise<CheckResult>>();
  const isUnit = (check: Check): boolean => check.kind === 'unit';
  for (const check of checks)
    if (!isUnit(check))
      running.set(
        check,
        runCheck(host, check, now, stop, () => Promise.resolve()),
      );
  for (const check of checks.filter(isUnit)) {
    const answers = checks.flatMap((one) =>
      one.component === check.component ? (running.get(one) ?? []) : [],
    );
    running.set(
      check,
      runCheck(host, check, now, stop, () => Promise.all(answers)),
    );
  }
  return Promise.all(checks.flatMap((check) => running.get(check) ?? []));
}

/** Asks until the check holds or its time is over. `answers`: until what else is asked of the component was answered. */
async function runCheck(
  host: Host,
  check: Check,
  now: () => number,
  stop: () => boolean,
  answers: () => Promise<unknown>,
): Promise<CheckResult> {
  let end = now() + check.timeoutMs;
  /** Before it, a service that cannot say when it is ready may just have begun. */
  let steadyMs = -Infinity;
  for (let isFirst = true; ; isFirst = false) {
    const { problem, warnings, againMs = INTERVAL_MS, mayNotHaveBegun = false } = await ask(host, check);
    if (isFirst && mayNotHaveBegun && !stop()) {
      await answers();
      steadyMs = now() + STEADY_MS;
      end = Math.max(end, steadyMs);
    }
    if (problem === undefined || now() >= end || stop()) return { check, problem, warnings };
    const next = Math.min(Math.max(now() + Math.max(againMs, INTERVAL_MS), steadyMs), end);
    do await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    while (now() < next && !stop());
  }
}

interface Answer {
  readonly problem: string | undefined;
  readonly warnings: readonly string[];
  /** When it is worth asking again, if not soon. */
  readonly againMs?: number;
  /** Active since a moment, and systemd does not know whether its program has begun its work. */
  readonly mayNotHaveBegun?: boolean;
}

async function ask(host: Host, check: Check): Promise<Answer> {
  const plain = (problem: string | undefined): Answer => ({ problem, warnings: [] });
  switch (check.kind) {
    case 'unit':
      return askUnit(host, check.unit);
    case 'listen': {
      const table = (await host.read('/proc/net/tcp'))?.toString('utf8') ?? '';
      const wanted = check.address === '0.0.0.0' ? '*' : check.address;
      const there = parseListeners(table);
      const found =
        there.includes(`${wanted}:${String(check.port)}`) || there.includes(`*:${String(check.port)}`);
      return plain(found ? undefined : `nothing listens on ${check.address}:${String(check.port)}`);
    }
    case 'socket':
      return judgeSocket(check);
    case 'command': {
      const result = await host.run(check.argv, { timeoutMs: 10_000 });
      if (result.exitCode !== 0)
        return plain(`${check.argv.join(' ')} ${outcome(result)}: ${lastLines(result, 1).join('')}`);
      return plain(
        check.expect === undefined || result.stdout.includes(check.expect)
          ? undefined
          : `${check.argv.join(' ')} did not say "${check.expect}"`,
      );
    }
  }
}

/**
 * A service that dies is "active" for a while each time systemd restarts it: at once where it cannot start,
 * some seconds later where it gives up on something that it waits for.
 */
const STEADY_MS = 6000;
/** Active from their fork on (systemd.service(5)): on a busy node, seconds before the program's first line. */
const SAYS_NOTHING = ['simple', 'exec', 'idle'];

async function askUnit(host: Host, unit: string): Promise<Answer> {
  const shown = await host.run([
    ...(['systemctl', 'show', '-p', 'Type', '-p', 'ActiveState'] as const),
    ...['-p', 'ActiveEnterTimestampMonotonic', unit],
  ]);
  const field = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(shown.stdout)?.[1] ?? '';
  const state = field('ActiveState');
  if (state !== 'active')
    return {
      problem: `${unit} is ${state === '' ? 'unknown' : state} (see: journalctl -u ${unit})`,
      warnings: [],
    };
  const uptime = (await host.read('/proc/uptime'))?.toString('latin1').split(' ')[0] ?? '';
  const activeMs = Number(uptime) * 1000 - Number(field('ActiveEnterTimestampMonotonic')) / 1000;
  if (activeMs >= STEADY_MS) return { problem: undefined, warnings: [] };
  return {
    problem: `${unit} does not stay up: active for ${String(Math.round(activeMs))} ms (see: journalctl -u ${unit})`,
    warnings: [],
    againMs: STEADY_MS - activeMs,
    mayNotHaveBegun: SAYS_NOTHING.includes(field('Type')),
  };
}

async function judgeSocket(check: Extract<Check, { kind: 'socket' }>): Promise<Answer> {
  try {
    const answer = await askSocket(check.path, check.send);
    const { problems, warnings } = judgeOf(check.judge).verdict(answer, check.expected);
    return { problem: problems[0], warnings };
  } catch (error) {
    return {
      problem: `${check.path} does not answer: ${error instanceof Error ? error.message : String(error)}`,
      warnings: [],
    };
  }
}

/** What a unix socket says to `text`, until it closes. @throws Error when it does not answer within 3 s */
export async function askSocket(path: string, text: string): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const client = connect(path);
    let answer = '';
    client.setTimeout(3000, () => {
      client.destroy(new Error('no answer within 3 s'));
    });
    client.setEncoding('utf8');
    client.on('connect', () => {
      client.write(text);
    });
    client.on('data', (piece: string) => {
      answer += piece;
    });
    client.on('error', reject);
    client.on('close', () => {
      resolve(answer);
    });
  });
}
