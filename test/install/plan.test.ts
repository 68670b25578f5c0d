import { describe, expect, it } from 'vitest';
import type { Plan, PlanRequest, PlanStep } from '../../src/install/plan.js';
import { commandScript, makePlan, needsPayload } from '../../src/install/plan.js';
import type { Receipt } from '../../src/install/receipt.js';
import { recipeOf } from '../../src/install/receipt.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import { Sha256 } from '../../src/model/grammar.js';
import { sha256Of } from './bundle.js';
import { factsAfter, nevra, planRequest, rpm, someConfiguration, someContents, someFacts } from './facts.js';

const ids = (plan: Plan): string[] => plan.steps.map((step) => step.id);
const stepOf = <K extends PlanStep['kind']>(
  plan: Plan,
  kind: K,
): Extract<PlanStep, { kind: K }> | undefined =>
  plan.steps.find((step): step is Extract<PlanStep, { kind: K }> => step.kind === kind);

const full = (given: Partial<PlanRequest> = {}): PlanRequest =>
  planRequest({
    contents: someContents({ rpms: [rpm('gcc-4.8.5-28.el7.x86_64')] }),
    configuration: someConfiguration(),
    newKey: { keyId: 'k', fingerprint: 'f' },
    ...given,
  });

const receiptOf = ({ contents }: PlanRequest): Receipt => ({
  airbundleReceipt: 1,
  run: null,
  digest: Sha256.parse('d'.repeat(64)),
  keyId: 'k',
  committedAt: '2026-01-01T00:00:00.000Z',
  node: null,
  siteDigest: null,
  contents,
  recipes: Object.fromEntries(contents.components.map((one) => [one.name, recipeOf(one)])),
  files: [{ component: 'hello', path: '/usr/local/bin/hello', sha256: sha256Of('hello'), mode: 0o755 }],
  links: [],
  configured: [],
  watched: { units: [], versions: [], vips: [], sockets: [] },
  rpms: { before: 0, after: 1, installed: [], absent: [], pending: [] },
});
/** The same request on the node as it is after its plan. */
const installed = (given: Partial<PlanRequest> = {}): PlanRequest => {
  const before = full();
  return {
    ...before,
    newKey: undefined,
    facts: factsAfter(before, sha256Of(commandScript())),
    receipt: receiptOf(before),
    ...given,
  };
};

describe('what a killed run was to erase', () => {
  const pending = (keepPackages: boolean): Plan => {
    const given = installed();
    const rpms = { before: 0, after: 1, installed: [], absent: [], pending: ['gcc-4.8.5-28.el7.x86_64'] };
    return makePlan({
      ...given,
      receipt: { ...receiptOf(given), rpms },
      facts: {
        ...given.facts,
        installed: [...given.facts.installed, nevra('gcc-4.8.5-28.el7.x86_64')],
      },
      build: { way: undefined, keepPackages },
    });
  };

  it('is erased by the next one', () => {
    const plan = pending(false);
    expect(plan.steps.map((step) => step.id)).toEqual(['erase']);
    expect(plan.steps[0]?.changes).toEqual([
      '- gcc-4.8.5-28.el7.x86_64  unless something that stays needs it',
    ]);
  });

  it('or is kept by it, which the receipt has to say', () => {
    const plan = pending(true);
    expect(plan.steps.map((step) => step.id)).toEqual(['erase']);
    expect(plan.steps[0]?.title).toContain('keep the RPMs of the build');
    expect(plan.steps[0]?.changes).toEqual([]);
  });
});

describe('the plan of a first installation', () => {
  it('has every step, in order, each with its changes and its way back', () => {
    const plan = makePlan(full());
    expect(ids(plan)).toEqual([
      'trust',
      'command',
      'rpms',
      'users',
      'build',
      'files',
      'configuration',
      'services',
    ]);
    for (const step of plan.steps) {
      expect([step.id, step.changes.length > 0, step.undo !== '']).toEqual([step.id, true, true]);
    }
    expect(plan.refusals).toEqual([]);
    expect(needsPayload(plan)).toBe(true);
  });

  it('is the same for the same input', () => {
    expect(JSON.stringify(makePlan(full()))).toBe(JSON.stringify(makePlan(full())));
  });

  it('builds as users that nobody is, one for each component', () => {
    const [hello] = someContents().components;
    const contents = someContents({ components: [hello!, { ...hello!, name: 'other' }] });
    const facts = someFacts({
      users: new Map([['x', { uid: 47_801, gid: 5 }]]),
      groups: new Map([['y', 47_802]]),
    });
    const jobs = stepOf(makePlan(planRequest({ contents, facts })), 'build')?.jobs;
    expect(jobs?.map((job) => job.uid)).toEqual([47_803, 47_804]);
  });

  it('leaves /usr/sbin/bundle to whoever has it', () => {
    const facts = someFacts({ links: new Map([['/usr/sbin/bundle', '/opt/ruby/bundle']]) });
    expect(stepOf(makePlan(planRequest({ facts })), 'command')).toMatchObject({ alias: false });
  });
});

