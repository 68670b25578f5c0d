import { describe, expect, it } from 'vitest';
import { judgeAdvert } from '../../src/configure/read-iptables.js';

const ADVERT = { from: '10.0.0.12', interface: 'eth0' };
const DROPPING = ['-P INPUT DROP', '-P FORWARD ACCEPT'];
const OPEN = ['-P INPUT ACCEPT'];

const CASES: readonly (readonly [string, readonly string[], 'open' | 'closed' | 'unknown', string])[] = [
  ['no rule and an open policy', OPEN, 'open', '-P INPUT ACCEPT'],
  ['no rule and a closed policy', DROPPING, 'closed', '-P INPUT DROP'],
  ['a rule by number', [...DROPPING, '-A INPUT -p 112 -j ACCEPT'], 'open', '-A INPUT -p 112 -j ACCEPT'],
  ['a rule by name', [...DROPPING, '-A INPUT -p vrrp -j ACCEPT'], 'open', '-A INPUT -p vrrp -j ACCEPT'],
  [
    'a rule for the peer',
    [...DROPPING, '-A INPUT -s 10.0.0.12/32 -p vrrp -j ACCEPT'],
    'open',
    '-s 10.0.0.12/32',
  ],
  ['a rule for its network', [...DROPPING, '-A INPUT -s 10.0.0.0/24 -p 112 -j ACCEPT'], 'open', '/24'],
  [
    'a rule for another host',
    [...DROPPING, '-A INPUT -s 10.0.0.99/32 -p vrrp -j ACCEPT'],
    'closed',
    '-P INPUT DROP',
  ],
  [
    'a rule for everybody but the peer',
    [...DROPPING, '-A INPUT ! -s 10.0.0.12/32 -j ACCEPT'],
    'closed',
    '-P INPUT DROP',
  ],
  [
    'a rule for another interface',
    [...DROPPING, '-A INPUT -i eth1 -p vrrp -j ACCEPT'],
    'closed',
    '-P INPUT DROP',
  ],
  [
    'a rule for TCP only',
    [...DROPPING, '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT'],
    'closed',
    '-P INPUT DROP',
  ],
  [
    'the first of two rules',
    [...OPEN, '-A INPUT -p vrrp -j DROP', '-A INPUT -p vrrp -j ACCEPT'],
    'closed',
    '-j DROP',
  ],
  [
    'EL7 as it is installed: the last rule rejects',
    [
      ...OPEN,
      '-A INPUT -i lo -j ACCEPT',
      '-A INPUT -p icmp -j ACCEPT',
      '-A INPUT -j REJECT --reject-with icmp-host-prohibited',
    ],
    'closed',
    '-j REJECT',
  ],
  [
    "firewalld's chains",
    [
      ...OPEN,
      '-N INPUT_ZONES',
      '-N IN_public',
      '-N IN_public_allow',
      '-A INPUT -j INPUT_ZONES',
      '-A INPUT -j REJECT --reject-with icmp-host-prohibited',
      '-A INPUT_ZONES -g IN_public',
      '-A IN_public -j IN_public_allow',
      '-A IN_public_allow -p vrrp -j ACCEPT',
    ],
    'open',
    '-A IN_public_allow -p vrrp -j ACCEPT',
  ],
  [
    'a chain that returns',
    [...DROPPING, '-A INPUT -j OURS', '-A OURS -s 10.0.0.12/32 -j RETURN', '-A OURS -j ACCEPT'],
    'closed',
    '-P INPUT DROP',
  ],
  [
    'a rule with a match that is not understood',
    [...DROPPING, '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'],
    'unknown',
    'unless this one matches: -A INPUT -m conntrack',
  ],
  ['an answer without a policy', ['iptables: not permitted'], 'unknown', 'says nothing'],
];

describe('what a packet filter does with VRRP adverts', () => {
  it.each(CASES)('%s', (_, rules, state, because) => {
    const verdict = judgeAdvert(rules.join('\n'), ADVERT);
    expect(verdict.state).toBe(state);
    expect(verdict.because).toContain(because);
  });

  it('does not follow chains that call each other for ever', () => {
    const rules = ['-P INPUT DROP', '-A INPUT -j ONE', '-A ONE -j OTHER', '-A OTHER -j ONE'].join('\n');
    expect(judgeAdvert(rules, ADVERT).state).toBe('closed');
  });
});
