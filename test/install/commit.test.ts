import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ApplyRequest } from '../../src/install/apply.js';
import { apply } from '../../src/install/apply.js';
import type { CommitInput } from '../../src/install/commit.js';
import { commit } from '../../src/install/commit.js';
import { openJournal } from '../../src/install/journal.js';
import { makePlan } from '../../src/install/plan.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import { Sha256 } from '../../src/model/grammar.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import { readKey } from '../../src/review/keys.js';
import type { Rooted, RootedOptions } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import { makeKey, sha256Of } from './bundle.js';
import { NO_CONFIGURATION, nevra, planRequest, someConfiguration, someContents, someFacts } from './facts.js';

const key = readKey(makeKey().pem, 'a test');
const OLD_FLOOR = JSON.stringify({ small: { sequence: 1, digest: sha256Of('old') } });
const contents = someContents({ sequence: 2 });

const node = (fail: RootedOptions['fail']): Rooted => {
  const host = rootedHost({ answer: () => ({}), ...(fail === undefined ? {} : { fail }) });
  host.put(target.floor, OLD_FLOOR);
  return host;
};
const floorOf = (host: Rooted): string => readFileSync(path.join(host.root, target.floor), 'utf8');

const input: CommitInput = {
  runId: 'run2',
  unsettled: NOTHING_UNSETTLED,
  date: new Date(0),
  verified: {
    checksums: {
      name: 'small',
      version: '1.0.0',
      sequence: 2,
      target: 'el7.x86_64',
      files: [],
    },
    digest: Sha256.parse(sha256Of('new')),
    signedBy: key,
    signers: [key],
  },
  contents,
  plan: makePlan(planRequest({ contents })),
  facts: someFacts(),
  applied: {
    files: [],
    links: [],
    displaced: [],
    made: [],
    packages: { added: [], replaced: [] },
    accounts: [],
  },
  receipt: undefined,
  siteDigest: null,
  configuration: NO_CONFIGURATION,
};

describe('a commit', () => {
  it("remembers what earlier installations put there, for as long as it is there and nobody's", async () => {
    const host = node(undefined);
    for (const name of ['was.conf', 'gone.conf', 'older.conf', 'again.conf', 'hello'])
      if (name !== 'gone.conf') host.put(`/etc/hello/${name}`, 'x\n');
    const file = (name: string) => ({
      component: 'hello',
      path: `/etc/hello/${name}`,
      mode: 0o644 as const,
      sha256: Sha256.parse(sha256Of('x\n')),
    });
    const first = await commit(host, input);
    expect(first.dropped).toBeUndefined();
    const before = {
      ...first,
      files: [{ ...file('hello'), component: 'another' }],
      configured: ['was.conf', 'gone.conf'].map(file),
      dropped: ['/etc/hello/older.conf', '/etc/hello/again.conf'],
    };
    const applied = { ...input.applied, files: [file('again.conf')] };
    expect((await commit(host, { ...input, applied, receipt: before })).dropped).toEqual([
      '/etc/hello/hello',
      '/etc/hello/older.conf',
      '/etc/hello/was.conf',
    ]);
  });

  it('counts the packages before as an unbroken run does, whatever a killed rpm left of them', async () => {
    const installed = [
      'a-1.0-1.el7.x86_64',
      'a-2.0-1.el7.x86_64',
      'b-1.0-1.el7.x86_64',
      'c-1.0-1.el7.x86_64',
    ];
    const { rpms } = await commit(node(undefined), {
      ...input,
      facts: someFacts({ installed: installed.map(nevra) }),
      unsettled: {
        ...NOTHING_UNSETTLED,
        packageChanges: {
          added: ['c-1.0-1.el7.x86_64', 'd-1.0-1.el7.x86_64'],
          replaced: [{ from: 'a-1.0-1.el7.x86_64', to: 'a-2.0-1.el7.x86_64' }],
        },
      },
    });
    expect(rpms.before).toBe(2);
  });

  it('that cannot write its receipt leaves the floor as it was', async () => {
    const host = node((call, at) =>
      call === 'writeDurable' && at === target.receipt ? 'ENOSPC' : undefined,
    );
    await expect(commit(host, input)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(floorOf(host)).toBe(OLD_FLOOR);
  });

  it('names the floor where it cannot be put back', async () => {
    let floors = 0;
    const host = node((call, at) => {
      if (call !== 'writeDurable') return undefined;
      if (at === target.floor) floors += 1;
      return at === target.receipt || floors > 1 ? 'EIO' : undefined;
    });
    await expect(commit(host, input)).rejects.toMatchObject({
      code: 'DISK_ERROR',
      exit: 6,
      details: [expect.stringContaining(`not undone: ${target.floor} could not be put back`)],
    });
  });

  it('holds when the receipt is in its place, although the disk failed behind that', async () => {
    const host = node(undefined);
    const failing = {
      ...host,
      writeDurable: async (...given: Parameters<Rooted['writeDurable']>) => {
        await host.writeDurable(...given);
        if (given[0] === target.receipt) throw Object.assign(new Error('EIO: fsync'), { code: 'EIO' });
      },
    };
    expect((await commit(failing, input)).run).toBe('run2');
    expect(JSON.parse(floorOf(host))).toMatchObject({ small: { sequence: 2 } });
  });
});

describe('a run that cannot be committed', () => {
  const configuration = someConfiguration({ users: [], services: [], checks: [] });
  const whole = makePlan(planRequest({ contents, configuration }));
  const request = (host: Rooted, given: Pick<ApplyRequest, 'commit'>): ApplyRequest => ({
    plan: { ...whole, steps: whole.steps.filter(({ kind }) => kind === 'configuration') },
    contents,
    configuration,
    facts: someFacts(),
    staged: undefined,
    key,
    takeOver: false,
    runId: 'run2',
    journal: openJournal(host, 'run2'),
    unsettled: NOTHING_UNSETTLED,
    reporter: createReporter({
      format: 'text',
      quiet: true,
      color: false,
      now: () => 0,
      stream: { write: () => true },
    }),
    now: () => performance.now(),
    interrupted: () => false,
    onWatch: () => undefined,
    ...given,
  });

  it('is undone like a failed step', async () => {
    const host = node(undefined);
    host.put('/etc/hello/hello.conf', 'mine\n');
    host.put('/etc/systemd/system/other.service', '');
    const text = (): string => readFileSync(path.join(host.root, '/etc/hello/hello.conf'), 'utf8');
    const seen: string[] = [];
    const full = async (): Promise<never> => {
      seen.push(text());
      throw Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC', path: target.receipt });
    };
    await expect(apply(host, request(host, { commit: full }))).rejects.toMatchObject({
      code: 'NO_ROOM',
      exit: 6,
      where: `step commit, ${target.receipt}`,
      hint: expect.stringContaining('Undone: 2 files are as they were') as string,
    });
    expect(seen).toEqual(['a=1\n']);
    expect(text()).toBe('mine\n');
  });
});
