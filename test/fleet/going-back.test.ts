import { describe, expect, it } from 'vitest';
import { chooseGoingBack, rollbackWords } from '../../src/fleet/going-back.js';
import { rollBackAll } from '../../src/fleet/roll-back.js';
import type { BundleError } from '../../src/errors.js';
import type { NodeView } from '../../src/model/cluster.js';
import type { NodeStatus } from '../../src/model/node-status.js';
import type { Mischief } from './scripted-cluster.js';
import { changes, scripted, V1, V2 } from './scripted-cluster.js';
import { away, bare, someStatus, someView } from './views.js';

const SITE = 'e'.repeat(64);
const digest = (version: number): string => String(version).repeat(64);

function at(node: string, version: number, previous: number | null, more: Partial<NodeStatus> = {}) {
  return someView(node, node === 'lb1', {
    bundle: {
      ...someStatus(node).bundle,
      ...{ version: `1.${String(version)}.0`, sequence: version, digest: digest(version) },
    },
    previous:
      previous === null
        ? null
        : { digest: digest(previous), siteDigest: SITE, name: 'tts-ha', version: `1.${String(previous)}.0` },
    ...more,
  });
}

describe('where a rollback of all nodes goes to', () => {
  it('what all had before', () => {
    const back = chooseGoingBack([at('lb1', 2, 1), at('lb2', 2, 1)], undefined);
    expect(back).toMatchObject({ title: 'tts-ha 1.1.0', goal: { digest: digest(1), siteDigest: SITE } });
    expect([...back.done]).toEqual([]);
  });

  it('what the nodes still have that a stopped rollout did not come to', () => {
    const back = chooseGoingBack([at('lb1', 1, null), at('lb2', 2, 1)], undefined);
    expect(back.goal?.digest).toBe(digest(1));
    expect([...back.done]).toEqual(['lb1']);
  });

  it('on with a rollback that was stopped half way', () => {
    const back = chooseGoingBack([at('lb1', 2, 1), at('lb2', 1, 0)], undefined);
    expect([back.goal?.digest, [...back.done]]).toEqual([digest(1), ['lb2']]);
  });

  it('the site file before, where only that was changed', () => {
    const before = { digest: digest(2), siteDigest: 'a'.repeat(64), name: 'tts-ha', version: '1.2.0' };
    const views = ['lb1', 'lb2'].map((name) => at(name, 2, null, { previous: before }));
    const back = chooseGoingBack(views, undefined);
    expect(back.goal).toEqual({ digest: digest(2), siteDigest: 'a'.repeat(64) });
    expect(rollbackWords(back, views[0]?.status ?? null)).toEqual([]);
  });

  it('nothing, where the release was the first', () => {
    const back = chooseGoingBack([at('lb1', 1, null), bare('lb2')], undefined);
    expect([back.goal, [...back.done]]).toEqual([null, ['lb2']]);
  });

  it('nowhere when the nodes had different releases before', () => {
    expect(() => chooseGoingBack([at('lb1', 3, 2), at('lb2', 3, 1)], undefined)).toThrow(
      expect.objectContaining({ code: 'NODES_DISAGREE', exit: 5 }) as Error,
    );
  });

  it('nowhere when one of them cannot say what was before', () => {
    expect(() =>
      chooseGoingBack([at('lb1', 2, 1), at('lb2', 2, null, { canGoBack: false })], undefined),
    ).toThrow(/cannot go back together: what was before is not recorded on lb2/);
  });

  it('nowhere when nothing is installed', () => {
    expect(() => chooseGoingBack([bare('lb1'), bare('lb2')], undefined)).toThrow(
      expect.objectContaining({ code: 'NOTHING_TO_UNDO' }) as Error,
    );
  });

  const thrownBy = (views: NodeView[]) => {
    try {
      chooseGoingBack(views, undefined);
    } catch (error) {
      return error as BundleError;
    }
    throw new Error('it was not refused');
  };

  it('nowhere when one of them cannot be asked, in its own words', () => {
    const unread = someView(
      'lb3',
      false,
      {},
      { status: null, words: 'airbundle status does not answer: Killed' },
    );
    const error = thrownBy([at('lb1', 2, 1), away('lb2'), unread, bare('lb4')]);
    expect(error.message).toContain(
      'what is on lb2 and lb3 is not known, and what was before is not recorded on lb4',
    );
    expect(error.details.slice(1)).toEqual([
      'lb2: cannot be asked: connection refused',
      'lb3: airbundle status does not answer: Killed',
      'lb4: no bundle',
    ]);
  });

  it('nowhere when nothing is committed, with what takes an unfinished first installation back', () => {
    const error = thrownBy([bare('lb1'), away('lb2')]);
    expect(error.code).toBe('NOTHING_TO_UNDO');
    expect(error.details).toEqual(['lb1: no bundle', 'lb2: cannot be asked: connection refused']);
    expect(error.hint).toContain('/var/lib/airbundle/incoming');
    expect(error.hint).toContain('sh install.sh rollback --key KEY --fingerprint FINGERPRINT');
  });

  it('the digest that is given, when the nodes disagree', () => {
    const back = chooseGoingBack([at('lb1', 3, 2), at('lb2', 3, 1)], digest(2).slice(0, 8));
    expect(back.goal?.digest).toBe(digest(2));
    expect(rollbackWords(back, at('lb1', 3, 2).status)).toEqual(['--to', digest(2)]);
  });

  it('not a digest that is none, or that nobody had', () => {
    const views = [at('lb1', 2, 1)];
    expect(() => chooseGoingBack(views, 'yesterday')).toThrow(expect.objectContaining({ exit: 2 }) as Error);
    expect(() => chooseGoingBack(views, 'abcdef12')).toThrow(expect.objectContaining({ exit: 5 }) as Error);
  });
});

