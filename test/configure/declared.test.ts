import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { configure, declaredValues, requiredSecrets } from '../../src/configure/index.js';
import type { Configuration } from '../../src/configure/index.js';
import { BundledConfiguration } from '../../src/model/declared.js';
import { parseSite } from '../../src/model/site.js';
import type { Site } from '../../src/model/site.js';
import type { SiteValue } from '../../src/model/values.js';
import { ValueDeclaration, valueSchema } from '../../src/model/values.js';
import { BOTH, contentOf, ORIGIN, secretsOf, siteOf } from './fixtures.js';

const CACHE = BundledConfiguration.parse({
  values: {
    bind: { type: 'address', default: '127.0.0.1' },
    port: { type: 'port', default: 6379 },
    memory: { type: 'size' },
    idle: { type: 'duration', default: '10m' },
    poll: { type: 'duration', as: 'milliseconds', default: '2s' },
    policy: { type: 'choice', of: ['keep', 'drop'], default: 'keep' },
    threads: { type: 'integer', min: 1, max: 64, default: 4 },
    data: { type: 'path', default: '/var/lib/cache' },
    label: { type: 'name', default: 'main' },
    password: { type: 'secret' },
  },
  accounts: [{ name: 'cache' }],
  directories: [{ path: '/var/lib/cache', mode: '0750', owner: 'cache' }],
  files: [
    {
      path: '/etc/cache/main.conf',
      mode: '0640',
      group: 'cache',
      content:
        '# {{notice}}\nlisten {{bind}}:{{port}}\nmemory {{memory}}\nidle {{idle}}\npoll {{poll}}\npolicy {{policy}}\nthreads {{threads}}\ndata "{{data}}"\nlabel {{label}}\nnode {{node.name}} {{ node.address }}\npassword {{password}}\n',
      validate: { command: ['/usr/local/bin/cache', '--port', '{{port}}', '--test', '{file}'] },
    },
    { path: '/etc/cache/words', content: 'one\n' },
  ],
  units: [
    {
      name: 'cache.service',
      content: '[Service]\nExecStart=/usr/local/bin/cache {{data}}\n',
      reloadOn: ['/etc/cache/words'],
    },
  ],
  checks: [
    { listen: '{{bind}}:{{port}}', timeout: '5s' },
    { command: ['/usr/local/bin/ask', '-p', '{{port}}'], expect: 'PONG {{label}}' },
  ],
  version: ['/usr/local/bin/cache', '--version'],
});

const COMPONENT = { name: 'cache', configuration: CACHE };

const siteWith = (values: Readonly<Record<string, SiteValue>>): Site => ({
  ...siteOf(
    'airbundle-site: 1\nname: bank\nnodes:\n  - { name: n1, address: 10.20.0.31, interface: eth0 }\n',
  ),
  components: { cache: values },
});

const GOOD = { memory: '256MiB', password: 'cache.secret' } as const;
const SECRETS = new Map([['cache.secret', { text: 'hunter2-hunter2\n', path: '/desk/cache.secret' }]]);

const rendered = (values: Readonly<Record<string, SiteValue>> = GOOD): Configuration =>
  configure({
    origin: ORIGIN,
    components: [COMPONENT],
    site: siteWith(values),
    node: 'n1',
    secrets: SECRETS,
  });

