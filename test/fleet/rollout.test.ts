import { describe, expect, it } from 'vitest';
import { deployRelease } from '../../src/fleet/deploy-release.js';
import { renderReport, rolloutError } from '../../src/fleet/report-rollout.js';
import type { Mischief } from './scripted-cluster.js';
import { changes, scripted, V1, V2 } from './scripted-cluster.js';

const SIX = ['lb1', 'lb2', 'lb3', 'lb4', 'lb5', 'lb6'];
/** Backups from the lowest priority up, then the one that serves. */
const ORDER = ['lb6', 'lb5', 'lb4', 'lb3', 'lb2', 'lb1'];
const COMMANDS = { goOn: 'bundle deploy X', goBack: 'bundle deploy --rollback' };

const on =
  (event: string, node: string, answer: ReturnType<Mischief>): Mischief =>
  (happens, at) =>
    happens === event && at.name === node ? answer : undefined;

const failedRun = {
  exitCode: 6,
  log: 'building\nerror[BUILD_FAILED]: make failed\n  next: look',
  wasRunning: false,
};

describe('a rollout over scripted nodes', () => {
  it('upgrades the backups first, hands over, and changes the one that served last', async () => {
    const all = scripted({ count: 3 });
    const report = await deployRelease(all.given());
    expect(changes(all)).toEqual(['install lb3', 'install lb2', 'stop lb1', 'start lb1', 'install lb1']);
    expect(report.outcome).toBe('done');
    expect(all.holders()).toEqual(['lb2']);
    expect(all.seen).toEqual({ most: 1, least: 1 });
  });

  it('looks at, sends to and plans every node before it changes the first', async () => {
    const all = scripted({ count: 3 });
    await deployRelease(all.given());
    const first = all.events.indexOf('install lb3');
    for (const name of ['lb1', 'lb2', 'lb3']) {
      expect(all.events.indexOf(`upload ${name}`)).toBeLessThan(first);
      expect(all.events.indexOf(`plan ${name}`)).toBeLessThan(first);
    }
  });

  it('installs the node of the highest priority first where nothing serves, and has one holder at the end', async () => {
    const all = scripted({ count: 3, installed: [] });
    const report = await deployRelease(all.given());
    expect(changes(all)).toEqual(['install lb1', 'install lb2', 'install lb3']);
    expect(all.holders()).toEqual(['lb1']);
    expect(report.nodes.map(({ outcome }) => outcome)).toEqual(['changed', 'changed', 'changed']);
  });

  it('hands nothing over where haproxy is only reloaded: the standby first, and the VIP stays', async () => {
    const all = scripted({ count: 3, haproxyIs: 'reloaded' });
    let shown = '';
    const report = await deployRelease(
      all.given({
        confirm: async (text) => {
          shown = text;
          return true;
        },
      }),
    );
    expect(changes(all)).toEqual(['install lb3', 'install lb2', 'install lb1']);
    expect([report.outcome, all.holders()]).toEqual(['done', ['lb1']]);
    expect(shown).toContain(
      '  3.  lb1  tts-ha 1.0.0 → tts-ha 1.1.0  holds tts  1 step (services); reload haproxy',
    );
  });

  it('changes nothing the second time', async () => {
    const all = scripted({ installed: [V2, V1] });
    const report = await deployRelease(all.given());
    expect(report.outcome).toBe('unchanged');
    expect(changes(all)).toEqual([]);
    expect(renderReport(report)).toContain('every node had it already; nothing was changed');
  });

  it('changes nothing with --check, and says for each node what would happen', async () => {
    const all = scripted({ count: 3 });
    let shown = '';
    const report = await deployRelease(
      all.given({
        isCheck: true,
        confirm: async (text) => {
          shown = text;
          return true;
        },
      }),
    );
    expect(report.outcome).toBe('checked');
    expect(renderReport(report)).toBe(
      'tts-ha 1.1.0: this was the check only; nothing that runs was changed\n',
    );
    expect(changes(all)).toEqual([]);
    expect(shown.split('\n').slice(0, 4)).toEqual([
      'Rollout of tts-ha 1.1.0 to bank, one node after the other',
      '  1.  lb3  tts-ha 1.0.0 → tts-ha 1.1.0  standby                      1 step (services); restart haproxy; about 60 s',
      '  2.  lb2  tts-ha 1.0.0 → tts-ha 1.1.0  standby                      1 step (services); restart haproxy; about 60 s',
      '  3.  lb1  tts-ha 1.0.0 → tts-ha 1.1.0  holds tts, hands over first  1 step (services); restart haproxy; about 60 s',
    ]);
  });

  it('changes nothing when the answer is no', async () => {
    const all = scripted();
    const report = await deployRelease(all.given({ confirm: async () => false }));
    expect([report.outcome, changes(all)]).toEqual(['declined', []]);
  });

  it('keeps keepalived stopped during the installation where the site lets nodes preempt, and starts it after', async () => {
    const all = scripted();
    for (const node of all.nodes) node.preempt = true;
    await deployRelease(all.given());
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'install lb1', 'start lb1']);
    expect(all.holders()).toEqual(['lb1']);
  });

  it('starts keepalived again after a failed installation there, too', async () => {
    const all = scripted({ mischief: on('install', 'lb1', failedRun) });
    for (const node of all.nodes) node.preempt = true;
    const report = await deployRelease(all.given());
    expect(report.outcome).toBe('failed');
    expect(all.node('lb1').keepalived).toBe('active');
  });

  it('changes only the nodes that were named, and looks at the others', async () => {
    const all = scripted({ count: 3 });
    const report = await deployRelease(all.given({ cluster: { ...all.cluster, chosen: new Set(['lb3']) } }));
    expect(changes(all)).toEqual(['install lb3']);
    expect(report.nodes.map(({ outcome }) => outcome)).toEqual(['left out', 'left out', 'changed']);
  });

  it('installs a node that is new after the one that serves', async () => {
    const all = scripted({ count: 3 });
    Object.assign(all.node('lb3'), { history: [], keepalived: 'inactive' });
    expect((await deployRelease(all.given())).outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'start lb1', 'install lb1', 'install lb3']);
  });

  it('goes on while a node that was not named is away, and says so before', async () => {
    const all = scripted({ count: 3 });
    all.node('lb2').isAway = true;
    let shown = '';
    const report = await deployRelease(
      all.given({
        cluster: { ...all.cluster, chosen: new Set(['lb3']) },
        confirm: async (text) => {
          shown = text;
          return true;
        },
      }),
    );
    expect([report.outcome, changes(all)]).toEqual(['done', ['install lb3']]);
    expect(shown).toContain('note: lb2 cannot be asked: connection refused');
  });

  it('stops between two nodes when it is asked to', async () => {
    const all = scripted({ count: 3 });
    const interrupted = (): boolean => all.events.includes('install lb3');
    const report = await deployRelease(all.given({ cluster: { ...all.cluster, interrupted } }));
    expect(report.outcome).toBe('stopped');
    expect(changes(all)).toEqual(['install lb3']);
  });
});