describe('a rollback over scripted nodes', () => {
  const back = (all: ReturnType<typeof scripted>, isCheck = false) =>
    rollBackAll({ ...all.given(), isCheck, to: undefined });

  it('goes in the order of a rollout, with the hand-over', async () => {
    const all = scripted({ count: 3, installed: [V2, V1] });
    const report = await back(all);
    expect(changes(all)).toEqual(['rollback lb3', 'rollback lb2', 'stop lb1', 'start lb1', 'rollback lb1']);
    expect(report).toMatchObject({ outcome: 'done', title: 'back to tts-ha 1.0.0' });
    expect(all.seen).toEqual({ most: 1, least: 1 });
  });

  it('hands nothing over where haproxy is only reloaded', async () => {
    const all = scripted({ count: 3, installed: [V2, V1], haproxyIs: 'reloaded' });
    expect((await back(all)).outcome).toBe('done');
    expect(changes(all)).toEqual(['rollback lb3', 'rollback lb2', 'rollback lb1']);
    expect(all.holders()).toEqual(['lb1']);
  });

  it('hands over where a package is erased, or the plan is not understood', async () => {
    const planned = (text: string) => {
      const mischief: Mischief = (event) => (event === 'dry-run' ? { exitCode: 0, stdout: text } : undefined);
      return scripted({ installed: [V2, V1], haproxyIs: 'reloaded', mischief });
    };
    const services = { stop: [], disable: [], act: [] };
    for (const text of [
      JSON.stringify({ plan: { services, packages: { erase: ['gcc-4.8.5-28.el7.x86_64'], putBack: [] } } }),
      '{}',
    ]) {
      const all = planned(text);
      await back(all);
      expect(changes(all)).toContain('stop lb1');
    }
  });

  it('asks every node whether it can before the first one does', async () => {
    const all = scripted({
      count: 3,
      installed: [V2, V1],
      mischief: (event, node) =>
        event === 'dry-run' && node.name === 'lb1'
          ? { exitCode: 5, stderr: 'error[NO_UNDO]: not recorded' }
          : undefined,
    });
    await expect(back(all)).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      details: ['lb1: error[NO_UNDO]: not recorded'],
    });
    expect(changes(all)).toEqual([]);
  });

  it('takes the service away only at the end of a rollback to nothing', async () => {
    const all = scripted({ count: 2, installed: [V1] });
    const report = await back(all);
    expect(report.outcome).toBe('done');
    expect(changes(all)).toEqual(['rollback lb2', 'rollback lb1']);
    expect(all.holders()).toEqual([]);
  });

  it('stops at the first failure, and goes on with the same command', async () => {
    let isBroken = true;
    const all = scripted({
      count: 3,
      installed: [V2, V1],
      mischief: (event, node) =>
        isBroken && event === 'rollback' && node.name === 'lb2'
          ? { exitCode: 6, log: 'error[X]: no', wasRunning: false }
          : undefined,
    });
    const first = await back(all);
    expect(first.failure).toMatchObject({ node: 'lb2', message: 'rollback on lb2 ended with exit code 6' });
    isBroken = false;
    all.events.length = 0;
    expect((await back(all)).outcome).toBe('done');
    expect(changes(all)).toEqual(['rollback lb2', 'stop lb1', 'start lb1', 'rollback lb1']);
  });

  const killed = { kind: 'install', run: 'r2' };
  const release = (all: ReturnType<typeof scripted>, name: string) => all.node(name).history[0]?.version;

  it('takes back only the killed install where the release below it is the goal', async () => {
    const all = scripted({ installed: [V1] });
    all.node('lb2').history = [V2, V1];
    all.node('lb1').unfinished = killed;
    expect((await back(all)).outcome).toBe('done');
    expect(changes(all)).toEqual(['rollback lb2', 'stop lb1', 'start lb1', 'rollback lb1']);
    expect(all.nodes.map(({ name }) => release(all, name))).toEqual(['1.0.0', '1.0.0']);
  });

  it('does nothing more where a rollback that was out of sight ends just before it is asked for again', async () => {
    const all = scripted({
      installed: [V1],
      mischief: (event, node) => {
        if (event === 'rollback') node.unfinished = null;
        return undefined;
      },
    });
    all.node('lb2').history = [V2, V1];
    all.node('lb1').unfinished = { kind: 'rollback', run: 'r3' };
    expect((await back(all)).outcome).toBe('done');
    expect(release(all, 'lb1')).toBe('1.0.0');
  });

  // The release that all have served for months: it was taken off all of them, since no node had a newer one.
  it('takes back a killed install alone where the rollout committed nothing yet', async () => {
    const all = scripted({ installed: [V1] });
    all.node('lb2').unfinished = killed;
    expect((await back(all)).outcome).toBe('done');
    expect(changes(all)).toEqual(['rollback lb2']);
    expect(all.nodes.map(({ name }) => release(all, name))).toEqual(['1.0.0', '1.0.0']);
  });

  it('takes back a killed install of another site file alone where the rollout committed nothing yet', async () => {
    const old = { ...V1, siteDigest: 'a'.repeat(64) };
    const all = scripted({ installed: [V1, old], haproxyIs: 'reloaded' });
    all.node('lb1').unfinished = killed;
    expect((await back(all)).outcome).toBe('done');
    expect(changes(all)).toContain('rollback lb1');
    expect(changes(all)).not.toContain('rollback lb2');
    expect(all.nodes.map(({ history }) => history)).toEqual([
      [V1, old],
      [V1, old],
    ]);
  });

  const agreedAfter = (all: ReturnType<typeof scripted>, meanwhile: () => void) =>
    rollBackAll({
      ...all.given({
        confirm: async () => {
          meanwhile();
          return true;
        },
      }),
      to: undefined,
    });

  it('goes by what the nodes are when somebody has said yes', async () => {
    const all = scripted({ installed: [V2, V1] });
    const report = await agreedAfter(all, () => {
      all.node('lb2').history = [V1];
    });
    expect(report.nodes.map(({ outcome }) => outcome)).toEqual(['changed', 'was there']);
    expect(changes(all)).toEqual(['stop lb1', 'start lb1', 'rollback lb1']);
  });

  it('refuses when the nodes are not fit any more', async () => {
    const all = scripted({ installed: [V2, V1] });
    const rollout = agreedAfter(all, () => {
      all.node('lb2').isDeaf = true;
    });
    await expect(rollout).rejects.toMatchObject({ code: 'PREFLIGHT_FAILED', exit: 5 });
    expect(changes(all)).toEqual([]);
  });

  it('refuses when it would go to another release than the one that was agreed to', async () => {
    const all = scripted({ installed: [V2, V1] });
    const rollout = agreedAfter(all, () => {
      for (const node of all.nodes) node.history = [V1];
    });
    await expect(rollout).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      exit: 5,
      details: ['it would be a rollback to no bundle by now, not to tts-ha 1.0.0'],
    });
    expect(changes(all)).toEqual([]);
  });

  it('changes nothing with --check', async () => {
    const all = scripted({ installed: [V2, V1] });
    expect([(await back(all, true)).outcome, changes(all)]).toEqual(['checked', []]);
  });
});
