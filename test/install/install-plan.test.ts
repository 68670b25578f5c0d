import { cpSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { InstallRequest, InstallResult } from '../../src/install/install.js';
import { install } from '../../src/install/install.js';
import { openJournal } from '../../src/install/journal.js';
import { planDocument } from '../../src/install/plan-document.js';
import { NOTHING_RUNNING } from '../../src/install/running.js';
import { planDigest, planOfKilledRun } from '../../src/install/plan-resume.js';
import type { PlanDocument } from '../../src/install/plan-schema.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import type { Rooted, RootedOptions } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey } from './bundle.js';

const key = makeKey();

const answer: NonNullable<RootedOptions['answer']> = ([program, ...words]) => {
  if (program === 'rpm') return { stdout: '', exitCode: words[0] === '-qa' ? 0 : 1 };
  if (program === 'uname') return { stdout: 'x86_64\n' };
  if (program === 'getent') return { stdout: 'root:x:0:0::/root:/bin/sh\n' };
  return undefined;
};

describe('an installation by a plan that was approved', () => {
  let work: string;
  let made: MadeBundle;
  beforeAll(async () => {
    work = path.join(temporaryFolder(), '..', `airbundle-by-plan-${process.pid}`);
    made = await makeBundle({ work, key });
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  const node = (): Rooted => {
    const host = rootedHost({ answer });
    cpSync(made.folder, path.join(host.root, 'm'), { recursive: true });
    host.put('/key.pem', key.pem);
    host.put('/etc/os-release', 'ID="centos"\nVERSION_ID="7"\nPRETTY_NAME="CentOS Linux 7 (Core)"\n');
    host.put('/etc/centos-release', 'CentOS Linux release 7.5.1804 (Core)\n');
    return host;
  };
  const run = (host: Rooted, given: Partial<InstallRequest>): Promise<InstallResult> =>
    install(host, {
      directory: '/m',
      key: '/key.pem',
      fingerprint: key.fingerprint,
      site: undefined,
      node: undefined,
      allow: { upgrade: false, protectedNames: [], takeOver: false, conflicts: [] },
      build: { way: undefined, keepPackages: false },
      dryRun: false,
      reporter: createReporter({
        format: 'text',
        quiet: true,
        color: false,
        now: () => 0,
        stream: { write: () => true },
      }),
      now: () => performance.now(),
      date: () => new Date(0),
      runId: 'run1',
      interrupted: () => false,
      confirm: () => Promise.resolve(true),
      ...given,
    });
  const approved = async (host: Rooted): Promise<PlanDocument> =>
    planDocument((await run(host, { dryRun: true })).plan);

  it('asks whether to go on when the plan is the same, and stops before it asks when it is not', async () => {
    const host = node();
    const expected = await approved(host);
    const asked: PlanDocument[] = [];
    const confirm: InstallRequest['confirm'] = (plan) => {
      asked.push(planDocument(plan));
      return Promise.resolve(false);
    };
    expect((await run(host, { expected, confirm })).outcome).toBe('declined');
    expect(asked.map(({ packages, files }) => ({ packages, files }))).toEqual([
      { packages: expected.packages, files: expected.files },
    ]);
    host.put('/usr/local/bin/hello', 'somebody put this here');
    await expect(run(host, { expected, confirm })).rejects.toMatchObject({
      code: 'PLAN_DRIFTED',
      exit: 5,
      details: expect.arrayContaining(['files /usr/local/bin/hello change: "new" → "replaced"']) as string[],
    });
    expect(asked).toHaveLength(1);
    expect(readdirSync(path.join(host.root, target.stage))).toEqual([]);
    expect(await host.read(target.journal)).toBeUndefined();
    expect(await host.list(target.trust)).toEqual([]);
  });

  it('goes on with the same plan, and no other, after its run was killed', async () => {
    const host = node();
    const expected = await approved(host);
    const other = { ...expected, notes: ['another one'] };
    const confirm: InstallRequest['confirm'] = () => Promise.resolve(false);
    const begin = (plan: PlanDocument): Promise<void> =>
      openJournal(host, 'killed').record({
        event: 'begin',
        kind: 'install',
        digest: expected.bundle.digest,
        bundle: 'small 1.0.0',
        node: null,
        plan: planDigest(plan),
        siteDigest: null,
        flags: [],
        units: [],
        running: NOTHING_RUNNING,
      });
    await begin(expected);
    host.put(target.command, 'what the killed run had done');
    expect((await run(host, { expected, confirm })).outcome).toBe('declined');
    await expect(run(host, { expected: other, confirm })).rejects.toMatchObject({ code: 'PLAN_DRIFTED' });
    await openJournal(host, 'killed').record({ event: 'end', result: 'failed' });
    await expect(run(host, { expected, confirm })).rejects.toMatchObject({ code: 'PLAN_DRIFTED' });
  });

  it('refuses the plan of another bundle', async () => {
    const host = node();
    const expected = await approved(host);
    const other = { ...expected, bundle: { ...expected.bundle, digest: 'f'.repeat(64) } };
    await expect(run(host, { expected: other })).rejects.toMatchObject({
      code: 'PLAN_OTHER_BUNDLE',
      exit: 3,
    });
    expect(await host.read(target.journal)).toBeUndefined();
  });
});

describe('the plan of a killed run', () => {
  const line = (given: Record<string, unknown>): string => `${JSON.stringify(given)}\n`;
  const begin = line({ event: 'begin', plan: 'a' });

  it.each<[string, string, string | undefined]>([
    ['that was begun with one', begin, 'a'],
    ['whose next line was cut off', `${begin}{"event":"end`, 'a'],
    ['that was begun without one', begin + line({ event: 'begin' }), undefined],
    ['that ended', begin + line({ event: 'end', result: 'failed' }), undefined],
    ['that was committed', begin + line({ event: 'commit' }), undefined],
    ['of which nothing is known', '', undefined],
  ])('is read from the journal: a run %s', (_, text, plan) => {
    expect(planOfKilledRun(text)).toBe(plan);
  });
});
