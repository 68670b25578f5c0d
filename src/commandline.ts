import type { Command } from 'commander';
import { CommanderError, InvalidArgumentError, Option } from 'commander';
import { BundleError, describeError, EXIT, exitCodeOf, usageError } from './errors.js';
import type { ExitCode } from './errors.js';
import { plainLines } from './model/plain.js';
import type { LogFormat, Reporter } from './report.js';
import { createReporter } from './report.js';

/** What every command takes; shared by the three entries. */
export interface CommonOptions {
  readonly output: 'text' | 'json';
  readonly logFormat: LogFormat;
  readonly color: boolean;
  readonly quiet: boolean;
}

/** Adds the options that every command takes; `parse*` of commander then reports through exitOverride. */
export function commonOptions(command: Command): Command {
  return everyOption(
    command.option('-o, --output <format>', 'text or json, on stdout', oneOf('text', 'json'), 'text'),
  );
}

/** The same for a command whose result is a document that somebody keeps. */
export function documentOptions(command: Command, form: 'text' | 'json'): Command {
  return everyOption(
    command.addOption(
      new Option(
        '-o, --output <format>',
        'text or json on stdout; or FILE.json, which the document is written to',
      )
        .argParser(formOrFile)
        .default({ form } satisfies DocumentOutput, `"${form}"`),
    ),
  );
}

/** Where a document goes and what is printed. */
export interface DocumentOutput {
  readonly form: 'text' | 'json';
  readonly file?: string;
}

export type DocumentOptions = Omit<CommonOptions, 'output'> & { readonly output: DocumentOutput };

function formOrFile(value: string): DocumentOutput {
  if (value === 'text' || value === 'json') return { form: value };
  if (value.endsWith('.json')) return { form: 'text', file: value };
  throw new InvalidArgumentError(`"${value}" is none of: text, json, a file that ends in .json`);
}

function everyOption(command: Command): Command {
  return command
    .option(
      '--log-format <format>',
      'text or json (one object a line), on stderr',
      oneOf('text', 'json'),
      'text',
    )
    .option('--no-color', 'no colours (also: NO_COLOR)')
    .option('-q, --quiet', 'only warnings and errors', false);
}

export function oneOf<T extends string>(...allowed: readonly T[]): (value: string) => T {
  return (value) => {
    const found = allowed.find((candidate) => candidate === value);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`"${value}" is none of: ${allowed.join(', ')}`);
  };
}

export function reporterFor(options: Omit<CommonOptions, 'output'>, env: NodeJS.ProcessEnv): Reporter {
  return createReporter({
    format: options.logFormat,
    quiet: options.quiet,
    color: options.color && (env['NO_COLOR'] ?? '') === '' && process.stderr.isTTY,
    stream: process.stderr,
    now: () => performance.now(),
  });
}

/**
 * Runs a program of commands: errors are caught here, once, and become text (or JSON with
 * `--log-format json`) on stderr and an exit code.
 * @param argv process.argv
 */
export async function runProgram(program: Command, argv: readonly string[]): Promise<ExitCode> {
  const json = argv.some(
    (word, index) => word === '--log-format=json' || (word === '--log-format' && argv[index + 1] === 'json'),
  );
  takeErrors(program, program.name());
  ignoreLostReaders();
  try {
    await program.parseAsync([...argv]);
    return typeof process.exitCode === 'number' ? (process.exitCode as ExitCode) : EXIT.done;
  } catch (error) {
    // Help that was asked for, or shown for want of a command: it has been printed.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (json)
      process.stderr.write(
        `${JSON.stringify({ kind: 'error', ...(error instanceof Error ? errorFields(error) : { message: String(error) }) })}\n`,
      );
    else process.stderr.write(`${plainLines(describeError(error).join('\n'))}\n`);
    return exitCodeOf(error);
  }
}

/** A reader that is gone (a closed terminal, `| head`) must not end the work half way. */
function ignoreLostReaders(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', () => {
      // EPIPE, EIO: nobody listens any more.
    });
}

/** commander's words for a mistake, in the one form of an error. */
function commandLineError({ message }: CommanderError, command: string): BundleError {
  const [what = '', near = ''] = message.replace(/^error: /, '').split('\n');
  return usageError({
    code: 'COMMAND_LINE',
    message: near === '' ? what : `${what} ${near.replace('Did you', 'did you')}`,
    hint: `See what it takes: ${command} --help`,
  });
}

function errorFields(error: Error): Record<string, unknown> {
  return error instanceof BundleError
    ? error.toJSON()
    : { code: 'INTERNAL', message: error.stack ?? error.message };
}

/** @param name how the command is typed */
function takeErrors(command: Command, name: string): void {
  command.configureOutput({ outputError: () => undefined }).exitOverride((error) => {
    throw error.exitCode === 0 || error.code === 'commander.help' ? error : commandLineError(error, name);
  });
  for (const child of command.commands) takeErrors(child, `${name} ${child.name()}`);
}
