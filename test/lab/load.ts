import { execa } from 'execa';
import { LabError } from './errors.js';
import type { LoadReport, LoadSettings } from './grpc/load-report.js';
import type { Machine } from './machines.js';

/** A load that is running. */
export interface Load {
  /** Ends it. @returns what became of each call and stream */
  stop(): Promise<LoadReport>;
}

/**
 * Starts the load client on a client's machine and waits until every connection is up.
 * @throws LabError with the client's words
 */
export const startLoad = async (client: Machine, settings: LoadSettings): Promise<Load> => {
  const running = execa(
    'docker',
    [
      ...['exec', '--interactive', client.container],
      ...['/usr/local/bin/node', '/srv/load.cjs', JSON.stringify(settings)],
    ],
    { reject: false, stdin: 'pipe', maxBuffer: 256 * 1024 * 1024 },
  );
  const ready = new Promise<true>((resolve) => {
    running.stdout?.once('data', () => resolve(true));
  });
  const first = await Promise.race([ready, running]);
  if (first !== true) throw new LabError('the load did not start', `${first.stdout}\n${first.stderr}`);
  return {
    stop: async () => {
      running.stdin?.end();
      const done = await running;
      if (done.exitCode !== 0) throw new LabError('the load broke off', `${done.stdout}\n${done.stderr}`);
      return JSON.parse(done.stdout.split('\n')[1] ?? '') as LoadReport;
    },
  };
};
