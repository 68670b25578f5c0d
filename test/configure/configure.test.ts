import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configure, firewalldCommands, iptablesCommands } from '../../src/configure/index.js';
import type { Origin } from '../../src/configure/index.js';
import { SiteSchema } from '../../src/model/site.js';
import {
  BOTH,
  configured,
  contentOf,
  example,
  exampleObject,
  ORIGIN,
  secretsOf,
  siteOf,
  STATS_PASSWORD,
} from './fixtures.js';
import { GOLDEN_SITES } from './golden.js';

const pair = siteOf(example('tts-pair'));
const full = siteOf(example('tts-full'));
const secrets = new Map([...secretsOf(pair), ...secretsOf(full)]);

describe('configure', () => {
  it('gives the same value for the same site, whatever the order of the components', () => {
    const turned = configure({
      origin: ORIGIN,
      components: [...BOTH].reverse(),
      site: full,
      node: 'lb2',
      secrets,
    });
    expect(turned).toEqual(configured(full, 'lb2'));
    expect(JSON.parse(JSON.stringify(turned))).toEqual(turned);
  });

  it('writes the check script before the keepalived.conf that names it', () => {
    const paths = configured(pair).files.map((file) => file.path);
    expect(paths.indexOf('/etc/keepalived/check-haproxy')).toBeLessThan(
      paths.indexOf('/etc/keepalived/keepalived.conf'),
    );
  });

  it('starts haproxy before keepalived', () => {
    expect(configured(pair).services.map((service) => service.unit)).toEqual([
      'haproxy.service',
      'keepalived.service',
    ]);
  });

  it('names only files that it writes in reloads, restarts and refreshes', () => {
    const { files, services, refreshes } = configured(full);
    const paths = files.map((file) => file.path);
    const named = [
      ...services.flatMap((service) => [service.unitFile, ...service.restartOn, ...service.reloadOn]),
      ...refreshes.flatMap((refresh) => refresh.files),
    ];
    expect(named.filter((path) => !paths.includes(path))).toEqual([]);
  });

  it('has a directory for every file', () => {
    const { files, directories } = configured(full);
    const known = directories.map((directory) => directory.path);
    expect(
      files
        .map((file) => file.path.slice(0, file.path.lastIndexOf('/')))
        .filter((folder) => !known.includes(folder)),
    ).toEqual([]);
  });

  it('runs one daemon-reload for both units', () => {
    const reloads = configured(pair).refreshes.filter((refresh) => refresh.argv.includes('daemon-reload'));
    expect(reloads).toHaveLength(1);
    expect(reloads[0]?.files).toEqual([
      '/etc/systemd/system/haproxy.service',
      '/etc/systemd/system/keepalived.service',
    ]);
  });

  it('marks each file that holds a secret, and only root reads it', () => {
    const files = configured(full, 'lb1', 'Zq7xWv').files;
    expect(files.filter((file) => file.content.includes('Zq7xWv')).map((file) => file.path)).toEqual([
      '/etc/keepalived/keepalived.conf',
    ]);
    expect(files.filter((file) => file.content.includes(STATS_PASSWORD)).map((file) => file.path)).toEqual([
      '/etc/haproxy/haproxy.cfg',
    ]);
    expect(files.filter((file) => file.secret).map((file) => [file.path, file.mode])).toEqual([
      ['/etc/haproxy/haproxy.cfg', 0o600],
      ['/etc/keepalived/keepalived.conf', 0o600],
    ]);
  });

  it('begins every file with the site, and nothing that changes between runs', () => {
    for (const file of configured(pair).files)
      expect(file.content, file.path).toMatch(/^(?:#!.*\n)?# Written by airbundle from site "tts"/);
  });

  it('says in what a reload reads which bundle and site made it, and nowhere else: a restart ends streams', () => {
    const of = (origin: Origin) =>
      configure({ components: BOTH, site: pair, node: 'lb1', origin, secrets }).files;
    const other = of({ bundle: { name: 'tts-ha', version: '1.0.1' }, siteDigest: 'f'.repeat(64) });
    const differs = of(ORIGIN)
      .filter(({ content }, index) => content !== other[index]?.content)
      .map(({ path }) => path);
    expect(differs).toEqual(['/etc/haproxy/haproxy.cfg', '/etc/keepalived/keepalived.conf']);
    for (const { reloadOn, restartOn } of configured(pair).services) {
      expect(differs).toEqual(expect.arrayContaining([...reloadOn]));
      expect(restartOn.filter((path) => differs.includes(path))).toEqual([]);
    }
    expect(other.find(({ path }) => path === differs[0])?.content).toContain('bundle tts-ha 1.0.1.');
    expect(other.find(({ path }) => path === differs[0])?.content).toContain('(SHA-256 ffffffffffffffff)');
  });

  it('leaves a component without configuration alone', () => {
    const { files, services } = configure({
      origin: ORIGIN,
      components: [{ name: 'tool' }],
      site: pair,
      node: 'lb1',
    });
    expect([files, services]).toEqual([[], []]);
  });

  it('gives keepalived alone no haproxy to ask', () => {
    const alone = configure({ origin: ORIGIN, components: [BOTH[1]], site: pair, node: 'lb1', secrets });
    expect(alone.files.map((file) => file.path)).not.toContain('/etc/keepalived/check-haproxy');
    expect(contentOf(alone, '/etc/keepalived/keepalived.conf')).not.toContain('script "');
  });

  it('refuses an unknown or doubled configuration, an unknown node, a missing secret or vrrp', () => {
    const wrong =
      (components: { name: string; configuration?: string }[], node = 'lb1') =>
      () =>
        configure({ origin: ORIGIN, components, site: pair, node, secrets });
    expect(wrong([{ name: 'lb', configuration: 'haprox' }])).toThrow(
      /"haprox", which does not exist; did you mean "haproxy"/,
    );
    expect(
      wrong([
        { name: 'a', configuration: 'haproxy' },
        { name: 'b', configuration: 'haproxy' },
      ]),
    ).toThrow(/would write the same files/);
    expect(wrong([...BOTH], 'lb9')).toThrow(/no node "lb9"/);
    expect(() => configure({ origin: ORIGIN, components: BOTH, site: pair, node: 'lb1' })).toThrow(
      /secret of site "tts" was not given/,
    );
    const { vrrp: _, ...bare } = pair;
    expect(() => configure({ origin: ORIGIN, components: BOTH, site: bare, node: 'lb1', secrets })).toThrow(
      /has no vrrp section/,
    );
  });

  it('looks at a VIP bind without connecting, and at * on every address', () => {
    const listens = configured(full).checks.flatMap((check) =>
      check.kind === 'listen' ? [`${check.address}:${String(check.port)}`] : [],
    );
    expect(listens).toEqual([
      '10.20.0.10:50051',
      '10.20.0.10:50443',
      '10.30.0.10:8080',
      '0.0.0.0:7000',
      '127.0.0.1:9100',
      '10.20.0.11:9443',
    ]);
  });

  it('says what a firewall must let in, and nothing for loopback', () => {
    const commands = firewalldCommands(configured(full).firewall).map((argv) => argv.join(' '));
    expect(commands).toContain('firewall-cmd --permanent --add-port=50051/tcp');
    expect(commands).toContain(
      'firewall-cmd --permanent --add-rich-rule=rule family="ipv4" source address="10.20.0.12/32" protocol value="vrrp" accept',
    );
    expect(commands.join()).not.toContain('9100');
  });

  it('says the same for iptables, before the rule that refuses everything else, and keeps it', () => {
    const commands = iptablesCommands(configured(full).firewall).map((argv) => argv.join(' '));
    expect(commands).toContain('iptables -I INPUT -p tcp -d 10.20.0.10 --dport 50051 -j ACCEPT');
    expect(commands).toContain('iptables -I INPUT -p tcp --dport 7000 -j ACCEPT');
    expect(commands).toContain('iptables -I INPUT -p 112 -s 10.20.0.12 -j ACCEPT');
    expect(commands[commands.length - 1]).toBe('service iptables save');
    expect(iptablesCommands([])).toEqual([]);
  });

  it('writes no drop-in that the site turned off', () => {
    const off = siteOf(
      `${example('tts-pair').replace('bind: tts-vip', "bind: '*'")}system: { nonlocalBind: false, somaxconn: 0 }\nlog: { rsyslog: false }\n`,
    );
    const { files, directories, refreshes } = configured(off);
    const all = [...files.map((file) => file.path), ...directories.map((directory) => directory.path)].join();
    expect(all).not.toMatch(/sysctl|rsyslog|logrotate/);
    expect(refreshes.map((refresh) => refresh.id)).toEqual(['systemd']);
    expect(contentOf(configured(off), '/etc/haproxy/haproxy.cfg')).not.toMatch(/^ *log /m);
  });
});

describe('haproxy.cfg', () => {
  const config = contentOf(configured(full), '/etc/haproxy/haproxy.cfg');
  const listen = (name: string): string =>
    config.split('\nlisten ').find((section) => section.startsWith(`${name}\n`)) ?? '';

  it('speaks HTTP/2 on both sides of a gRPC service', () => {
    expect(listen('tts')).toContain('bind 10.20.0.10:50051 proto h2\n');
    expect(listen('tts')).toContain(
      'server tts1 10.20.0.21:50051 proto h2 check inter 3s rise 3 fall 2 weight 200 maxconn 64 slowstart 30s\n',
    );
    expect(listen('tts-tls')).toContain(
      'bind 10.20.0.10:50443 ssl crt /etc/haproxy/tls/tts.pem alpn h2 proto h2\n',
    );
  });

  it('never checks a proto h2 server without saying how', () => {
    for (const section of config.split('\nlisten ').filter((text) => text.includes(' proto h2 check')))
      expect(section).toMatch(/option httpchk\n|tcp-check connect\n/);
  });

  it('sends a host with the gRPC health check', () => {
    expect(listen('tts-tls')).toContain(
      'http-check send meth POST uri /grpc.health.v1.Health/Check hdr host tts.bank.example hdr content-type application/grpc hdr te trailers\n',
    );
  });

  it('repeats a lost call only where that is safe', () => {
    expect(listen('tts')).toContain('retry-on conn-failure empty-response\n');
    expect(listen('console')).not.toContain('retry-on');
    expect(listen('license')).not.toContain('retry-on');
  });

  it('sends logs over the network, because /dev/log is gone after chroot', () => {
    expect(config).toContain('log 127.0.0.1:514 local5 info\n');
    expect(config).toContain('log 10.20.0.99:1514 local5 info\n');
    expect(config).not.toContain('/dev/log');
  });
});

/** A backend as a site may have it. */
const someBackend = fc.record(
  {
    port: fc.integer({ min: 1, max: 65535 }),
    weight: fc.integer({ min: 1, max: 256 }),
    maxConnections: fc.integer({ min: 1, max: 1000 }),
    backup: fc.boolean(),
  },
  { requiredKeys: ['port'] },
);
const someService = fc.record(
  {
    protocol: fc.constantFrom('grpc', 'http', 'tcp'),
    bind: fc.constantFrom('vip', 'node', '127.0.0.1', '*'),
    tls: fc.constant({ certificate: '/etc/haproxy/tls/tts.pem' }),
    balance: fc.constantFrom('roundrobin', 'leastconn', 'source'),
    slowStart: fc.constantFrom('10s', '1m'),
    maxConnections: fc.integer({ min: 1, max: 1000 }),
    check: fc.record(
      {
        kind: fc.constantFrom('grpc', 'grpc-serving', 'http', 'tcp', 'none'),
        port: fc.integer({ min: 1, max: 65535 }),
      },
      { requiredKeys: ['kind'] },
    ),
    backends: fc.array(someBackend, { minLength: 1, maxLength: 4 }),
  },
  { requiredKeys: ['protocol', 'bind', 'backends'] },
);
const someSite = fc.array(someService, { minLength: 1, maxLength: 4 }).map((services) => ({
  'airbundle-site': 1,
  name: 'tts',
  nodes: [{ name: 'lb1', address: '10.20.0.11', interface: 'eth0', role: 'primary' }],
  vips: [{ name: 'vip', address: '10.20.0.10/24' }],
  vrrp: { virtualRouterId: 51, secretFile: 'vrrp.secret' },
  services: services.map(({ backends, check, ...service }, index) => ({
    ...service,
    ...(check === undefined ? {} : { check: check.kind === 'none' ? { kind: 'none' } : check }),
    name: `s${String(index)}`,
    port: 10_000 + index,
    backends: backends.map((backend, at) => ({
      ...backend,
      name: `b${String(at)}`,
      address: `10.20.1.${String(at + 1)}`,
    })),
  })),
}));

describe('whatever a site says', () => {
  it('gRPC is HTTP/2 on every bind and server line, and nothing else is', () => {
    fc.assert(
      fc.property(someSite, (written) => {
        const parsed = SiteSchema.safeParse(written);
        // What is refused is drawn again: each run has at least one service.
        fc.pre(parsed.success);
        const config = contentOf(configured(parsed.data), '/etc/haproxy/haproxy.cfg');
        for (const { name, protocol, check } of parsed.data.services) {
          const section = config.split('\nlisten ').find((text) => text.startsWith(`${name}\n`)) ?? '';
          const lines = section.split('\n').filter((line) => /^ {4}(?:bind|server) /.test(line));
          expect(lines.length).toBeGreaterThan(1);
          for (const line of lines) expect(line.includes(' proto h2'), line).toBe(protocol === 'grpc');
          // A plain check of such a server is always down.
          if (protocol === 'grpc' && check.kind !== 'none')
            expect(section).toMatch(/option httpchk\n|tcp-check connect\n/);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('keepalived.conf', () => {
  it('is BACKUP with nopreempt on every node, unicast to all the others', () => {
    const { site } = GOLDEN_SITES.find(({ name }) => name === 'three-nodes') ?? { site: full };
    const config = contentOf(configured(site, 'lb2'), '/etc/keepalived/keepalived.conf');
    expect(config).toMatch(/state BACKUP\n\s+nopreempt\n/);
    expect(config).toContain('priority 150\n');
    expect(config).toContain('unicast_src_ip 10.20.0.12\n');
    expect(config.replace(/\s+/g, ' ')).toContain('unicast_peer { 10.20.0.11 10.20.0.13 }');
    expect(config).toContain('10.30.0.10/24 dev bond1\n');
    expect(config).not.toContain('vrrp_strict');
  });
});

describe('the units', () => {
  it('use no directive that systemd 219 does not know', () => {
    const known =
      /^(?:Description|After|Wants|Type|ExecStartPre|ExecStart|ExecStopPost|ExecReload|KillMode|SuccessExitStatus|Restart|RestartSec|StartLimitInterval|RuntimeDirectory|LimitNOFILE|WantedBy)=/;
    for (const file of configured(full).files.filter((each) => each.path.endsWith('.service')))
      expect(
        file.content.split('\n').filter((line) => line !== '' && !/^[#[]/.test(line) && !known.test(line)),
      ).toEqual([]);
  });

  it('take every VIP away when keepalived died without doing so', () => {
    const unit = contentOf(configured(full), '/etc/systemd/system/keepalived.service');
    expect(unit).toContain('ExecStopPost=-/sbin/ip -4 address flush dev bond0 to 10.20.0.10/32\n');
    expect(unit).toContain('ExecStopPost=-/sbin/ip -4 address flush dev bond1 to 10.30.0.10/32\n');
  });

  it('give haproxy enough descriptors for its connections', () => {
    const limit = /LimitNOFILE=(\d+)/.exec(
      contentOf(configured(full), '/etc/systemd/system/haproxy.service'),
    )?.[1];
    expect(Number(limit)).toBeGreaterThan(2 * 20_000 + 500);
  });
});

/** Every string of a YAML value, as paths. */
function stringPaths(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value === 'string') return [[...path]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) => stringPaths(child, [...path, key]));
}

/** The value with the string at `path` replaced. */
function replaced(value: unknown, path: readonly string[], by: (old: string) => string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return by(value as string);
  const copy: Record<string, unknown> = { ...(value as Record<string, unknown>) };
  copy[key] = replaced(copy[key], rest, by);
  return Array.isArray(value) ? Object.values(copy) : copy;
}

/** What a hostile value would have to change: the words of each line, and every character with a meaning. */
function shapeOf(content: string): string {
  const lines = content
    .split('\n')
    .map(
      (line) => `${String(line.trim().split(/\s+/).length)}${line.replace(/[^#!"'$`\\{}[\]();|&<>]/g, '')}`,
    );
  return lines.join('\n');
}

describe('no string of a site', () => {
  const base = exampleObject('tts-full');
  const paths = stringPaths(base);
  const harmless = fc.constantFrom('a', 'b1', '0', '7', '-x', '.y', '/z', 'Q', '_');
  const hostile = fc.constantFrom(
    '\n',
    '\r',
    '\t',
    ' ',
    '"',
    "'",
    '`',
    '$',
    '${x}',
    '$(x)',
    '#',
    '!',
    '\\',
    ';',
    '|',
    '&',
    '{',
    '}',
    '<',
    '>',
    '(',
    '%',
    '\0',
    '\u2028',
    '\u00a0',
    '\u0085',
    '@',
    '~',
    '..',
    '/',
    ':',
    ',',
    '-',
    'a',
    '0',
    ' --x',
    '\n    server evil 1.2.3.4:5',
  );
  const shape = new Map(configured(full).files.map((file) => [file.path, shapeOf(file.content)]));

  it('that the schema lets through changes the shape of a generated file', () => {
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.array(fc.oneof({ weight: 1, arbitrary: hostile }, { weight: 3, arbitrary: harmless }), {
          minLength: 1,
          maxLength: 3,
        }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (path, parts, at) => {
          const written = replaced(base, path, (old) => {
            const cut = Math.round(at * old.length);
            return old.slice(0, cut) + parts.join('') + old.slice(cut);
          });
          const parsed = SiteSchema.safeParse(written);
          if (!parsed.success) return;
          accepted += 1;
          const site = parsed.data;
          for (const file of configured(site, site.nodes[0]?.name).files)
            expect(shapeOf(file.content), `${path.join('.')} in ${file.path}`).toBe(shape.get(file.path));
        },
      ),
      { numRuns: 4000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it('of any other kind gets through with a character that has a meaning', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
        (path, text) => {
          if (!/[\s"'`$#!\\{};|&<>()\0-\x1f\x7f-\uffff]/u.test(text)) return;
          // An HTTP path may hold "&"; haproxy.cfg gives it no meaning.
          if (path[path.length - 1] === 'path' && /^[A-Za-z0-9._~/?=&-]+$/.test(text)) return;
          expect(SiteSchema.safeParse(replaced(base, path, () => text)).success).toBe(false);
        },
      ),
      { numRuns: 4000 },
    );
  });
});
