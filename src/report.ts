/**
 * Progress: one stream of events, three ways to show it. Everything goes to stderr; stdout is for
 * results. Runs on Node 16 as well.
 */

export type LogFormat = 'text' | 'json';

export interface ReporterOptions {
  readonly format: LogFormat;
  readonly quiet: boolean;
  readonly color: boolean;
  /** Where lines go: process.stderr, or a collector in tests. */
  readonly stream: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number };
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Calls `work` again and again until the returned function is called; a timer of Node's, except in tests. */
  readonly every?: (intervalMs: number, work: () => void) => () => void;
}

/** How far a step is; bytes or items. */
export interface Progress {
  readonly done: number;
  readonly total?: number;
  readonly unit: 'bytes' | 'items';
}

/** One running piece of work. Call `done` or `fail` exactly once. */
export interface Step {
  progress(progress: Progress): void;
  /** What it is doing right now, a few words. */
  note(text: string): void;
  done(result?: string): void;
  fail(reason: string): void;
}

export interface Reporter {
  step(id: string, title: string): Step;
  info(text: string): void;
  warn(text: string): void;
  /** Removes the live line and stops the timer. */
  close(): void;
}

const PLAIN_INTERVAL_MS = 10_000;
const LIVE_INTERVAL_MS = 120;
/** Without a terminal: a step that has said nothing for so long is named again, then less and less often. */
const SILENT_MS = 30_000;
const MAX_SILENT_MS = 300_000;
const LOOK_INTERVAL_MS = 1000;

interface Running {
  readonly id: string;
  readonly title: string;
  readonly startedMs: number;
  progress: Progress | undefined;
  note: string;
  saidMs: number;
  /** How long it may say nothing more. */
  silentMs: number;
}

/**
 * Text of other programs (a build, a service, a medium) without what a terminal would obey: control
 * characters, escape sequences, and the marks that turn the direction of text.
 */
export function printable(text: string): string {
  return text.replace(ESCAPES, '').replaceAll('\t', ' ').replace(CONTROLS, '\uFFFD');
}

/** CSI and OSC sequences (ECMA-48), whole, so that colours leave nothing behind. */
const ESCAPES = new RegExp('\u001B(?:\\[[0-?]*[ -/]*[@-~]|\\][^\u0007\u001B]*(?:\u0007|\u001B\\\\)?)', 'g');
const CONTROLS = new RegExp('[\u0000-\u001F\u007F-\u009F\u200E\u200F\u202A-\u202E\u2066-\u2069]', 'g');

