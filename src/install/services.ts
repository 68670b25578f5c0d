import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import type { PlanStep } from './plan.js';
import type { UnitState } from './probe.js';

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

/** Back to what ran before: files are restored already. Never throws; says what did not work. */
export async function restoreServices(
  host: Host,
  step: ServicesStep,
  before: ReadonlyMap<string, UnitState>,
): Promise<string[]> {
  const problems: string[] = [];
  const attempt = async (argv: readonly [string, ...string[]]): Promise<void> => {
    const result = await host.run(['systemctl', ...argv], { timeoutMs: SYSTEMCTL_TIMEOUT_MS });
    if (result.exitCode !== 0) problems.push(`systemctl ${argv.join(' ')} ${outcome(result)}`);
  };
  const stopped = [...step.actions].reverse();
  for (const { service } of stopped)
    if (before.get(service.unit)?.active !== 'active') await attempt(['stop', service.unit]);
  for (const { service, enable } of stopped) if (enable) await attempt(['disable', service.unit]);
  await attempt(['daemon-reload']);
  for (const { service, action } of step.actions)
    if (before.get(service.unit)?.active === 'active' && action !== 'none')
      await attempt(['restart', service.unit]);
  return problems;
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
