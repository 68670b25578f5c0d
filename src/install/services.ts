import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import type { PlanStep } from './plan.js';
import type { UnitState } from './probe.js';
import { readUnits } from './probe.js';

type ServicesStep = Extract<PlanStep, { kind: 'services' }>;

const SYSTEMCTL_TIMEOUT_MS = 3 * 60_000;

export async function applyServices(host: Host, step: ServicesStep): Promise<void> {
  await systemctl(host, ['daemon-reload']);
  for (const { service, enable, action } of step.actions) {
    if (enable) await systemctl(host, ['enable', service.unit]);
    if (action !== 'none')
      await systemctl(host, [action === 'start' ? 'restart' : action, service.unit], service.unit);
  }
}

type Before = ReadonlyMap<string, Pick<UnitState, 'active' | 'enabled'>>;

/**
 * Stops and disables what did not run before: while the unit files are still there, since systemctl
 * refuses a unit without one. Never throws; says what did not work.
 */
export async function releaseServices(host: Host, step: ServicesStep, before: Before): Promise<string[]> {
  const problems: string[] = [];
  const now = await readUnits(
    host,
    step.actions.map(({ service }) => service.unit),
  );
  for (const { service } of [...step.actions].reverse()) {
    if ((now.get(service.unit)?.fragment ?? '') === '') continue;
    const { active, enabled } = before.get(service.unit) ?? { active: '', enabled: '' };
    if (active !== 'active') problems.push(...(await attempt(host, ['stop', service.unit])));
    if (enabled !== 'enabled') problems.push(...(await attempt(host, ['disable', service.unit])));
  }
  return problems;
}

/** Back to what ran before: files are restored already. Never throws; says what did not work. */
export async function restoreServices(host: Host, step: ServicesStep, before: Before): Promise<string[]> {
  const problems: string[] = [];
  problems.push(...(await attempt(host, ['daemon-reload'])));
  // A unit that failed is shown for as long as the machine runs, also when its file is gone.
  for (const { service } of step.actions)
    if (!['active', 'failed'].includes(before.get(service.unit)?.active ?? ''))
      await host.run(['systemctl', 'reset-failed', service.unit]);
  for (const { service, action } of step.actions)
    if (before.get(service.unit)?.active === 'active' && action !== 'none')
      problems.push(...(await serveAgain(host, service.unit, action)));
  return problems;
}

/** What was only reloaded goes back by a reload: a restart would cut its streams and move the VIP. */
async function serveAgain(
  host: Host,
  unit: string,
  action: 'start' | 'restart' | 'reload',
): Promise<string[]> {
  if (action === 'reload' && (await attempt(host, ['reload', unit])).length === 0) {
    const now = await readUnits(host, [unit]);
    if (now.get(unit)?.active === 'active') return [];
  }
  return attempt(host, ['restart', unit]);
}

async function attempt(host: Host, words: readonly string[]): Promise<string[]> {
  const argv: Argv = ['systemctl', ...words];
  const result = await host.run(argv, { timeoutMs: SYSTEMCTL_TIMEOUT_MS });
  return result.exitCode === 0 ? [] : [`${argv.join(' ')} ${outcome(result)}`];
}

async function systemctl(host: Host, words: readonly string[], unit?: string): Promise<void> {
  const argv: Argv = ['systemctl', ...words];
  const result = await host.run(argv, { timeoutMs: SYSTEMCTL_TIMEOUT_MS });
  if (result.exitCode === 0) return;
  const log =
    unit === undefined
      ? undefined
      : await host.run(['journalctl', '--no-pager', '-n', '20', '-o', 'cat', '-u', unit]);
  throw stepError({
    code: 'SERVICE_FAILED',
    message: `${argv.join(' ')} ${outcome(result)}`,
    where: 'step services',
    details: [...lastLines(result), ...(log === undefined ? [] : lastLines(log))],
    ...(unit === undefined ? {} : { hint: `See: journalctl -u ${unit}` }),
  });
}
