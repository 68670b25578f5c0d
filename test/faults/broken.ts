import type { Case, Fault } from './protocol.js';
import type { SceneName, Scenes } from './scenes.js';
import { isScene } from './scenes.js';

/*
 * A case that kills, in words that can be typed again: where it starts, and one word for each run that is
 * broken off: "fresh,kill:173,torn:67:power".
 */

/** What is killed where; `power`: rpm, builds and the lock die with it, as in a power cut. */
export type Blow =
  | { readonly kind: 'kill' | 'after' | 'torn'; readonly call: number; readonly power: boolean }
  | { readonly kind: 'moment'; readonly afterMs: number };

export interface Broken {
  readonly from: SceneName;
  readonly blows: readonly Blow[];
  /** For a person: what is called there. */
  readonly what?: string;
}

const inWords = (blow: Blow): string =>
  blow.kind === 'moment'
    ? `moment:${String(blow.afterMs)}`
    : `${blow.kind}:${String(blow.call)}${blow.power ? ':power' : ''}`;

function blowOf(word: string): Blow {
  const [, kind, number, power] = /^(kill|after|torn|moment):([1-9]\d*)(:power)?$/.exec(word) ?? [];
  if (kind === 'moment' && power === undefined) return { kind, afterMs: Number(number) };
  if (kind === 'kill' || kind === 'after' || kind === 'torn')
    return { kind, call: Number(number), power: power !== undefined };
  throw new Error(`"${word}" is none of kill:N, after:N, torn:N (each may end in :power) and moment:MS`);
}

/** @throws Error for other words */
export function parseBroken(text: string): Broken {
  const [from, ...words] = text.split(',');
  if (!isScene(from) || words.length === 0)
    throw new Error(`"${text}" is no case: FROM,KIND:N[,KIND:N], such as fresh,kill:173,kill:67:power`);
  return { from, blows: words.map(blowOf) };
}

const faultOf = (blow: Blow): Fault =>
  blow.kind === 'moment'
    ? { killAfterMs: blow.afterMs, everything: true }
    : { shim: { FAULT_AT: String(blow.call), FAULT_KIND: blow.kind }, everything: blow.power };

export function caseOf({ from, blows, what }: Broken, scenes: Scenes): Case {
  const words = [from, ...blows.map(inWords)].join(',');
  const { state, command, then = command, end } = scenes[from];
  return {
    id: what === undefined ? words : `${words} (${what})`,
    from: state,
    command,
    then,
    end,
    faults: blows.map(faultOf),
  };
}
