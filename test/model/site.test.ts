import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BundleError, EXIT } from '../../src/errors.js';
import { neighbourProblem } from '../../src/model/site-neighbours.js';
import { nodeOf, parseSite } from '../../src/model/site.js';
import type { Site } from '../../src/model/site.js';
import { durationMs } from '../../src/model/scalars.js';
import { parseSecret } from '../../src/model/vrrp-secret.js';

const MINIMAL = readFileSync(new URL('../../manifests/sites/tts-pair.yaml', import.meta.url), 'utf8');
const FULL = readFileSync(new URL('../../manifests/sites/tts-full.yaml', import.meta.url), 'utf8');

const parse = (text: string): Site => parseSite(new TextEncoder().encode(text), 'site.yaml');

/** The minimal site with one text replaced; the text must be there. */
function changed(from: string, to: string, text = MINIMAL): string {
  expect(text).toContain(from);
  return text.replace(from, to);
}

function refusal(action: () => unknown): BundleError {
  try {
    action();
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

const problemsOf = (text: string): string[] =>
  refusal(() => parse(text)).details.filter((line) => line.startsWith('site.yaml:'));

describe('a site file', () => {
  it('is short for a pair: every default is filled in', () => {
    expect(
      MINIMAL.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
    ).toBeLessThanOrEqual(25);
    const site = parse(MINIMAL);
    expect(site.nodes.map((node) => node.priority)).toEqual([150, 100]);
    expect(site.services[0]).toMatchObject({
      bind: '10.20.0.10',
      balance: 'roundrobin',
      idempotent: true,
      check: { kind: 'grpc', interval: '2s', rise: 2, fall: 3 },
      timeouts: { connect: '5s', server: '10m' },
    });
    expect(site.haproxy).toEqual({ maxConnections: 10_000, hardStopAfter: '30m', checkPort: 8404 });
  });

  it('takes every shipped example', () => {
    const folder = new URL('../../manifests/sites/', import.meta.url);
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml')))
      expect(() => parseSite(readFileSync(new URL(file, folder)), file), file).not.toThrow();
  });

  it('may have a single node', () => {
    const one = changed('  - { name: lb2, address: 10.20.0.12, interface: eth0, role: secondary }\n', '');
    expect(parse(one).nodes).toHaveLength(1);
  });

  it('may have neither VIP nor vrrp', () => {
    const bare = MINIMAL.replace(/^vips:\n.*\n/m, '')
      .replace(/^vrrp:\n.*\n.*\n/m, '')
      .replace('bind: tts-vip', "bind: '*'");
    expect(parse(bare)).toMatchObject({ vips: [], services: [{ bind: '*' }] });
  });

  it.each([
    ['two nodes of one name', 'name: lb2', 'name: lb1', /:9:13: nodes\.1\.name: "lb1" is there twice/],
    [
      'two nodes of one address',
      '10.20.0.12',
      '10.20.0.11',
      /nodes\.1\.address: "10\.20\.0\.11" is there twice/,
    ],
    [
      'two primaries',
      'role: secondary',
      'role: primary',
      /nodes\.1\.role: node "lb1" has the same priority, 150/,
    ],
    ['a node with neither role nor priority', ', role: secondary', '', /nodes\.1: must say either role/],
    [
      'a VIP that is a node',
      '10.20.0.10/24',
      '10.20.0.12/24',
      /vips\.0\.address: is the address of node "lb2" itself/,
    ],
    ['a VIP without prefix length', '10.20.0.10/24', '10.20.0.10', /with its prefix length/],
    ['a broadcast VIP', '10.20.0.10/24', '10.20.0.255/24', /network or broadcast/],
    ['an octet over 255', '10.20.0.21', '10.20.0.321', /must be an IPv4 address/],
    ['an octet with a leading zero', '10.20.0.21', '10.20.0.021', /must be an IPv4 address/],
    ['a loopback backend', '10.20.0.21', '127.0.0.1', /must be an address of a host/],
    ['virtual router id 0', 'virtualRouterId: 51', 'virtualRouterId: 0', /from 1 to 255/],
    ['virtual router id 256', 'virtualRouterId: 51', 'virtualRouterId: 256', /from 1 to 255/],
    ['a secret in another folder', 'vrrp.secret\n\nserv', '../vrrp.secret\n\nserv', /plain name of a file/],
    [
      'an unknown bind',
      'bind: tts-vip',
      'bind: tts-vp',
      /"tts-vp" is no VIP of this site; did you mean "tts-vip"/,
    ],
    ['a bind that is no VIP', 'bind: tts-vip', 'bind: 10.20.0.77', /is no VIP of this site/],
    ['the port of the check', 'port: 50051\n    protocol', 'port: 8404\n    protocol', undefined],
    ['a backend twice', '10.20.0.22, port', '10.20.0.21, port', /"10\.20\.0\.21:50051" is there twice/],
    [
      'a service that is its own backend',
      '10.20.0.22, port',
      '10.20.0.10, port',
      /would send calls to itself/,
    ],
    [
      'a duration without unit',
      'protocol: grpc',
      "protocol: grpc\n    timeouts: { server: '600' }",
      /500ms, 5s, 10m or 2h/,
    ],
    [
      'a duration as a number',
      'protocol: grpc',
      'protocol: grpc\n    timeouts: { server: 600 }',
      /server: must be/,
    ],
    [
      'a duration of two days',
      'protocol: grpc',
      'protocol: grpc\n    timeouts: { server: 48h }',
      /at most 24h/,
    ],
    [
      'an unknown key',
      'protocol: grpc',
      'protocol: grpc\n    balanse: source',
      /unknown key "balanse"; did you mean "balance"/,
    ],
    [
      'an unknown key of a check',
      'protocol: grpc',
      'protocol: grpc\n    check: { kind: grpc, service: a.B }',
      /unknown key "service"/,
    ],
    [
      'an http check of a grpc-less service',
      'protocol: grpc',
      'protocol: tcp\n    check: { kind: grpc }',
      /the service speaks tcp/,
    ],
    [
      'a VIP without nonlocal bind',
      'airbundle-site: 1',
      'airbundle-site: 1\nsystem: { nonlocalBind: false }',
      /needs system\.nonlocalBind/,
    ],
    [
      'another version of the format',
      'airbundle-site: 1',
      'airbundle-site: 2',
      /must be 1, the version of this format/,
    ],
  ])('with %s is judged at its place', (_, from, to, expected) => {
    if (expected === undefined) {
      expect(() => parse(changed(from, to))).not.toThrow();
      return;
    }
    const error = refusal(() => parse(changed(from, to)));
    expect(error.exit).toBe(EXIT.invalid);
    expect(error.where).toMatch(/^site\.yaml:\d+:\d+$/);
    expect(error.details.join('\n')).toMatch(expected);
  });

  it('refuses two services on one port, a * beside an address, and the port of the check on *', () => {
    const second = (bind: string, port: string): string =>
      `${MINIMAL}  - { name: other, bind: ${bind}, port: ${port}, protocol: tcp, backends: [{ name: b, address: 10.20.0.30, port: 1 }] }\n`;
    expect(problemsOf(second('tts-vip', '50051')).join()).toContain(
      '50051 on 10.20.0.10 is already taken by service "tts"',
    );
    expect(problemsOf(second('10.20.0.10', '50051')).join()).toContain('already taken');
    expect(problemsOf(second("'*'", '50051')).join()).toContain('already taken');
    expect(problemsOf(second("'*'", '8404')).join()).toContain('already taken by haproxy.checkPort');
    expect(() => parse(second('127.0.0.1', '50051'))).not.toThrow();
  });

  it('shows all cross problems at once, in the order of the file', () => {
    const text = MINIMAL.replace('name: lb2', 'name: lb1')
      .replace('10.20.0.10/24', '10.20.0.11/24')
      .replace('name: tts2', 'name: tts1');
    const lines = problemsOf(text).map((line) => Number(line.split(':')[1]));
    expect(lines).toHaveLength(3);
    expect(lines).toEqual([...lines].sort((a, b) => a - b));
  });

  it('asks for vrrp where there are VIPs, and for VIPs where there is vrrp', () => {
    expect(problemsOf(MINIMAL.replace(/^vrrp:\n.*\n.*\n/m, '')).join()).toContain(
      'vips: needs a vrrp section',
    );
    const noVip = MINIMAL.replace(/^vips:\n.*\n/m, '').replace('bind: tts-vip', "bind: '*'");
    expect(problemsOf(noVip).join()).toContain('vrrp: has no VIP to move');
  });

  it('resolves a VIP by name and by address', () => {
    expect(parse(FULL).services.map((service) => service.bind)).toEqual([
      '10.20.0.10',
      '10.20.0.10',
      '10.30.0.10',
      '*',
      '127.0.0.1',
    ]);
  });
});

describe('two sites', () => {
  const other = (text: string) => ({ site: parse(text), file: 'other.yaml' });
  const moved = (to: string): string =>
    MINIMAL.replace('name: tts\n', 'name: stt\n').replaceAll('10.20.0.1', to);

  it('cannot have one virtual router id on one network', () => {
    expect(neighbourProblem(parse(MINIMAL), other(moved('10.20.0.14')))).toBe(
      'vrrp.virtualRouterId 51 is that of site "stt" (other.yaml), which is on the same network, 10.20.0.0/24',
    );
  });

  it.each([
    ['on another network', moved('10.21.0.1')],
    ['with another id', moved('10.20.0.14').replace('Id: 51', 'Id: 52')],
    ['when they are two states of one site', MINIMAL.replaceAll('10.20.0.1', '10.20.0.14')],
    [
      'without VIPs',
      'airbundle-site: 1\nname: b\nnodes: [{ name: n, address: 10.20.0.9, interface: eth0 }]\n',
    ],
  ])('can stand side by side %s', (_, text) => {
    expect(neighbourProblem(parse(MINIMAL), other(text))).toBeUndefined();
  });
});

describe('a node that says its prefix', () => {
  const prefixed = (prefix: number, vip: string): string =>
    MINIMAL.replace('10.20.0.11', `10.20.0.11/${String(prefix)}`)
      .replace('10.20.0.12', `10.20.0.12/${String(prefix)}`)
      .replace('10.20.0.10/24', vip);

  it('keeps its address without it', () => {
    expect(parse(prefixed(24, '10.20.0.10/24')).nodes[0]).toMatchObject({
      address: '10.20.0.11',
      prefixLength: 24,
    });
  });

  it('takes VIPs of its network, as /32 too, and on another interface any', () => {
    expect(() => parse(prefixed(16, '10.20.9.10/16'))).not.toThrow();
    expect(() => parse(prefixed(24, '10.20.0.10/32'))).not.toThrow();
    expect(() => parse(prefixed(24, '10.9.0.10/24, interface: eth1'))).not.toThrow();
  });

  it('refuses others, and multicast to a node of another network', () => {
    expect(problemsOf(prefixed(24, '10.20.1.10/32')).join()).toContain('outside of 10.20.0.0/24');
    const apart = prefixed(24, '10.9.0.10/24, interface: eth1')
      .replace('10.20.0.12/24', '10.21.0.12/24')
      .replace('secretFile: vrrp.secret', 'secretFile: vrrp.secret\n  transport: multicast');
    expect(problemsOf(apart).join()).toContain('multicast adverts do not leave a network');
  });
});

describe('nodeOf', () => {
  it('finds a node, or says which there are and which was meant', () => {
    const site = parse(MINIMAL);
    expect(nodeOf(site, 'lb2').address).toBe('10.20.0.12');
    const error = refusal(() => nodeOf(site, 'lb3'));
    expect(error).toMatchObject({ exit: EXIT.invalid, code: 'NODE_UNKNOWN' });
    expect(error.hint).toContain('Did you mean --node lb1?');
    expect(error.hint).toContain('lb1, lb2');
  });
});

describe('the VRRP secret', () => {
  it('is the content without its line end', () => {
    expect(parseSecret('s3cr3t\n', 'f')).toBe('s3cr3t');
    expect(parseSecret('s3cr3t\r\n', 'f')).toBe('s3cr3t');
    expect(parseSecret('12345678', 'f')).toBe('12345678');
  });

  it.each([
    '',
    '\n',
    '123456789',
    'a b',
    'a#b',
    'a!b',
    'a"b',
    "a'b",
    'a$b',
    'a{b',
    'a}b',
    'a\\b',
    'a~b',
    '@a',
    'a\nb',
    'a\n\n',
    'pässword',
    '암호',
  ])('refuses %j and does not repeat it', (text) => {
    const error = refusal(() => parseSecret(text, 'vrrp.secret'));
    expect(error).toMatchObject({ exit: EXIT.invalid, code: 'SECRET_INVALID', where: 'vrrp.secret' });
    if (text.trim() !== '') expect(JSON.stringify(error)).not.toContain(JSON.stringify(text).slice(1, -1));
  });

  it('never holds a character that keepalived.conf gives a meaning', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 10 }), (text) => {
        try {
          expect(parseSecret(text, 'f')).toMatch(/^[^\s"'#!${}\\~@<>&|;()]{1,8}$/);
        } catch (error) {
          expect(error).toBeInstanceOf(BundleError);
        }
      }),
    );
  });
});

it('a duration says its unit', () => {
  expect(['500ms', '5s', '10m', '2h'].map(durationMs)).toEqual([500, 5000, 600_000, 7_200_000]);
});

describe('a site without a load balancer', () => {
  const BARE =
    'airbundle-site: 1\nname: cache\nnodes:\n  - { name: c1, address: 10.20.0.31, interface: eth0 }\n';

  it('needs no services, no VIP and no role', () => {
    expect(parse(BARE)).toMatchObject({ services: [], vips: [], components: {} });
  });

  it('may give values to components; which there are, only a bundle says', () => {
    expect(parse(`${BARE}components: { redis: { port: 6379, password: a.secret } }\n`).components).toEqual({
      redis: { port: 6379, password: 'a.secret' },
    });
    const file = new TextEncoder().encode(`${BARE}components: { redis: { port: 1 } }\n`);
    expect(() => parseSite(file, 'site.yaml', new Map())).toThrow(/unknown key "redis"/);
    expect(() => parse(`${BARE}components: { redis: { port: [1] } }\n`)).toThrow(/must be text or a number/);
  });
});
