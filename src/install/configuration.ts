import type { ConfiguredFile, Refresh, Validation } from '../configure/types.js';
import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import { candidateName } from '../host/temporary.js';
import type { Reporter } from '../report.js';
import type { PlanStep } from './plan.js';
import { placedText } from './placed.js';
import type { Changes } from './undo.js';

type ConfigurationStep = Extract<PlanStep, { kind: 'configuration' }>;

/** Writes each file next to its place, has it tested by the program that will read it, swaps it in. */
export async function applyConfiguration(
  host: Host,
  step: ConfigurationStep,
  changes: Changes,
  reporter: Reporter,
): Promise<void> {
  for (const directory of step.directories) {
    if (directory.shared) {
      await changes.ensureDirectory(directory.path);
      continue;
    }
    const ids = await accountIds(host, directory.owner, directory.group);
    await changes.makeDirectory(directory.path, { mode: directory.mode, ...ids });
  }
  for (const file of step.files) {
    await changes.keep(file.path, placedText(file.content));
    await writeTested(host, file, reporter);
  }
  for (const refresh of step.refreshes) {
    const result = await host.run(refresh.argv, { timeoutMs: refresh.timeoutMs });
    if (result.exitCode === 0) continue;
    const said = `${refresh.argv.join(' ')} ${outcome(result)}`;
    if (refresh.onFailure === 'warn') {
      reporter.warn(`${said}: ${lastLines(result, 1).join('')}`);
      continue;
    }
    throw stepError({
      code: 'REFRESH_FAILED',
      message: said,
      where: `step configuration, ${refresh.id}`,
      details: lastLines(result),
      hint: `See what it says: ${refresh.argv.join(' ')}; then run the same command again.`,
    });
  }
}

/** After files were put back: the system takes note of them again. Never throws. */
export async function refreshAgain(
  host: Host,
  refreshes: readonly Refresh[],
  restored: ReadonlySet<string>,
): Promise<string[]> {
  const problems: string[] = [];
  for (const { files, argv, timeoutMs, onFailure } of refreshes) {
    if (!files.some((path) => restored.has(path))) continue;
    // `sysctl -p FILE` without the file: what it set stays until the next boot.
    const named = argv.filter((word) => files.includes(word));
    if ((await Promise.all(named.map((path) => host.lstat(path)))).includes(undefined)) continue;
    const result = await host.run(argv, { timeoutMs });
    if (result.exitCode !== 0 && onFailure === 'fail') problems.push(`${argv.join(' ')} ${outcome(result)}`);
  }
  return problems;
}

async function writeTested(host: Host, file: ConfiguredFile, reporter: Reporter): Promise<void> {
  const ids = await accountIds(host, file.owner, file.group);
  if (file.validate !== undefined) {
    const candidate = candidateName(file.path);
    await host.writeDurable(candidate, file.content, { mode: 0o600 });
    try {
      const problem = await validate(host, file.path, file.validate, candidate);
      if (problem?.kind === 'untested') reporter.warn(problem.message);
      else if (problem !== undefined)
        throw stepError({
          code: 'CONFIGURATION_REFUSED',
          message: problem.message,
          where: `step configuration, ${file.path}`,
          details: problem.details,
          hint: `The file was not swapped in. Mend the site file${file.additions === undefined ? '' : ` (or what you have added in ${file.additions})`} and run the same command again.`,
        });
    } finally {
      await host.remove(candidate);
    }
  }
  await host.writeDurable(file.path, file.content, { mode: file.mode, ...ids });
}

interface ValidationProblem {
  readonly kind: 'refused' | 'untested';
  readonly message: string;
  readonly details: readonly string[];
}

/** Has a candidate tested by the program that will read it. @returns undefined: it is good */
export async function validate(
  host: Host,
  path: string,
  rule: Validation,
  candidate: string,
): Promise<ValidationProblem | undefined> {
  const [program, ...words] = rule.argv;
  const argv: Argv = [program, ...words.map((word) => word.replaceAll('{file}', candidate))];
  const result = await host.run(argv, { timeoutMs: rule.timeoutMs });
  if (result.exitCode !== null && rule.okExits.includes(result.exitCode)) return undefined;
  if (result.startError === 'ENOENT' && rule.withoutProgram === 'skip')
    return {
      kind: 'untested',
      message: `${path} was not tested: ${program} is not on this node`,
      details: [],
    };
  return {
    kind: 'refused',
    message: `${path}: ${argv.join(' ')} ${outcome(result)}`,
    details: lastLines(result),
  };
}

async function accountIds(host: Host, owner: string, group: string): Promise<{ uid: number; gid: number }> {
  if (owner === 'root' && group === 'root') return { uid: 0, gid: 0 };
  const user = await host.run(['getent', 'passwd', owner]);
  const members = await host.run(['getent', 'group', group]);
  const uid = user.stdout.split(':')[2];
  const gid = members.stdout.split(':')[2];
  if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  throw stepError({
    code: 'ACCOUNT_MISSING',
    message: `the account ${owner}:${group} is not there`,
    where: 'step configuration',
    hint: `See: getent passwd ${owner}; getent group ${group}`,
  });
}