describe('what a rollout refuses before the first change', () => {
  const refusedWith = async (
    mischief: Mischief,
    prepare: (all: ReturnType<typeof scripted>) => void = () => undefined,
  ) => {
    const all = scripted({ count: 6, mischief });
    prepare(all);
    const error = await deployRelease(all.given()).then(
      () => undefined,
      (caught: unknown) => caught as { exit: number; code: string; details: string[] },
    );
    expect(error?.exit).toBe(5);
    expect(error?.code).toBe('PREFLIGHT_FAILED');
    expect(changes(all)).toEqual([]);
    return { all, details: error?.details.join('\n') ?? '' };
  };
  const nothing: Mischief = () => undefined;

  it.each(SIX)('%s cannot be reached', async (name) => {
    const { details } = await refusedWith(nothing, (all) => {
      all.node(name).isAway = true;
    });
    expect(details).toContain(`${name} cannot be asked: connection refused`);
  });

  it.each(SIX)(
    '%s goes away in the middle of the upload; the others are sent to all the same',
    async (name) => {
      const { all, details } = await refusedWith((event, node) => {
        if (event === 'upload' && node.name === name) node.isAway = true;
        return undefined;
      });
      expect(details).toContain(`${name}: error[UNREACHABLE]: connection refused`);
      expect(all.events.filter((event) => event.startsWith('upload'))).toHaveLength(6);
    },
  );

  it.each(SIX)('%s refuses its plan', async (name) => {
    const { details } = await refusedWith(
      on('plan', name, {
        exitCode: 4,
        stderr: 'error[BAD_CHECKSUM]: the copy is not what was signed\n  next: copy it again',
      }),
    );
    expect(details).toContain(`${name}: error[BAD_CHECKSUM]: the copy is not what was signed`);
  });

  it.each(SIX)('%s answers, but does not say what is installed there', async (name) => {
    const { details } = await refusedWith(
      on('status', name, {
        exitCode: 1,
        stderr: 'error[BAD_RECEIPT]: receipt.json is no JSON\n  next: look',
      }),
    );
    expect(details).toBe(
      `${name}: airbundle status does not answer: error[BAD_RECEIPT]: receipt.json is no JSON\n  next: on ${name}: airbundle status`,
    );
  });

  it('a node that is not changed, but stands by, does not say what is installed there', async () => {
    const all = scripted({ mischief: on('status', 'lb2', { exitCode: 1, stderr: 'Killed' }) });
    const cluster = { ...all.cluster, chosen: new Set(['lb1']) };
    await expect(deployRelease(all.given({ cluster }))).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      exit: 5,
    });
    expect(changes(all)).toEqual([]);
  });

  it('but not a status that fails once', async () => {
    let times = 0;
    const all = scripted({
      mischief: (event, node) =>
        event === 'status' && node.name === 'lb2' && times++ === 0
          ? { exitCode: 1, stderr: 'Killed' }
          : undefined,
    });
    expect((await deployRelease(all.given())).outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'start lb1', 'install lb1']);
  });

  it('two nodes hold the VIP', async () => {
    const { details } = await refusedWith(nothing, (all) => {
      all.node('lb4').isDeaf = true;
    });
    expect(details).toContain('held by lb1 and lb4 at the same time: their settings are the same');
  });

  it('says the reasons of all nodes at once', async () => {
    const { details } = await refusedWith((event, node) =>
      event === 'plan' && node.name !== 'lb1' ? { exitCode: 4, stderr: 'error[X]: no' } : undefined,
    );
    expect(details.split('\n')).toHaveLength(5);
  });
});

