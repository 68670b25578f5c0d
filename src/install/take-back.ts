import { dirname } from 'node:path';
import type { BundleError } from '../errors.js';
import { EXIT, stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { Argv } from '../host/process.js';
import { lastLines, outcome } from '../host/process.js';
import { temporaryName } from '../host/temporary.js';
import { target } from '../model/layout.js';
import type { Reporter } from '../report.js';
import { inStep } from '../report.js';
import { removeAccount } from './account-removal.js';
import { refreshAgain } from './configuration.js';
import type { Journal } from './journal.js';
import type { KeptAside } from './kept-aside.js';
import { readUnits } from './probe.js';
import { downgradePackages, erasePackages, testErase } from './rpm-erase.js';
import { systemError } from './system-error.js';
import type { Undo } from './undo-merge.js';
import type { FilePlan, UndoPlan } from './undo-plan.js';
import { isOwnPath } from './undo-plan.js';
import { byHand, dropHalfWritten, putBack } from './undo.js';
import { removeLeftByRpm } from './unpacked.js';

export interface TakeBackRequest {
  readonly undo: Undo;
  readonly plan: UndoPlan;
  /** An earlier try was ended half way. */
  readonly resumed: boolean;
  readonly kept: KeptAside;
  readonly journal: Journal;
  readonly reporter: Reporter;
  readonly interrupted: () => boolean;
  /** What is typed to go on with it. */
  readonly command: string;
}

interface Phase {
  readonly id: string;
  readonly title: string;
  /** @returns what did not work; the phases after it are not begun */
  readonly work: () => Promise<string[]>;
}

/**
 * Carries out what the plan says, phase by phase. Each phase compares with the node first, so that the
 * same command goes on after it was ended. A running service keeps serving until its reload or restart.
 * @returns warnings: what stays, and why
 * @throws BundleError exit 6 that says what is done and what is not
 */
export async function takeBack(host: Host, request: TakeBackRequest): Promise<string[]> {
  const warnings: string[] = [];
  const left = (await host.lstat(target.unpacking)) !== undefined;
  const phases = phasesOf(host, request, left, warnings);
  const done: Phase[] = [];
  for (const phase of phases) {
    const notDone = phases.slice(done.length);
    const problems = await attemptPhase(request, phase);
    if (problems instanceof Error) throw unfinished(problems, request, done, notDone);
    done.push(phase);
  }
  return warnings;
}

async function attemptPhase(
  request: TakeBackRequest,
  phase: Phase,
): Promise<BundleError | undefined | Error> {
  const where = `step ${phase.id}`;
  if (request.interrupted())
    return stepError({ code: 'INTERRUPTED', message: 'stopped as asked', where: `before ${where}` });
  try {
    await request.journal.record({ event: 'step-start', step: phase.id });
    const problems = await inStep(request.reporter, phase.id, phase.title, phase.work);
    if (problems.length > 0)
      return stepError({ code: 'UNDO_FAILED', message: `${phase.title}: failed`, where, details: problems });
    await request.journal.record({ event: 'step-done', step: phase.id });
    return undefined;
  } catch (error) {
    const known = systemError(error, where, EXIT.stepFailed);
    return known instanceof Error ? known : new Error(String(known));
  }
}

function unfinished(
  given: Error,
  { command }: TakeBackRequest,
  done: readonly Phase[],
  notDone: readonly Phase[],
): Error {
  if (!('code' in given) || !('details' in given)) return given;
  const { code, message, where, details } = given as BundleError;
  return stepError({
    code,
    message,
    ...(where === undefined ? {} : { where }),
    details: [
      ...details,
      ...done.map(({ title }) => `done: ${title}`),
      ...notDone.map(({ title }) => `not done: ${title}`),
    ],
    hint: `Mend the cause and go on with: ${command}`,
    cause: given,
  });
}

/** @param left a killed or failed RPM step left its list */
function phasesOf(host: Host, request: TakeBackRequest, left: boolean, warnings: string[]): Phase[] {
  const { undo, plan, kept } = request;
  const { services, packages } = plan;
  const files = plan.files.filter(({ undo: { before } }) => !isOwnPath(before.path));
  const own = plan.files.filter(({ undo: { before } }) => isOwnPath(before.path));
  const back = (some: readonly FilePlan[]): Promise<string[]> => filesBack(host, some, kept);
  const phases: (Phase & { readonly when: boolean })[] = [
    {
      id: 'stop',
      title: 'stop and disable what did not run before',
      when: services.stop.length + services.disable.length > 0,
      work: async () => [
        ...(await systemctl(
          host,
          services.stop.map((unit) => ['stop', unit]),
        )),
        ...(await systemctl(
          host,
          services.disable.map((unit) => ['disable', unit]),
        )),
      ],
    },
    { id: 'files', title: 'put files back', when: files.length > 0, work: () => back(files) },
    {
      id: 'refresh',
      title: 'let the system take note of them',
      when: files.length > 0,
      work: async () => {
        const touched = new Set(
          files
            .filter(({ action }) => request.resumed || (action !== 'same' && action !== 'leave'))
            .map(({ undo: { before } }) => before.path),
        );
        const refreshes = [...undo.running.refreshes, ...undo.back.refreshes].filter(
          ({ argv }, index, all) => all.findIndex((one) => one.argv.join(' ') === argv.join(' ')) === index,
        );
        const problems = await refreshAgain(host, refreshes, touched);
        for (const unit of services.stop) await host.run(['systemctl', 'reset-failed', unit]);
        return problems;
      },
    },
    {
      id: 'downgrade',
      title: 'put replaced packages back',
      when: packages.downgrade.length > 0,
      work: async () => {
        const { downgrade } = packages;
        warnings.push(
          ...(await downgradePackages(
            host,
            downgrade,
            downgrade.map(({ file }) => file),
          )),
        );
        return [];
      },
    },
    {
      id: 'services',
      title: 'bring the services back to what they were',
      when: services.enable.length + services.act.length > 0,
      work: async () => {
        const { enable, act } = services;
        const wanted = [...new Set([...enable, ...act.map(({ unit }) => unit)])];
        const units = await readUnits(host, wanted);
        // A package that somebody removed since took its unit with it: nothing could bring that back.
        const gone = new Set(wanted.filter((unit) => (units.get(unit)?.fragment ?? '') === ''));
        warnings.push(...[...gone].map((unit) => `${unit} is not started: its unit file is gone`));
        return [
          ...(await systemctl(
            host,
            enable.filter((unit) => !gone.has(unit)).map((unit) => ['enable', unit]),
          )),
          ...(await systemctl(
            host,
            act
              .filter(({ unit }) => !gone.has(unit))
              .map(({ unit, action }) => [action === 'start' ? 'restart' : action, unit]),
          )),
        ];
      },
    },
    {
      id: 'erase',
      title: 'erase the packages that were added',
      when: packages.erase.length > 0,
      work: async () => {
        // The services were restarted and packages replaced since the plan: rpm is asked again.
        const { erase, kept: needed } = await testErase(host, packages.erase);
        warnings.push(...needed.map(({ nevra, because }) => `${nevra} stays: ${because}`));
        if (erase.length > 0) warnings.push(...(await erasePackages(host, erase)).problems);
        return [];
      },
    },
    {
      id: 'unpacked',
      title: 'remove what an rpm that was ended left',
      when: left,
      work: async () => {
        warnings.push(...(await removeLeftByRpm(host)));
        return [];
      },
    },
    { id: 'own-files', title: 'put our own files back', when: own.length > 0, work: () => back(own) },
    {
      id: 'directories',
      title: 'remove the folders that were made',
      when: undo.made.length > 0,
      work: async () => {
        for (const path of [...undo.made].reverse()) {
          await host.removeDirectory(temporaryName(path));
          await host.removeDirectory(path);
          if ((await host.lstat(path)) !== undefined && !isOurFolder(path))
            warnings.push(`${path} stays: something else lies in it`);
        }
        return [];
      },
    },
    {
      id: 'accounts',
      title: 'remove the accounts that own nothing',
      when: plan.accounts.length > 0,
      work: async () => {
        for (const account of plan.accounts) {
          const because = await removeAccount(host, account);
          if (because !== undefined) warnings.push(`the account ${account.name} stays: ${because}`);
        }
        return [];
      },
    },
  ];
  warnings.push(
    ...plan.packages.kept.map(({ nevra, because }) => `${nevra} stays: ${because}`),
    ...plan.packages.oneWay.map(({ from, to, because }) => `${to} stays, it was ${from}: ${because}`),
    ...plan.files.flatMap(({ undo: { before }, why }) =>
      why === undefined ? [] : [`${before.path} stays: ${why}`],
    ),
  );
  return phases.filter(({ when }) => when);
}

/** Its last file may be removed later, or a removed key is remembered in it. */
function isOurFolder(path: string): boolean {
  return path.startsWith('/etc/airbundle');
}

async function filesBack(host: Host, files: readonly FilePlan[], kept: KeptAside): Promise<string[]> {
  const problems: string[] = [];
  for (const { undo, action, byHand: changed } of files) {
    const { before, edited } = undo;
    try {
      await dropHalfWritten(host, before.path);
      for (const { run, backup } of edited) await kept.keepCopy(before.path, backup, run);
      if (action !== 'put-back' && action !== 'remove') continue;
      if (changed) await kept.keep(before.path);
      if (action === 'put-back') await host.ensureDirectory(dirname(before.path));
      await putBack(host, before);
    } catch (error) {
      problems.push(
        `${before.path} could not be put back (${error instanceof Error ? error.message : String(error)}); by hand: ${byHand(before)}`,
      );
    }
  }
  return problems;
}

const SYSTEMCTL_TIMEOUT_MS = 3 * 60_000;

async function systemctl(host: Host, calls: readonly (readonly string[])[]): Promise<string[]> {
  const problems: string[] = [];
  for (const words of calls) {
    const argv: Argv = ['systemctl', ...words];
    const result = await host.run(argv, { timeoutMs: SYSTEMCTL_TIMEOUT_MS });
    if (result.exitCode !== 0)
      problems.push(`${argv.join(' ')} ${outcome(result)}: ${lastLines(result, 1).join('')}`);
  }
  return problems;
}
