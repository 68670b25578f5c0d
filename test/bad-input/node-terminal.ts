import { execa } from 'execa';
import type { Machine } from '../lab/machines.js';

export interface Terminal {
  /** What stands on the screen so far. */
  readonly screen: () => string;
  /** Waits until the screen shows this. @throws Error when the command ended or 30 s are over */
  until(text: string): Promise<void>;
  type(keys: string): void;
  /** As Ctrl-D on an empty line. */
  hangUp(): void;
  readonly exitCode: Promise<number | undefined>;
}

/** A command on a node with a terminal of its own (util-linux's script makes a pseudo-terminal). */
export function terminal(machine: Machine, command: string): Terminal {
  const child = execa(
    'docker',
    ['exec', '--interactive', machine.container, 'script', '-qec', command, '/dev/null'],
    { reject: false, timeout: 60_000, all: true },
  );
  let screen = '';
  const watchers = new Set<() => void>();
  child.all?.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
    for (const watcher of watchers) watcher();
  });
  const ended = child.then((done) => done.exitCode as number | undefined);
  return {
    screen: () => screen,
    until: (text) =>
      new Promise<void>((resolve, reject) => {
        const give = (error?: Error): void => {
          clearTimeout(timer);
          watchers.delete(look);
          if (error === undefined) resolve();
          else reject(error);
        };
        const look = (): void => {
          if (screen.includes(text)) give();
        };
        const timer = setTimeout(() => {
          give(new Error(`"${text}" never came: ${screen}`));
        }, 30_000);
        watchers.add(look);
        void ended.then(() => {
          look();
          give(new Error(`it ended before "${text}": ${screen}`));
        });
        look();
      }),
    type: (keys) => {
      child.stdin?.write(keys);
    },
    hangUp: () => {
      child.stdin?.end();
    },
    exitCode: ended,
  };
}
