import { execa } from 'execa';
import { LabError } from './errors.js';

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string | Buffer;
  readonly timeoutMs?: number;
}

const lastLines = (text: string, count = 25): string => text.split('\n').slice(-count).join('\n');

/** Runs a command; a non-zero exit is a result. A command that cannot be started or runs too long throws. */
export const attempt = async (argv: readonly string[], options: CommandOptions = {}): Promise<Outcome> => {
  const [file, ...args] = argv;
  if (file === undefined) throw new TypeError('empty argv');
  const done = await execa(file, args, {
    reject: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
    maxBuffer: 64 * 1024 * 1024,
  });
  if (done.timedOut)
    throw new LabError(
      `ran longer than ${options.timeoutMs} ms: ${argv.join(' ')}`,
      `its last lines:\n${lastLines(`${done.stdout}\n${done.stderr}`)}`,
    );
  // Never started (ENOENT) or ended by a signal: execa then leaves exitCode undefined.
  if ((done.exitCode as number | undefined) === undefined)
    throw new LabError(
      `did not finish: ${argv.join(' ')}`,
      done.signal === undefined
        ? `is ${file} installed? sh test/lab/prepare.sh`
        : `it was ended by ${done.signal}`,
      done,
    );
  return { exitCode: done.exitCode, stdout: done.stdout, stderr: done.stderr };
};

/** Runs a command and returns its stdout. @throws LabError with its last lines when it fails */
export const run = async (argv: readonly string[], options: CommandOptions = {}): Promise<string> => {
  const done = await attempt(argv, options);
  if (done.exitCode !== 0)
    throw new LabError(
      `exit ${done.exitCode}: ${argv.join(' ')}`,
      `read its last lines:\n${lastLines(`${done.stdout}\n${done.stderr}`)}`,
    );
  return done.stdout;
};

/** `docker …`, its stdout. */
export const docker = (args: readonly string[], options: CommandOptions = {}): Promise<string> =>
  run(['docker', ...args], options);

/** True when the engine holds an image of that name. */
export const hasImage = async (tag: string): Promise<boolean> =>
  (await attempt(['docker', 'image', 'inspect', '--format', '{{.Id}}', tag])).exitCode === 0;