describe('a declared configuration', () => {
  it('fills templates with the values of the site, the node and the defaults', () => {
    expect(contentOf(rendered({ ...GOOD, bind: '10.20.0.31', idle: '90s' }), '/etc/cache/main.conf')).toBe(
      `# Written by airbundle from site "bank". Change the site file instead: an edit here is reported as drift.
listen 10.20.0.31:6379
memory 268435456
idle 90
poll 2000
policy keep
threads 4
data "/var/lib/cache"
label main
node n1 10.20.0.31
password hunter2-hunter2
`,
    );
  });

  it('is the same Configuration that a renderer gives', () => {
    const { users, directories, files, refreshes, services, checks, status, firewall } = rendered({
      ...GOOD,
      bind: '0.0.0.0',
      port: 7000,
    });
    expect(users).toEqual([
      { component: 'cache', name: 'cache', home: '/nonexistent', shell: '/sbin/nologin' },
    ]);
    expect(
      directories.map((each) => [each.path, each.mode.toString(8), each.owner, each.group, each.shared]),
    ).toEqual([
      ['/var/lib/cache', '750', 'cache', 'cache', false],
      ['/etc/cache', '755', 'root', 'root', true],
      ['/etc/systemd/system', '755', 'root', 'root', true],
    ]);
    expect(
      files.map((file) => [file.path, file.mode.toString(8), file.owner, file.group, file.secret]),
    ).toEqual([
      ['/etc/cache/main.conf', '640', 'root', 'cache', true],
      ['/etc/cache/words', '644', 'root', 'root', false],
      ['/etc/systemd/system/cache.service', '644', 'root', 'root', false],
    ]);
    expect(files[0]?.validate?.argv).toEqual(['/usr/local/bin/cache', '--port', '7000', '--test', '{file}']);
    expect(refreshes.map((refresh) => refresh.argv.join(' '))).toEqual(['systemctl daemon-reload']);
    expect(services).toEqual([
      {
        component: 'cache',
        unit: 'cache.service',
        unitFile: '/etc/systemd/system/cache.service',
        restartOn: ['/etc/systemd/system/cache.service', '/etc/cache/main.conf'],
        reloadOn: ['/etc/cache/words'],
      },
    ]);
    expect(checks.map((check) => [check.id, check.kind, check.timeoutMs])).toEqual([
      ['unit-cache', 'unit', 30_000],
      ['cache-1', 'listen', 5000],
      ['cache-2', 'command', 10_000],
    ]);
    expect(checks[2]).toMatchObject({ argv: ['/usr/local/bin/ask', '-p', '7000'], expect: 'PONG main' });
    expect(status.versions[0]?.argv).toEqual(['/usr/local/bin/cache', '--version']);
    expect(firewall).toEqual([{ kind: 'tcp', address: '0.0.0.0', port: 7000, why: 'clients of cache' }]);
    expect(rendered().firewall).toEqual([]);
  });

  it('stands beside haproxy and keepalived, and starts before them', () => {
    const site = {
      ...siteOf(
        'airbundle-site: 1\nname: bank\nnodes:\n  - { name: n1, address: 10.20.0.31, interface: eth0, role: primary }\nvips: [{ name: v, address: 10.20.0.10/24 }]\nvrrp: { virtualRouterId: 5, secretFile: vrrp.secret }\nservices: [{ name: s, bind: v, port: 80, protocol: http, backends: [{ name: b, address: 10.20.0.40, port: 80 }] }]\n',
      ),
      components: { cache: GOOD },
    };
    const all = configure({
      origin: ORIGIN,
      components: [...BOTH, COMPONENT],
      site,
      node: 'n1',
      secrets: new Map([...SECRETS, ...secretsOf(site)]),
    });
    expect(all.services.map((service) => service.unit)).toEqual([
      'cache.service',
      'haproxy.service',
      'keepalived.service',
    ]);
    expect(all.refreshes.filter((refresh) => refresh.argv.includes('daemon-reload'))).toHaveLength(1);
    expect(requiredSecrets([...BOTH, COMPONENT], site).map((secret) => secret.file)).toEqual([
      'vrrp.secret',
      'cache.secret',
    ]);
  });

  it('refuses two components that make the same file or unit', () => {
    const site = { ...siteWith(GOOD), components: { cache: GOOD, other: GOOD } };
    expect(() =>
      configure({
        origin: ORIGIN,
        components: [COMPONENT, { name: 'other', configuration: CACHE }],
        site,
        node: 'n1',
        secrets: SECRETS,
      }),
    ).toThrow(/components "cache" and "other" both make \/etc\/cache\/main\.conf/);
  });

  it('haproxy without services is an error that names the component; without haproxy none is needed', () => {
    const site = siteWith(GOOD);
    expect(() => configure({ origin: ORIGIN, components: [BOTH[0]], site, node: 'n1' })).toThrow(
      /component "haproxy" is configured as haproxy, but site "bank" has no services/,
    );
  });

  it('says which value is missing, unknown or wrong, also for a site that was read without the bundle', () => {
    const details = (values: Readonly<Record<string, SiteValue>>): unknown => {
      try {
        rendered(values);
      } catch (error) {
        return (error as { details: string[] }).details;
      }
      return [];
    };
    expect(details({ memry: '1GiB', password: 'cache.secret' })).toEqual([
      'components.cache.memory: is missing',
      'components.cache: unknown: memry',
    ]);
    expect(details({ ...GOOD, idle: '1500ms' })).toEqual([
      'components.cache.idle: must be whole seconds: this software takes nothing finer',
    ]);
    expect(details({ ...GOOD, policy: 'loose' })).toEqual([
      'components.cache.policy: must be one of: keep, drop',
    ]);
    expect(details({ ...GOOD, threads: 65 })).toEqual([
      'components.cache.threads: must be a whole number from 1 to 64',
    ]);
  });

  it('never shows a secret in a message', () => {
    const wrong = (text: string | undefined) => () =>
      configure({
        origin: ORIGIN,
        components: [COMPONENT],
        site: siteWith(GOOD),
        node: 'n1',
        secrets: new Map(text === undefined ? [] : [['cache.secret', { text, path: '/desk/cache.secret' }]]),
      });
    expect(wrong(undefined)).toThrow(/secret "password" of component "cache" was not given/);
    expect(wrong('short')).toThrow(/at least 8 characters/);
    expect(wrong('two\nlines-of-it')).toThrow(/must hold only letters/);
    expect(wrong('two\nlines-of-it')).not.toThrow(/lines-of-it/);
  });
});

