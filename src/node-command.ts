import { createInterface } from 'node:readline';
import { refusedError, usageError } from './errors.js';
import type { Host } from './host/host.js';
import type { Audit } from './install/audit.js';
import { auditOf } from './install/audit.js';
import type { Reporter } from './report.js';
import { printable } from './report.js';

let interrupted = false;

/** True once somebody asked to stop. */
export const wasInterrupted = (): boolean => interrupted;

/** The step that runs is finished or fails by itself. A second Ctrl-C does not change that. @param then what follows */
export function stopOnSignals(then: string): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (!interrupted) process.stderr.write(`${signal}: stopping; ${then}\n`);
      interrupted = true;
    });
}

export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw refusedError({
    code: 'NOT_ROOT',
    message: 'this has to be run as root',
    hint: `sudo airbundle ${process.argv.slice(2).join(' ')}`,
  });
}

/** Sorts by time, and no two processes have the same. */
export function newRunId(): string {
  return `${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}-${String(process.pid)}`;
}

export function absolute(path: string): string {
  return path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}

interface Answers {
  readonly output: 'text' | 'json';
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

/**
 * Shows a plan and asks. Nobody says yes to a plan that was not shown; with -o json, stdout is for the
 * result alone.
 * @returns false when the answer is no
 * @throws BundleError exit 2 when there is nobody to ask
 */
export async function agreedTo(plan: string, { output, yes, dryRun }: Answers): Promise<boolean> {
  const isAsked = dryRun !== true && yes !== true;
  const screen = output === 'text' ? process.stdout : process.stderr;
  if (output === 'text' || isAsked) screen.write(plan.split('\n').map(printable).join('\n'));
  if (!isAsked) return true;
  if (process.stdin.isTTY && screen.isTTY) return ask('Go on? [y/N] ', screen);
  throw usageError({
    code: 'NO_TERMINAL',
    message: 'there is no terminal to ask on; nothing was changed',
    hint: 'Look at the plan (--dry-run shows it again), then run the same command with -y.',
  });
}

function ask(question: string, screen: NodeJS.WritableStream): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: screen });
  return new Promise((resolve) => {
    terminal.on('close', () => {
      resolve(false);
    });
    terminal.on('SIGINT', () => {
      terminal.close();
    });
    terminal.question(question, (answer) => {
      resolve(/^y(?:es)?$/i.test(answer.trim()));
      terminal.close();
    });
  });
}

interface AuditedCommand {
  readonly command: string;
  readonly flags: readonly string[];
  readonly runId: string;
  readonly reporter: Reporter;
  /** It takes the receipts too. */
  readonly purge?: boolean;
}

/** The host and the record of a command that changes this node. */
export function audited(host: Host, given: AuditedCommand): { readonly host: Host; readonly audit: Audit } {
  const { command, flags, runId, reporter, purge = false } = given;
  return auditOf(host, {
    ...{ run: runId, command, flags, purge },
    uid: process.getuid?.() ?? 0,
    program: process.argv[1],
    date: () => new Date(),
    now: () => performance.now(),
    interrupted: wasInterrupted,
    info: (text) => {
      reporter.info(text);
    },
    warn: (text) => {
      reporter.warn(text);
    },
  });
}