describe('the plan after that', () => {
  it('is empty', () => {
    const plan = makePlan(installed());
    expect([ids(plan), plan.refusals, needsPayload(plan)]).toEqual([[], [], false]);
  });

  it('rebuilds a component whose file was changed, and restarts it', () => {
    const request = installed();
    const files = new Map([
      ...request.facts.files,
      ['/usr/local/bin/hello', { sha256: sha256Of('x'), mode: 0o755, uid: 0, gid: 0 }] as const,
    ]);
    const plan = makePlan({ ...request, facts: { ...request.facts, files } });
    expect(ids(plan)).toEqual(['build', 'files', 'services']);
    expect(stepOf(plan, 'services')?.actions[0]?.action).toBe('restart');
  });

  it('writes a changed configuration and only reloads', () => {
    const request = installed();
    const files = request.configuration.files.map((file) =>
      file.path.endsWith('.conf') ? { ...file, content: 'a=2\n' } : file,
    );
    const plan = makePlan({ ...request, configuration: { ...request.configuration, files } });
    expect(ids(plan)).toEqual(['configuration', 'services']);
    expect(stepOf(plan, 'configuration')?.refreshes.map((one) => one.id)).toEqual(['sysctl']);
    expect(stepOf(plan, 'services')?.actions[0]?.action).toBe('reload');
  });

  it('starts a service that was stopped', () => {
    const request = installed();
    const units = new Map([['hello.service', { active: 'failed', enabled: 'enabled', fragment: '' }]]);
    const plan = makePlan({ ...request, facts: { ...request.facts, units, listening: new Set() } });
    expect(stepOf(plan, 'services')?.changes).toEqual(['start hello.service']);
  });

  it('of a run that was killed after its configuration was swapped in lets the services take note', () => {
    const unsettled = {
      ...NOTHING_UNSETTLED,
      displaced: [
        {
          path: '/etc/hello/hello.conf',
          backup: null,
          link: null,
          mode: 0,
          uid: 0,
          gid: 0,
          sha256: null,
          after: null,
        },
      ],
    };
    const plan = makePlan(installed({ unsettled }));
    expect(ids(plan)).toEqual(['configuration', 'services']);
    expect(stepOf(plan, 'services')?.changes).toEqual(['reload hello.service']);
    expect(plan.notes).toContain('an earlier run was ended before it was done: what it began is done again');
  });

  it('of a run that was killed while rpm ran installs those packages again', () => {
    const unsettled = { ...NOTHING_UNSETTLED, packages: new Set(['gcc-4.8.5-28.el7.x86_64']) };
    expect(stepOf(makePlan(installed({ unsettled })), 'rpms')?.changes).toEqual([
      '+ gcc-4.8.5-28.el7.x86_64',
    ]);
  });
});

describe('a node that is not fit', () => {
  it.each<[string, Partial<PlanRequest>, RegExp]>([
    [
      'another system',
      { facts: someFacts({ os: { id: 'debian', release: '11', name: 'Debian 11' } }) },
      /Debian 11/,
    ],
    [
      'another release',
      { facts: someFacts({ os: { id: 'centos', release: '7.9.2009', name: 'CentOS' } }) },
      /7\.9\.2009/,
    ],
    [
      'a release that only begins like it',
      { facts: someFacts({ os: { id: 'centos', release: '7.50', name: 'CentOS' } }) },
      /7\.50/,
    ],
    ['an unknown system', { facts: someFacts({ os: { id: '', release: '', name: '' } }) }, /unknown system/],
    ['another architecture', { facts: someFacts({ arch: 'aarch64' }) }, /aarch64/],
    ['too little room', { facts: someFacts({ freeBytes: 1024 }) }, /0 MiB free/],
    ['noexec', { facts: someFacts({ noexec: ['/var'] }) }, /mount -o remount,exec \/var/],
    ['read-only', { facts: someFacts({ readOnly: ['/usr'] }) }, /mount -o remount,rw \/usr/],
    ['a port that is taken', { facts: someFacts({ listening: new Set(['*:5000']) }) }, /ss -ltnp/],
    ['no such interface', { facts: someFacts({ interfaces: new Map([['ens1', []]]) }) }, /eth0.*it has ens1/],
    [
      'a VIP outside of the network of its interface',
      { facts: someFacts({ interfaces: new Map([['eth0', ['10.9.0.11/24']]]) }) },
      /VIP 10\.0\.0\.100 on eth0, where this node is in another network \(10\.9\.0\.0\/24\)/,
    ],
    [
      'a certificate that is not there',
      {
        configuration: someConfiguration({
          required: [{ path: '/etc/tls/tts.pem', what: 'the certificate of tts' }],
        }),
      },
      /certificate of tts is not there: put it at \/etc\/tls\/tts\.pem/,
    ],
    [
      'an address that another node has',
      {
        configuration: someConfiguration({
          addresses: [{ address: '10.0.0.12', interface: 'eth0', what: 'node lb2' }],
        }),
      },
      /node lb2 has 10\.0\.0\.12 on eth0; here eth0 has 10\.0\.0\.11\/24: is --node right\?/,
    ],
    [
      'a file of a package',
      { facts: someFacts({ owners: new Map([['/etc/hello/hello.conf', 'hello']]) }) },
      /--take-over/,
    ],
    [
      'a unit of a package',
      {
        facts: someFacts({
          units: new Map([
            [
              'hello.service',
              { active: 'active', enabled: 'enabled', fragment: '/usr/lib/systemd/system/hello.service' },
            ],
          ]),
        }),
      },
      /--take-over/,
    ],
    [
      'an older package',
      { facts: someFacts({ installed: [nevra('gcc-4.8.5-16.el7.x86_64')] }) },
      /--allow-upgrade/,
    ],
  ])('is refused: %s', (_, given, words) => {
    expect(makePlan(full(given)).refusals).toEqual([expect.stringMatching(words)]);
  });

  it('is taken over when that is asked for', () => {
    const facts = someFacts({ owners: new Map([['/etc/hello/hello.conf', 'hello']]) });
    const allow = { upgrade: false, protectedNames: [], takeOver: true };
    expect(makePlan(full({ facts, allow })).refusals).toEqual([]);
  });

  it('is told all reasons at once', () => {
    const facts = someFacts({ arch: 'i686', freeBytes: 0, noexec: ['/var'], readOnly: ['/usr'] });
    expect(makePlan(full({ facts })).refusals).toHaveLength(4);
  });
});