describe('the site of a declared component', () => {
  const read = (components: string) =>
    parseSite(
      new TextEncoder().encode(
        `airbundle-site: 1\nname: bank\nnodes:\n  - { name: n1, address: 10.20.0.31, interface: eth0 }\n${components}`,
      ),
      'site.yaml',
      declaredValues([COMPONENT]),
    );
  const problems = (components: string): readonly string[] => {
    try {
      read(components);
    } catch (error) {
      return (error as { details: string[] }).details.filter((line) => line.startsWith('site.yaml'));
    }
    return [];
  };

  it('is read with the place of every mistake, and what was meant', () => {
    expect(problems('components:\n  cache: { memory: 1GiB, password: a.secret }\n')).toEqual([]);
    expect(problems('components:\n  cach: { memory: 1GiB }\n')).toEqual([
      'site.yaml:6:3: components.cache.memory: is missing',
      'site.yaml:6:3: components.cache.password: is missing',
      'site.yaml:6:3: unknown key "cach"; did you mean "cache"?',
    ]);
    expect(
      problems('components:\n  cache:\n    memory: 1GB\n    prot: 1\n    port: "80"\n    password: ../x\n'),
    ).toEqual([
      'site.yaml:7:13: components.cache.memory: must be a size with its unit: 64KiB, 256MiB or 2GiB',
      'site.yaml:8:5: unknown key "prot"; did you mean "port"?',
      'site.yaml:9:11: components.cache.port: must be a whole number: a port from 1 to 65535',
      'site.yaml:10:15: components.cache.password: must be the plain name of a file next to the site file',
    ]);
    expect(problems('')).toHaveLength(2);
  });
});

describe('no value can leave its word', () => {
  /** Every type, with bounds as wide as they can be. */
  const TYPES = [
    { type: 'port' },
    { type: 'address' },
    { type: 'duration' },
    { type: 'duration', as: 'milliseconds' },
    { type: 'size' },
    { type: 'name' },
    { type: 'path' },
    { type: 'integer', min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER },
    { type: 'choice', of: ['a', 'B-1_x.y'] },
    { type: 'secret' },
  ].map((each) => ValueDeclaration.parse(each));

  /** Pieces of what a value of each type looks like, and of what would break out of a line or word. */
  const hostile = fc
    .array(
      fc.constantFrom(
        ...['10.0.0.1', '6379', '/var', '/a', 'a', 'b-c', '5s', '1GiB', '-', '.', '0', 'x.secret'],
        ...[
          '\n',
          '\r',
          '\u2028',
          '\0',
          ' ',
          '\t',
          '"',
          "'",
          '`',
          '\\',
          '$',
          '${A}',
          '%n',
          '#',
          ';',
          '&',
          '|',
        ],
        ...['{{port}}', '{{', '}}', '{file}', '{', '<', '>', '(', '*', '?', '!', '=', ',', '\u00a0', '한'],
      ),
      { minLength: 1, maxLength: 6 },
    )
    .map((parts) => parts.join(''));

  it('whatever is accepted is one plain word', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...TYPES),
        fc.oneof(hostile, fc.string(), fc.integer()),
        (declared, value) => {
          const parsed = valueSchema(declared).safeParse(value);
          return !parsed.success || /^[A-Za-z0-9._+@:~/-]+$/.test(String(parsed.data));
        },
      ),
      { numRuns: 4000 },
    );
  });

  it('a rendered file has the lines and words of its template, whatever the site says', () => {
    const words = (text: string): number[] => text.split('\n').map((line) => line.split(/[ \t]/).length);
    const shape = words(contentOf(rendered(), '/etc/cache/main.conf'));
    const value = fc.oneof(hostile, fc.string(), fc.integer());
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.record(
          {
            bind: fc.oneof(value, fc.ipV4()),
            port: fc.oneof(value, fc.integer({ min: 1, max: 65_535 })),
            data: fc.oneof(value, fc.constant('/srv/a')),
            label: fc.oneof(value, fc.constant('b')),
          },
          { requiredKeys: [] },
        ),
        (values) => {
          let text: string;
          try {
            text = contentOf(rendered({ ...GOOD, ...values }), '/etc/cache/main.conf');
          } catch {
            return true;
          }
          accepted += 1;
          return JSON.stringify(words(text)) === JSON.stringify(shape) && !text.includes('{{');
        },
      ),
      { numRuns: 600 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it('a secret is one word, too', () => {
    fc.assert(
      fc.property(fc.oneof(hostile, fc.string({ minLength: 8 })), (text) => {
        const secrets = new Map([['cache.secret', { text, path: 'x' }]]);
        let content: string;
        try {
          const made = configure({
            origin: ORIGIN,
            components: [COMPONENT],
            site: siteWith(GOOD),
            node: 'n1',
            secrets,
          });
          content = contentOf(made, '/etc/cache/main.conf');
        } catch {
          return true;
        }
        return /\npassword [A-Za-z0-9._~+=/@:-]+\n$/.test(content);
      }),
      { numRuns: 600 },
    );
  });
});
