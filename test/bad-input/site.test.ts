import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError, describeError } from '../../src/errors.js';
import { localHost } from '../../src/host/local.js';
import { formatInventory } from '../../src/install/inventory.js';
import { deskPlanCommand } from '../../src/plan-commands.js';
import { example } from '../configure/fixtures.js';
import { makeBundle, makeKey } from '../install/bundle.js';
import { someInventory } from '../install/facts.js';
import { badInputTable } from './table.js';

/*
 * What a wrong site file gets where it is written, long before a node sees it:
 *   bundle plan FOLDER --inventory lb1.json --site site.yaml --node lb1 --unsigned
 */

const table = badInputTable('site');
const PAIR = example('tts-pair');
const SERVICE = 'protocol: grpc';

interface Row {
  readonly what: string;
  /** One text of the pair's site in the place of another. */
  readonly change?: readonly [string, string];
  readonly replace?: readonly [string, string];
  /** Lines behind the pair's. */
  readonly more?: string;
  readonly node?: string;
  /** Of the bundle's one component; keepalived when absent. */
  readonly configuration?: 'haproxy' | 'keepalived';
  readonly code?: string;
  /** Files beside the site file. */
  readonly beside?: Readonly<Record<string, string>>;
}

const keyed = (line: string): readonly [string, string] => [SERVICE, `${SERVICE}\n    ${line}`];
const second = (line: string): string =>
  `  - { name: other, protocol: tcp, backends: [{ name: b, address: 10.20.0.30, port: 1 }], ${line} }\n`;
const stats = (line: string): string =>
  `haproxy: { stats: { user: ops, passwordFile: stats.secret, bind: node, port: 9000, ${line} } }\n`.replace(
    ', }',
    ' }',
  );

const ROWS: readonly Row[] = [
  {
    what: 'a VIP outside of the network of the nodes',
    change: ['10.20.0.10/24', '10.30.0.10/24'],
  },
  {
    what: 'a VIP with another prefix than the node says',
    change: ['address: 10.20.0.11', 'address: 10.20.0.11/16'],
  },
  { what: 'a VIP without its prefix', change: ['10.20.0.10/24', '10.20.0.10'] },
  { what: 'a VIP that is the broadcast address', change: ['10.20.0.10/24', '10.20.0.255/24'] },
  { what: 'a VIP that is the address of a node', change: ['10.20.0.10/24', '10.20.0.12/24'] },
  {
    what: 'a VIP that is called node',
    change: ['name: tts-vip', 'name: node'],
    replace: ['bind: tts-vip', 'bind: node'],
  },
  { what: 'VIPs without `vrrp:`', change: ['vrrp:\n  virtualRouterId: 51\n  secretFile: vrrp.secret\n', ''] },
  { what: 'a virtual router id of 0', change: ['virtualRouterId: 51', 'virtualRouterId: 0'] },
  { what: 'a virtual router id of 256', change: ['virtualRouterId: 51', 'virtualRouterId: 256'] },
  {
    what: 'the virtual router id of another site in the same folder, on the same network',
    code: 'SITES_CLASH',
    beside: {
      'other.yaml': PAIR.replace('name: tts\n', 'name: stt\n').replaceAll('10.20.0.1', '10.20.0.14'),
    },
  },
  {
    what: 'a VRRP secret of nine characters',
    code: 'SECRET_INVALID',
    beside: { 'vrrp.secret': 'ninechars\n' },
  },
  { what: 'an empty VRRP secret', code: 'SECRET_INVALID', beside: { 'vrrp.secret': '\n' } },
  { what: 'a delay of a preempting that is not asked for', change: keyedVrrp('preemptDelaySeconds: 60') },
  {
    what: 'a hook that the bundle does not bring',
    change: keyedVrrp('notify: { change: /root/told.sh }'),
    code: 'HOOK_NOT_IN_BUNDLE',
  },
  { what: 'hooks without one script', change: keyedVrrp('notify: {}') },
  { what: 'two nodes of one priority', change: ['role: secondary', 'role: primary'] },
  { what: 'a node with role and priority', change: ['role: secondary', 'role: secondary, priority: 90'] },
  { what: 'two nodes of one address', change: ['10.20.0.12', '10.20.0.11'] },
  { what: 'a node that the site does not have', node: 'lb3', code: 'NODE_UNKNOWN' },
  { what: 'a bind to a VIP that is mistyped', change: ['bind: tts-vip', 'bind: tts-vp'] },
  { what: 'a bind to a VIP without `nonlocalBind`', more: 'system: { nonlocalBind: false }\n' },
  { what: 'two services on one port', more: second('bind: tts-vip, port: 50051') },
  { what: "a service on '*' beside one on a VIP", more: second("bind: '*', port: 50051") },
  { what: "a service on '*' with the port of the check", more: second("bind: '*', port: 8404") },
  { what: 'the stats page on the port of a service', more: second('bind: node, port: 9000') + stats('') },
  {
    what: 'the stats page on the port of the check',
    more: stats('').replace('bind: node, port: 9000', "bind: '*', port: 8404"),
  },
  {
    what: 'a service that is called like the stats page',
    change: ['- name: tts\n', '- name: stats\n'],
    more: stats(''),
  },
  {
    what: 'a password of the stats page with seven characters',
    configuration: 'haproxy',
    more: stats(''),
    beside: { 'stats.secret': 'seven77\n' },
    code: 'SECRET_INVALID',
  },
  {
    what: 'a stats page whose password is not there',
    configuration: 'haproxy',
    more: stats(''),
    code: 'NO_SECRET',
  },
  { what: 'a backend that is the VIP', change: ['address: 10.20.0.22', 'address: 10.20.0.10'] },
  {
    what: 'a backend that is the service itself on a node',
    change: ['address: 10.20.0.22', 'address: 10.20.0.12'],
    replace: ['bind: tts-vip', "bind: '*'"],
  },
  { what: 'a backend twice', change: ['10.20.0.22, port', '10.20.0.21, port'] },
  {
    what: 'backends that are all backup',
    change: [
      '- { name: tts1, address: 10.20.0.21, port: 50051 }\n      - { name: tts2, address: 10.20.0.22, port: 50051 }',
      '- { name: tts1, address: 10.20.0.21, port: 50051, backup: true }',
    ],
  },
  {
    what: 'backends that all have weight 0',
    change: [
      '- { name: tts1, address: 10.20.0.21, port: 50051 }\n      - { name: tts2, address: 10.20.0.22, port: 50051 }',
      '- { name: tts1, address: 10.20.0.21, port: 50051, weight: 0 }',
    ],
  },
  { what: 'a weight of 300', change: ['10.20.0.22, port: 50051', '10.20.0.22, port: 50051, weight: 300'] },
  { what: 'a slow start with `balance: source`', change: keyed('slowStart: 10s\n    balance: source') },
  { what: 'a slow start without a health check', change: keyed('slowStart: 10s\n    check: { kind: none }') },
  { what: 'more connections for a service than for haproxy', change: keyed('maxConnections: 20000') },
  { what: 'a certificate by a relative path', change: keyed('tls: { certificate: tls/tts.pem }') },
  { what: 'a gRPC check of a TCP service', change: [SERVICE, 'protocol: tcp\n    check: { kind: grpc }'] },
  { what: 'a TCP check of a gRPC service', change: keyed('check: { kind: tcp }') },
  {
    what: 'a TCP service whose calls may be repeated',
    change: [SERVICE, 'protocol: tcp\n    idempotent: true'],
  },
  { what: 'a duration without its unit', change: keyed("timeouts: { server: '600' }") },
  { what: 'an unknown key', change: keyed('balanse: source') },
];

