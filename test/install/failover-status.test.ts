import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { askedSecret } from '../../src/install/secret-question.js';
import { readOwnView } from '../../src/install/own-view.js';
import { readFailover } from '../../src/install/failover-status.js';
import { secretQuestion } from '../../src/fleet/look.js';
import { configured, contentOf, example, siteOf } from '../configure/fixtures.js';
import { someStatus } from '../fleet/views.js';
import { rootedHost } from '../host/rooted.js';
import type { RootedOptions } from '../host/rooted.js';

const CONFIG = '/etc/keepalived/keepalived.conf';
const SECRET = 's3cret';
const ACTIVE =
  'Id=keepalived.service\nActiveState=active\nUnitFileState=enabled\nFragmentPath=/x\nActiveEnterTimestampMonotonic=1\n';

function node(answer: NonNullable<RootedOptions['answer']> = () => undefined) {
  const host = rootedHost({
    answer: (argv) => (argv[0] === 'systemctl' ? { stdout: ACTIVE } : answer(argv)),
  });
  host.put(CONFIG, contentOf(configured(siteOf(example('tts-pair'))), CONFIG));
  return host;
}

describe('what a node tells of its VRRP', () => {
  it('is its settings as they lie on the disk', async () => {
    const { keepalived, instances } = (await readFailover(node(), undefined)).vrrp;
    expect(keepalived).toBe('active');
    expect(instances).toMatchObject([
      { virtualRouterId: 51, mode: 'unicast', preempt: false, secret: 'not compared' },
    ]);
  });

  it.each([
    [SECRET, 'same'],
    ['s3cres', 'different'],
  ])('compared with %s says %s, and no form of the secret is in the answer', async (asked, said) => {
    const question = secretQuestion(asked);
    const told = (await readFailover(node(), question)).vrrp;
    expect(told.instances.map(({ secret }) => secret)).toEqual([said]);
    const text = JSON.stringify(told);
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(question?.proof);
    expect(text).not.toMatch(/[0-9a-f]{32}/);
  });

  it('asks with another salt each time, so that nobody sees that two secrets are the same', () => {
    expect(secretQuestion(SECRET)).not.toEqual(secretQuestion(SECRET));
  });

  it.each([
    ['there is no iptables', undefined, 'unknown'],
    ['iptables refuses', { exitCode: 4 }, 'unknown'],
    ['everything is let in', { stdout: '-P INPUT ACCEPT\n' }, 'open'],
    ['VRRP is not let in', { stdout: '-P INPUT ACCEPT\n-A INPUT -p vrrp -j DROP\n' }, 'closed'],
  ] as const)('when %s', async (_, iptables, state) => {
    const host = node(([program]) => (program === 'iptables' ? iptables : undefined));
    expect((await readFailover(host, undefined)).vrrp.protocol112.state).toBe(state);
  });
});

describe('the question of a jump host', () => {
  it('is one line of JSON', async () => {
    const question = secretQuestion(SECRET);
    const input = Readable.from([Buffer.from(`${JSON.stringify(question)}\n`)]);
    expect(await askedSecret(input)).toEqual(question);
  });

  it.each(['', '{}', 'x'.repeat(10_000), '{"salt":"00","proof":"00"}'])('and not "%.20s"', async (text) => {
    await expect(askedSecret(Readable.from([Buffer.from(text)]))).rejects.toMatchObject({
      code: 'BAD_QUESTION',
      exit: 2,
    });
  });
});

describe('what one node can see by ARP', () => {
  const IPUTILS = { stdout: 'arping from iputils 20210202\n' };
  const see = async (probe: { exitCode: number; stderr?: string } | undefined, version: object = IPUTILS) => {
    const host = rootedHost({
      answer: (argv) => (argv[0] !== 'arping' ? undefined : argv[1] === '-V' ? version : probe),
    });
    const view = await readOwnView(host, someStatus('lb1'));
    return [view.vips[0]?.arp, view.findings.map(({ code }) => code)];
  };

  it('is that another machine answers', async () => {
    expect(await see({ exitCode: 1 })).toEqual(['answered', []]);
  });

  it('is that nobody has the VIP', async () => {
    expect(await see({ exitCode: 0 })).toEqual(['silent', ['NO_HOLDER']]);
  });

  it('is nothing when arping itself fails, or is another program of that name', async () => {
    expect(await see({ exitCode: 1, stderr: 'arping: eth0: no such interface' })).toEqual([
      'not looked at',
      [],
    ]);
    expect(await see({ exitCode: 0 }, { stdout: 'ARPing 2.21, by Thomas Habets' })).toEqual([
      'not looked at',
      [],
    ]);
  });
});
