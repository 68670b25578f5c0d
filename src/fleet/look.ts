import { randomBytes } from 'node:crypto';
import { proofOf } from '../host/secret-proof.js';
import type { NodeView } from '../model/cluster.js';
import { target } from '../model/layout.js';
import type { NodeStatus, SecretQuestion } from '../model/node-status.js';
import { NodeStatusSchema } from '../model/node-status.js';
import type { NodeAgent } from './agent.js';
import type { Clock } from './clock.js';
import { firstWords, reasonOf } from './words.js';

const STATUS_MS = 60_000;
const ASK_MS = 10_000;
/** What test(1) ends with when it has looked and the answer is no; above it, it could not look. */
const NOT_THERE = 1;

/** @returns what a node is asked in the secret's stead; undefined when there is none at hand */
export function secretQuestion(secret: string | undefined): SecretQuestion | undefined {
  if (secret === undefined) return undefined;
  const salt = randomBytes(16).toString('hex');
  return { salt, proof: proofOf(secret, salt) };
}

/** One node as it is now: read only. Never throws: a node that does not answer is seen as such. */
export async function lookAt(agent: NodeAgent, clock: Clock, question?: SecretQuestion): Promise<NodeView> {
  try {
    const [addresses, clockSkewMs, told] = await Promise.all([
      readAddresses(agent),
      readClock(agent, clock),
      readStatus(agent, question),
    ]);
    return { node: agent.name, reach: 'answered', addresses, clockSkewMs, ...told };
  } catch (error) {
    return unreachable(agent.name, reasonOf(error));
  }
}

export const unreachable = (node: string, words: string): NodeView => ({
  ...{ node, reach: 'unreachable', words, addresses: [], status: null, clockSkewMs: null },
});

/** Only who has which address, which is quick. Never throws. */
export async function lookAtAddresses(agent: NodeAgent): Promise<readonly string[] | undefined> {
  return readAddresses(agent).catch(() => undefined);
}

async function readAddresses(agent: NodeAgent): Promise<string[]> {
  const shown = await agent.run(['ip', '-o', '-4', 'addr', 'show'], { asRoot: true, timeoutMs: ASK_MS });
  if (shown.timedOut) throw new Error(`it did not answer within ${String(ASK_MS / 1000)} s`);
  if (shown.exitCode !== 0) throw new Error(`"ip addr show" does not answer: ${firstWords(shown.stderr)}`);
  return shown.stdout.split('\n').flatMap((line) => /^\d+: \S+\s+inet ([0-9.]+)/.exec(line)?.[1] ?? []);
}

async function readClock(agent: NodeAgent, clock: Clock): Promise<number | null> {
  const beforeMs = clock.wallMs();
  const shown = await agent.run(['date', '-u', '+%s%3N'], { timeoutMs: ASK_MS });
  const middleMs = (beforeMs + clock.wallMs()) / 2;
  const theirs = Number(shown.stdout.trim());
  return shown.exitCode === 0 && theirs > 0 ? Math.round(theirs - middleMs) : null;
}

async function readStatus(
  agent: NodeAgent,
  question: SecretQuestion | undefined,
): Promise<{ readonly status: NodeStatus | null; readonly words: string }> {
  const there = await agent.run(['test', '-x', target.command], { asRoot: true, timeoutMs: ASK_MS });
  if (there.exitCode === NOT_THERE) return { status: null, words: '' };
  if (there.exitCode !== 0)
    return {
      status: null,
      words: `whether airbundle is there could not be seen: ${there.timedOut ? `no answer within ${String(ASK_MS / 1000)} s` : firstWords(there.stderr)}`,
    };
  const shown = await agent.run(
    [target.command, 'status', '-o', 'json', ...(question === undefined ? [] : ['--compare-secret'])],
    {
      asRoot: true,
      timeoutMs: STATUS_MS,
      ...(question === undefined ? {} : { input: `${JSON.stringify(question)}\n` }),
    },
  );
  if (shown.exitCode !== 0) {
    const words = shown.stderr.includes('NOT_INSTALLED')
      ? ''
      : `airbundle status does not answer: ${firstWords(shown.stderr)}`;
    return { status: null, words };
  }
  const parsed = NodeStatusSchema.safeParse(fromJson(shown.stdout));
  return parsed.success
    ? { status: parsed.data, words: '' }
    : {
        status: null,
        words: 'its airbundle is of another version: what it says of itself is not understood',
      };
}

export function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