function keyedVrrp(line: string): readonly [string, string] {
  return ['  secretFile: vrrp.secret\n', `  secretFile: vrrp.secret\n  ${line}\n`];
}

describe('a wrong site file', () => {
  let work = '';
  const bundles = new Map<string, string>();
  const inventory = (): string => path.join(work, 'lb1.json');

  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), 'airbundle-sites-'));
    const key = makeKey();
    for (const configuration of ['haproxy', 'keepalived'] as const) {
      const made = await makeBundle({
        work: path.join(work, configuration),
        key,
        name: configuration,
        component: { name: configuration, configuration },
      });
      bundles.set(configuration, made.folder);
    }
    writeFileSync(inventory(), formatInventory(someInventory()));
  }, 60_000);
  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
  });

  async function planned(folder: string, row: Row): Promise<{ exit: number; stderr: string }> {
    const root = new Command('bundle').exitOverride();
    deskPlanCommand(root, localHost);
    const words = ['--inventory', inventory(), '--site', path.join(folder, 'site.yaml'), '--unsigned', '-q'];
    const bundle = bundles.get(row.configuration ?? 'keepalived') ?? '';
    try {
      await root.parseAsync(['node', 'bundle', 'plan', bundle, ...words, '--node', row.node ?? 'lb1']);
    } catch (error) {
      if (error instanceof BundleError)
        return { exit: error.exit, stderr: `${describeError(error).join('\n')}\n` };
      throw error;
    }
    throw new Error('was accepted');
  }

  it.each(ROWS)('is told on the desk: $what', async (row) => {
    const folder = path.join(work, 'desk');
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    let text = PAIR;
    for (const [from, to] of [row.change, row.replace].filter((pair) => pair !== undefined)) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    const files = { 'vrrp.secret': 's3cret\n', 'site.yaml': text + (row.more ?? ''), ...row.beside };
    for (const [name, content] of Object.entries(files))
      writeFileSync(path.join(folder, name), content, { mode: 0o600 });
    const answer = await planned(folder, row);
    expect(answer.stderr).toContain(`error[${row.code ?? 'SITE_INVALID'}]`);
    table.row(row.what, answer, [[folder, 'FOLDER']]);
  });

  it('is told of nothing else in this page', () => {
    table.complete();
  });
});
