import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DESK } from '../e2e/install-lab.js';
import type { Stage } from './stage.js';
import { raise } from './stage.js';

const LOG = '/opt/faults/second';

/*
 * What an installation asks of a node, counted by the same library that breaks it elsewhere (shim.c): it does not
 * depend on the machine. A number that grows here is paid for on every node.
 */
describe('the work of an installation', () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await raise(1);
  });
  afterAll(() => stage.down());

  /** The programs that were started, by name, and how often. */
  const started = (calls: readonly string[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const call of calls) {
      const program = /^exec (\S+)/.exec(call)?.[1];
      if (program !== undefined) counts[program] = (counts[program] ?? 0) + 1;
    }
    return counts;
  };
  const count = (calls: readonly string[], name: string): number =>
    calls.filter((call) => call.startsWith(`${name} `)).length;

  it('is, for the first one, so many programs and so many syncs', async () => {
    const calls = await stage.calls('fresh');
    expect(started(calls)).toMatchObject({ rpm: 11, systemctl: 11, getent: 6, df: 1, rm: 2, useradd: 1 });
    // Each line of the journal, each file and each folder that got a name: no more than that.
    expect(count(calls, 'fsync')).toBe(66);
  });

  it('is, for a second one, the questions of the probe, once each, and not one sync', async () => {
    const [node = ''] = stage.nodes;
    const folder = `/media/usb/${stage.bundles.new.stem}`;
    const again = `airbundle install ${folder} --site ${DESK}/site.yaml --node lb1 -y`;
    await stage.sh(
      node,
      `printf 'export FAULT_LOG=%s LD_PRELOAD=/opt/faults/shim.so\n' ${LOG} >/opt/faults/fault`,
    );
    await stage.sh(node, again);
    const text = await stage.sh(node, `rm /opt/faults/fault; cat ${LOG}`);
    const calls = text.split('\n').map((line) => line.replace(/^\d+ /, ''));
    // rpm -qa and rpm -qf; systemctl show of firewalld, iptables and the service, and once more to check it.
    expect(started(calls)).toEqual({
      ...{ rpm: 2, systemctl: 4, getent: 2, flock: 1, uname: 1, df: 1, ip: 1, getenforce: 1 },
      '/usr/local/bin/mini': 1,
    });
    expect(['fsync', 'rename', 'write', 'open'].map((name) => count(calls, name))).toEqual([0, 0, 0, 0]);
  });
});