/** Runs `work` as a step: done with its result's words, failed with its error's first line. */
export async function inStep<T>(
  reporter: Reporter,
  id: string,
  title: string,
  work: (step: Step) => Promise<T>,
  words: (result: T) => string = () => '',
): Promise<T> {
  const step = reporter.step(id, title);
  try {
    const result = await work(step);
    step.done(words(result));
    return result;
  } catch (error) {
    step.fail(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
    throw error;
  }
}

export function createReporter(options: ReporterOptions): Reporter {
  const { stream, now } = options;
  const running = new Set<Running>();
  const live = options.format === 'text' && stream.isTTY === true && !options.quiet;
  const paint = (code: string, text: string): string =>
    options.color ? `\u001B[${code}m${text}\u001B[0m` : text;
  let shown = 0;

  const erase = (): void => {
    if (shown > 0) stream.write(`\u001B[${String(shown)}A\u001B[J`);
    shown = 0;
  };
  const draw = (): void => {
    if (!live) return;
    erase();
    for (const entry of running) {
      stream.write(`${cut(`  … ${entry.title}  ${state(entry, now())}`, stream.columns ?? 80)}\n`);
      shown += 1;
    }
  };
  const line = (text: string): void => {
    erase();
    stream.write(`${text}\n`);
    draw();
  };
  const event = (kind: string, fields: Record<string, unknown>): void => {
    stream.write(`${JSON.stringify({ time: new Date().toISOString(), kind, ...fields })}\n`);
  };
  const sayStill = (): void => {
    for (const entry of running) {
      if (now() - entry.saidMs < entry.silentMs) continue;
      entry.saidMs = now();
      entry.silentMs = Math.min(entry.silentMs * 2, MAX_SILENT_MS);
      const { id, title, progress, note } = entry;
      const elapsedMs = Math.round(now() - entry.startedMs);
      if (options.format === 'json') event('still', { id, title, ...progress, note, elapsedMs });
      else line(`  … still: ${title}, ${state(entry, now())}`);
    }
  };
  const every = options.every ?? everyUnref;
  const stop = live
    ? every(LIVE_INTERVAL_MS, draw)
    : options.format === 'json' || !options.quiet
      ? every(LOOK_INTERVAL_MS, sayStill)
      : undefined;

  const say = (kind: 'info' | 'warn', text: string): void => {
    if (options.quiet && kind === 'info') return;
    if (options.format === 'json') event(kind, { text });
    else line(kind === 'warn' ? `${paint('33', 'warning:')} ${printable(text)}` : printable(text));
  };

  return {
    info: (text) => {
      say('info', text);
    },
    warn: (text) => {
      say('warn', text);
    },
    close: () => {
      stop?.();
      erase();
      running.clear();
    },
    step(id, title) {
      const entry: Running = {
        ...{ id, title, startedMs: now(), progress: undefined, note: '' },
        ...{ saidMs: now(), silentMs: SILENT_MS },
      };
      running.add(entry);
      if (options.format === 'json') event('start', { id, title });
      else if (!options.quiet && !live) line(`  … ${title}`);
      const changed = (): void => {
        if (now() - entry.saidMs < PLAIN_INTERVAL_MS || live) return;
        entry.saidMs = now();
        entry.silentMs = SILENT_MS;
        if (options.format === 'json') event('progress', { id, ...entry.progress, note: entry.note });
        else if (!options.quiet) line(`  … ${title}  ${state(entry, now())}`);
      };
      const end = (kind: 'done' | 'fail', text: string): void => {
        running.delete(entry);
        const elapsedMs = Math.round(now() - entry.startedMs);
        if (options.format === 'json') event(kind, { id, title, text, elapsedMs });
        else if (!options.quiet || kind === 'fail') {
          const mark = kind === 'done' ? paint('32', '✓') : paint('31', '✗');
          line(`  ${mark} ${title}${text === '' ? '' : `: ${printable(text)}`}  (${seconds(elapsedMs)})`);
        }
      };
      return {
        progress(progress) {
          entry.progress = progress;
          changed();
        },
        note(text) {
          entry.note = printable(text);
          changed();
        },
        done(result = '') {
          end('done', result);
        },
        fail(reason) {
          end('fail', reason);
        },
      };
    },
  };
}

/** Does not keep the process alive. */
function everyUnref(intervalMs: number, work: () => void): () => void {
  const timer = setInterval(work, intervalMs);
  timer.unref();
  return () => {
    clearInterval(timer);
  };
}

function state(entry: Running, nowMs: number): string {
  const elapsedMs = nowMs - entry.startedMs;
  const parts = [seconds(elapsedMs)];
  const progress = entry.progress;
  if (progress !== undefined) {
    const of = (value: number): string => (progress.unit === 'bytes' ? formatBytes(value) : String(value));
    parts.unshift(
      progress.total === undefined ? of(progress.done) : `${of(progress.done)} of ${of(progress.total)}`,
    );
    if (progress.unit === 'bytes' && elapsedMs > 500)
      parts.push(`${formatBytes((progress.done / elapsedMs) * 1000)}/s`);
  }
  if (entry.note !== '') parts.push(entry.note);
  return parts.join(', ');
}

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? String(Math.round(value)) : value.toFixed(1)} ${units[unit] ?? ''}`;
}

function seconds(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  return `${String(Math.floor(whole / 60))} min ${String(whole % 60)} s`;
}

function cut(text: string, width: number): string {
  return text.length <= width - 1 ? text : `${text.slice(0, Math.max(0, width - 2))}…`;
}
