import { StringDecoder } from 'node:string_decoder';
import { BundleError, refusedError } from '../errors.js';
import { target } from '../model/layout.js';
import type { FollowedRun, OnLine } from './agent.js';
import type { Patience } from './patience.js';
import { isLost, throughLosses } from './patience.js';
import type { NodeShell } from './shell.js';
import { askNode } from './upload.js';

export interface DetachedRun {
  /** Plain characters; one run of an id at a time. */
  readonly id: string;
  readonly argv: readonly string[];
  readonly onLine: OnLine;
  readonly onLost: (error: BundleError) => void;
  readonly patience: Patience;
}

/** A shell's code for what a signal ended: 128 + its number. */
const ENDED_BY_SIGNAL = 128;

/**
 * Starts a command on the node that goes on when the connection does not, or finds the one that is running, and
 * follows its log from where it had come to. @throws BundleError RUN_OUT_OF_SIGHT when the node stays away
 */
export async function followRun(shell: NodeShell, run: DetachedRun): Promise<FollowedRun> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(run.id)) throw new Error(`not an id of a run: ${run.id}`);
  try {
    const [state, number = ''] = (
      await throughLosses(run.patience, () => start(shell, run), run.onLost)
    ).split(' ');
    return { ...(await followToEnd(shell, run, number)), wasRunning: state === 'running' };
  } catch (error) {
    throw isLost(error) ? outOfSight(shell.where, run, error) : error;
  }
}

async function start(shell: NodeShell, { id, argv }: DetachedRun): Promise<string> {
  try {
    return (await askNode(shell, ['start', id, ...argv])).stdout.trim();
  } catch (error) {
    if (!(error instanceof BundleError) || error.code !== 'NODE_COMMAND') throw error;
    throw refusedError({
      code: 'OTHER_RUN',
      message:
        'another deploy of this bundle is at work there, with other options, or another site or secret',
      where: shell.where,
      details: error.details,
      hint: `Wait for its end, or follow it with the same options and the same site file. Its log on the node: ${target.state}/deploy/${id}`,
      cause: error,
    });
  }
}

async function followToEnd(
  shell: NodeShell,
  run: DetachedRun,
  number: string,
): Promise<Pick<FollowedRun, 'exitCode' | 'log'>> {
  const pieces: Buffer[] = [];
  const lines = lineFeed(run.onLine);
  let offset = 0;
  const end = await throughLosses(
    run.patience,
    async (heard) => {
      const { stderr } = await askNode(shell, ['follow', run.id, number, String(offset)], {
        onBytes: (bytes) => {
          heard();
          offset += bytes.length;
          pieces.push(bytes);
          lines.take(bytes);
        },
      });
      return stderr.trim().split('\n').pop() ?? '';
    },
    run.onLost,
  );
  lines.end();
  return { exitCode: exitCodeOf(end), log: Buffer.concat(pieces).toString('utf8') };
}

/** "exit 0"; whatever else is said, it is no success. */
function exitCodeOf(end: string): number | null {
  const code = /^exit (\d+)$/.exec(end)?.[1];
  return code === undefined || Number(code) > ENDED_BY_SIGNAL ? null : Number(code);
}

function lineFeed(onLine: OnLine): { take(bytes: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  return {
    take(bytes) {
      const lines = (rest + decoder.write(bytes)).split(/\r\n|[\r\n]/);
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
    },
    end() {
      if (rest !== '') onLine(rest);
    },
  };
}

function outOfSight(where: string, { id }: DetachedRun, cause: unknown): BundleError {
  return refusedError({
    code: 'RUN_OUT_OF_SIGHT',
    message: 'the node cannot be reached any more; what was started there goes on without us',
    where,
    hint: `Run the same command again when it is back: it follows on. On the node: ls ${target.state}/deploy/${id}; airbundle status`,
    cause,
  });
}
