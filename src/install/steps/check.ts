import type { Check } from '../../configure/types.js';
import { stepError } from '../../errors.js';
import type { Host } from '../../host/host.js';
import { target } from '../../model/layout.js';
import type { Reporter } from '../../report.js';
import { inStep } from '../../report.js';
import { runChecks } from '../checks.js';
import { stopped } from '../stopped.js';

export interface CheckRequest {
  readonly checks: readonly Check[];
  /** Units whose log tells why. */
  readonly units: readonly string[];
  readonly reporter: Reporter;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly interrupted: () => boolean;
}

/** All checks at once. @returns warnings @throws BundleError exit 6 when one does not hold, or when it was stopped */
export async function checkServices(host: Host, request: CheckRequest): Promise<string[]> {
  const { checks } = request;
  if (checks.length === 0) return [];
  return inStep(request.reporter, 'check', 'check the services', async () => {
    const results = await runChecks(host, checks, request.now, request.interrupted);
    const problems = results.flatMap((result) =>
      result.problem === undefined ? [] : [`${result.check.id}: ${result.problem}`],
    );
    if (request.interrupted()) throw stopped('step check');
    if (problems.length > 0)
      throw stepError({
        code: 'CHECK_FAILED',
        message: `${String(problems.length)} of ${String(checks.length)} checks failed`,
        where: 'step check',
        details: problems,
        hint: `See: journalctl ${request.units.map((unit) => `-u ${unit}`).join(' ')}, and ${target.log}`,
      });
    return results.flatMap((result) => result.warnings);
  });
}