describe('a rollout whose nodes have changed while the question was open', () => {
  /** @param meanwhile what happens before somebody says yes */
  const agreedAfter = (all: ReturnType<typeof scripted>, meanwhile: () => void) =>
    deployRelease(
      all.given({
        confirm: async () => {
          meanwhile();
          return true;
        },
      }),
    );
  /** The VIP goes from lb1 to lb2, as after a failed check that is well again. */
  const failOver = (all: ReturnType<typeof scripted>) => async () => {
    all.node('lb1').haproxy = 'failed';
    await all.cluster.agents[0]!.run(['ip', '-o', '-4', 'addr', 'show']);
    all.node('lb1').haproxy = 'active';
  };

  it('goes by who serves now, and says so', async () => {
    const all = scripted();
    const report = await deployRelease(
      all.given({
        confirm: async () => {
          await failOver(all)();
          return true;
        },
      }),
    );
    expect(report.outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb1', 'stop lb2', 'start lb2', 'install lb2']);
    expect(all.warnings).toEqual([
      'warning: VIP tts went from lb1 to lb2 since the nodes were first looked at',
      'warning: the order is not that of the outline any more: lb1, lb2',
    ]);
    expect(all.seen).toEqual({ most: 1, least: 1 });
  });

  it('says nothing when all is as it was', async () => {
    const all = scripted();
    await deployRelease(all.given());
    expect(all.warnings).toEqual([]);
  });

  it('does not blame a node for a backend that went down before its change', async () => {
    const all = scripted();
    const report = await agreedAfter(all, () => {
      for (const node of all.nodes) node.backend = 'DOWN';
    });
    expect(report.outcome).toBe('done');
  });

  it('refuses two holders', async () => {
    const all = scripted();
    const rollout = agreedAfter(all, () => {
      all.node('lb2').isDeaf = true;
    });
    await expect(rollout).rejects.toMatchObject({ code: 'PREFLIGHT_FAILED', exit: 5 });
    expect(changes(all)).toEqual([]);
  });

  it('refuses a node that went away', async () => {
    const all = scripted();
    const rollout = agreedAfter(all, () => {
      all.node('lb2').isAway = true;
    });
    await expect(rollout).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      details: ['lb2 cannot be asked: connection refused'],
    });
    expect(changes(all)).toEqual([]);
  });

  it('refuses a virtual router id that would split them by now', async () => {
    const all = scripted();
    const rollout = agreedAfter(all, () => {
      all.node('lb2').virtualRouterId = 77;
    });
    await expect(rollout).rejects.toMatchObject({ code: 'VRRP_WOULD_SPLIT', exit: 5 });
    expect(changes(all)).toEqual([]);
  });

  it('changes a node that had everything and does not have it any more, with a hand-over', async () => {
    const all = scripted({ haproxyIs: 'reloaded' });
    all.node('lb1').history = [V2, V1];
    await agreedAfter(all, () => {
      all.node('lb1').history = [V1];
    });
    // What its plan said, a reload at most, was said of another state.
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'start lb1', 'install lb1']);
  });
});

