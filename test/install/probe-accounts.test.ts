import { describe, expect, it } from 'vitest';
import { makePlan } from '../../src/install/plan.js';
import { probe } from '../../src/install/probe.js';
import type { Rooted, RootedOptions } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import { planRequest, someConfiguration } from './facts.js';

type Answer = NonNullable<RootedOptions['answer']>;

/** SSSD with enumerate=false: its accounts answer to their names and numbers, and stand in no list. */
const DIRECTORY: Readonly<Record<string, readonly string[]>> = {
  passwd: ['hello:*:5001:5002::/:', 'builder:*:47801:5003::/:'],
  group: ['hello:*:5002:', 'builders:*:47802:'],
};
const LOCAL: Readonly<Record<string, readonly string[]>> = {
  passwd: ['root:x:0:0:root:/root:/bin/bash', 'old:x:990:47803::/:/sbin/nologin'],
  group: ['root:x:0:'],
};

describe('the accounts of a node', () => {
  const getent: Answer = ([, database = '', ...keys]) => {
    const [local = [], remote = []] = [LOCAL[database], DIRECTORY[database]];
    if (keys.length === 0) return { stdout: local.join('\n') };
    const found = keys.flatMap((key) =>
      [...local, ...remote].filter((line) => [line.split(':')[0], line.split(':')[2]].includes(key)),
    );
    return { exitCode: found.length === keys.length ? 0 : 2, stdout: `${found.join('\n')}\n` };
  };
  const node = (answered: Answer = getent): Rooted => {
    const host = rootedHost({
      answer: (argv) =>
        argv[0] === 'getent' ? answered(argv) : argv[0] === 'rpm' ? { stdout: '' } : undefined,
    });
    for (const [database, lines] of Object.entries(LOCAL))
      host.put(`/etc/${database}`, `${lines.join('\n')}\n+::::::\n`);
    return host;
  };
  const request = { configuration: someConfiguration(), receipt: undefined, contents: undefined };

  it('are those of a directory service too, which lists none', async () => {
    const facts = await probe(node(), request);
    expect(facts.users.get('hello')).toEqual({ uid: 5001, gid: 5002 });
    expect(facts.groups.get('hello')).toBe(5002);
    expect(facts.users.get('root')).toEqual({ uid: 0, gid: 0 });
    expect([...facts.users.keys()].sort()).toEqual(['builder', 'hello', 'old', 'root']);
    const { steps } = makePlan(planRequest({ configuration: request.configuration, facts }));
    expect(steps.filter(({ kind }) => kind === 'users')).toEqual([]);
    // 47801 is a user there, 47802 a group there, 47803 the group of a user here.
    const build = steps.find((step) => step.kind === 'build');
    expect(build?.kind === 'build' && build.jobs.map(({ uid }) => uid)).toEqual([47_804]);
  });

  it('take one question each for users and groups', async () => {
    const host = node();
    await probe(host, request);
    const asked = host.commands.filter((command) => command.startsWith('getent'));
    expect(asked).toEqual([
      expect.stringMatching(/^getent passwd hello root 47801 .* 47899$/),
      expect.stringMatching(/^getent group hello root 47801 .* 47899$/),
    ]);
  });

  it('are not taken for missing when the directory service does not answer', async () => {
    const dead = node(() => ({ exitCode: null, signal: 'SIGTERM', timedOut: true }));
    await expect(probe(dead, request)).rejects.toMatchObject({
      exit: 5,
      message: expect.stringContaining('does not answer') as string,
      details: [expect.stringMatching(/^getent (passwd|group) did not end within 30 s$/)],
      where: '/etc/nsswitch.conf',
      hint: expect.stringContaining('time getent') as string,
    });
  });
});