describe('a rollout that fails on the way', () => {
  it.each(SIX)('ends at %s when its installation fails, and the service goes on', async (name) => {
    const all = scripted({ count: 6, mischief: on('install', name, failedRun) });
    const report = await deployRelease(all.given());
    const at = ORDER.indexOf(name);
    expect(report.failure).toMatchObject({ node: name, stage: 'change' });
    expect(report.failure?.details).toEqual(['error[BUILD_FAILED]: make failed', '  next: look']);
    for (const [index, other] of ORDER.entries())
      expect(report.nodes.find(({ node }) => node === other)?.outcome).toBe(
        index < at ? 'changed' : index === at ? 'failed' : 'not begun',
      );
    expect(all.holders()).toHaveLength(1);
    expect(all.seen).toEqual({ most: 1, least: 1 });
    expect(all.node(name).keepalived).toBe('active');
  });

  it.each(SIX)('ends at %s when it goes away during its installation', async (name) => {
    const all = scripted({
      count: 6,
      mischief: (event, node) => {
        if (event === 'install' && node.name === name) node.isAway = true;
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(report.failure).toMatchObject({ node: name, stage: 'change', message: 'connection refused' });
    expect(report.nodes.find(({ node }) => node === name)).toMatchObject({
      now: 'not reachable',
      outcome: 'failed',
    });
    expect(all.holders()).toHaveLength(1);
  });

  it.each(SIX)('ends at %s when its service does not come up again', async (name) => {
    const all = scripted({
      count: 6,
      mischief: (event, node) => {
        if (event === 'installed' && node.name === name) node.haproxy = 'failed';
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(report.failure).toMatchObject({ node: name, stage: 'check' });
    expect(report.failure?.details).toContain('haproxy.service is failed');
    expect(changes(all).filter((event) => event.startsWith('install'))).toHaveLength(ORDER.indexOf(name) + 1);
  });

  it.each(SIX)('ends at %s when it no longer sees a backend that it saw up', async (name) => {
    const all = scripted({
      count: 6,
      mischief: (event, node) => {
        if (event === 'installed' && node.name === name) node.backend = 'DOWN';
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(report.failure?.details).toEqual(['backend tts/tts1 is DOWN (L7OK), and was up before']);
  });

  it('ends when a node that is not being changed goes away', async () => {
    const all = scripted({
      count: 6,
      mischief: (event, node, { nodes }) => {
        if (event === 'install' && node.name === 'lb5') nodes[2]!.isAway = true;
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(report.failure).toMatchObject({ node: 'lb5', stage: 'check' });
    expect(report.failure?.details).toContain('lb3 cannot be asked: connection refused');
    expect(report.nodes.find(({ node }) => node === 'lb4')?.outcome).toBe('not begun');
  });

  it('ends when a changed node holds the VIP beside the one that serves', async () => {
    const all = scripted({
      count: 6,
      mischief: (event, node) => {
        if (event === 'installed' && node.name === 'lb6') node.isDeaf = true;
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(report.failure).toMatchObject({ node: 'lb6', stage: 'check' });
    expect(report.failure?.details[0]).toContain('held by lb1 and lb6 at the same time');
  });

  it('leaves the active node alone when nobody could take over', async () => {
    const all = scripted();
    all.node('lb2').keepalived = 'inactive';
    const report = await deployRelease(all.given({ cluster: { ...all.cluster, chosen: new Set(['lb1']) } }));
    expect(report.failure).toMatchObject({ node: 'lb1', stage: 'hand over' });
    expect(report.failure?.message).toContain('no other node could take over from lb1');
    expect(changes(all)).toEqual([]);
  });

  it('leaves the active node alone when the other one is away: that does not make it new', async () => {
    const all = scripted();
    all.node('lb2').isAway = true;
    let shown = '';
    const report = await deployRelease(
      all.given({
        cluster: { ...all.cluster, chosen: new Set(['lb1']) },
        confirm: async (text) => {
          shown = text;
          return true;
        },
      }),
    );
    expect(report.failure).toMatchObject({ node: 'lb1', stage: 'hand over', code: 'NO_HEIR' });
    expect(changes(all)).toEqual([]);
    expect(shown).toContain('holds tts, hands over first');
  });

  it('starts keepalived again when the failover does not happen', async () => {
    const all = scripted({
      mischief: (event, _node, { nodes }) => {
        // From here on the other one cannot become master.
        if (event === 'stop') nodes[1]!.haproxy = 'failed';
        return undefined;
      },
    });
    const report = await deployRelease(all.given());
    expect(changes(all)).toEqual(['install lb2', 'stop lb1', 'start lb1']);
    expect(report.failure).toMatchObject({ node: 'lb1', stage: 'hand over' });
    expect(report.failure?.message).toContain(
      'no other node took over from lb1 within 20 s; keepalived was started again there',
    );
    expect(all.holders()).toEqual(['lb1']);
  });

  it('goes on with the same command: nodes that are done are checked and not changed', async () => {
    let isBroken = true;
    const all = scripted({
      count: 6,
      mischief: (event, node) =>
        isBroken && event === 'install' && node.name === 'lb3' ? failedRun : undefined,
    });
    expect((await deployRelease(all.given())).outcome).toBe('failed');
    isBroken = false;
    all.events.length = 0;
    const report = await deployRelease(all.given());
    expect(report.outcome).toBe('done');
    expect(changes(all)).toEqual(['install lb3', 'install lb2', 'stop lb1', 'start lb1', 'install lb1']);
    expect(report.nodes.map(({ outcome }) => outcome)).toEqual([
      ...['changed', 'changed', 'changed', 'was there', 'was there', 'was there'],
    ]);
  });

  it('says who has which release, who serves, and how to go on and back', async () => {
    const all = scripted({ count: 3, mischief: on('install', 'lb2', failedRun) });
    const error = rolloutError(await deployRelease(all.given()), COMMANDS);
    expect(error.exit).toBe(7);
    expect(error.message).toBe(
      'the rollout ended at lb2 (change): install on lb2 ended with exit code 6; changed before it: lb3',
    );
    expect(error.details).toEqual([
      'error[BUILD_FAILED]: make failed',
      '  next: look',
      'lb1: tts-ha 1.0.0, not begun',
      'lb2: tts-ha 1.0.0, failed',
      'lb3: tts-ha 1.1.0, changed',
      'VIP tts: lb1',
    ]);
    expect(error.hint).toContain('To go on, when its cause is mended: bundle deploy X');
    expect(error.hint).toContain('To go back: bundle deploy --rollback');
  });

  it('does not advise to go back where the first node took itself back: the release before would go', async () => {
    const all = scripted({ mischief: on('install', 'lb2', failedRun) });
    const { hint } = rolloutError(await deployRelease(all.given()), COMMANDS);
    expect(hint).not.toContain(COMMANDS.goBack);
    expect(hint).toContain('there is nothing to go back from');
  });

  it('advises to go back where the first node was killed over what it had', async () => {
    const all = scripted({
      mischief: (event, node) => {
        if (event !== 'install' || node.name !== 'lb2') return undefined;
        node.unfinished = { kind: 'install', run: 'r9' };
        return { exitCode: null, log: '', wasRunning: false };
      },
    });
    const { hint } = rolloutError(await deployRelease(all.given()), COMMANDS);
    expect(hint).toContain(`To go back: ${COMMANDS.goBack}`);
  });

  it('never takes an installation that was ended by a signal for a success', async () => {
    const all = scripted({ mischief: on('install', 'lb2', { exitCode: null, log: '', wasRunning: false }) });
    const report = await deployRelease(all.given());
    expect(report.failure?.message).toBe('install on lb2 was ended before its end');
  });

  it('does not believe an installer that says 0 and has not installed', async () => {
    const all = scripted({ mischief: on('install', 'lb2', { exitCode: 0, log: '', wasRunning: false }) });
    const report = await deployRelease(all.given());
    expect(report.failure).toMatchObject({ node: 'lb2', stage: 'check' });
    expect(report.failure?.details[0]).toContain('what is installed is tts-ha 1.0.0');
  });
});
