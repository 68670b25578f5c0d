import { symlinkSync, truncateSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import { driftOf } from '../../src/install/plan-drift.js';
import { formatPlan, planDocument } from '../../src/install/plan-document.js';
import { readPlan, requireSamePlan } from '../../src/install/plan-file.js';
import type { PlanDocument } from '../../src/install/plan-schema.js';
import type { PlanRequest } from '../../src/install/plan.js';
import { makePlan } from '../../src/install/plan.js';
import { rootedHost } from '../host/rooted.js';
import { nevra, planRequest, rpm, someConfiguration, someContents, someFacts } from './facts.js';

const contents = someContents({ rpms: [rpm('gcc-4.8.5-28.el7.x86_64')] });
const documentOf = (given: Partial<PlanRequest> = {}): PlanDocument =>
  planDocument(makePlan(planRequest({ contents, configuration: someConfiguration(), ...given })));
const failure = (work: () => unknown): BundleError => {
  try {
    work();
  } catch (error) {
    if (error instanceof BundleError) return error;
    throw error;
  }
  throw new Error('it did not fail');
};

describe('a plan that was approved', () => {
  it('is the same as the plan of the same node', () => {
    expect(driftOf(documentOf(), documentOf())).toEqual([]);
    expect(() => {
      requireSamePlan(documentOf(), documentOf());
    }).not.toThrow();
  });

  it('is the same when only free space, or the number of processors, is another', () => {
    const later = documentOf({ facts: someFacts({ freeBytes: 9 * 1024 ** 3, cpus: 16 }) });
    expect(driftOf(documentOf(), later)).toEqual([]);
  });

  it.each<[string, Partial<PlanRequest>, readonly string[]]>([
    [
      'a package that was installed since',
      { facts: someFacts({ installed: [nevra('gcc-4.8.5-44.el7.x86_64')] }) },
      [
        'packages gcc-4.8.5-28.el7.x86_64 action: "install" → "keep newer"',
        'packages gcc-4.8.5-28.el7.x86_64 installed: null → "gcc-4.8.5-44.el7.x86_64"',
      ],
    ],
    [
      'a flag',
      { allow: { upgrade: true, protectedNames: [], takeOver: false } },
      ['allow upgrade: false → true'],
    ],
    ['another site file', { siteDigest: 'b'.repeat(64) }, [`siteDigest: null → "${'b'.repeat(64)}"`]],
    [
      'an account that is there',
      { facts: someFacts({ users: new Map([['hello', { uid: 990, gid: 990 }]]) }) },
      ['accounts hello change: "new" → "unchanged"'],
    ],
    [
      'a service that runs',
      {
        facts: someFacts({
          units: new Map([['hello.service', { active: 'active', enabled: 'enabled', fragment: '' }]]),
        }),
      },
      ['services hello.service active: "" → "active"', 'services hello.service action: "start" → "restart"'],
    ],
    [
      'a file that somebody put there',
      {
        facts: someFacts({
          files: new Map([
            ['/etc/hello/hello.conf', { sha256: 'c'.repeat(64), mode: 0o644, uid: 0, gid: 0 }],
          ]),
          texts: new Map([['/etc/hello/hello.conf', 'a=0\n']]),
        }),
      },
      ['files /etc/hello/hello.conf change: "new" → "replaced"'],
    ],
  ])('is refused for %s, which is named', (_, given, lines) => {
    const refused = failure(() => {
      requireSamePlan(documentOf(), documentOf(given));
    });
    expect(refused).toMatchObject({ code: 'PLAN_DRIFTED', exit: 5 });
    expect(refused.details).toEqual(expect.arrayContaining([...lines]));
  });

  it('of another bundle is no plan of this one', () => {
    const refused = failure(() => {
      requireSamePlan(documentOf({ digest: 'e'.repeat(64) }), documentOf());
    });
    expect(refused).toMatchObject({ code: 'PLAN_OTHER_BUNDLE', exit: 3 });
  });
});

describe('a plan file', () => {
  const read = async (text: string): Promise<PlanDocument | BundleError> => {
    const host = rootedHost();
    host.put('/plan.json', text);
    return readPlan(host, '/plan.json').catch((error: unknown) => error as BundleError);
  };
  const good = JSON.parse(formatPlan(documentOf())) as Record<string, unknown>;

  it('is read as it was written', async () => {
    expect(await read(formatPlan(documentOf()))).toEqual(documentOf());
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['no JSON', 'plan'],
    ['JSON of another kind', '[]'],
    ['an unknown key', JSON.stringify({ ...good, run: ['rm', '-rf', '/'] })],
    ['another version', JSON.stringify({ ...good, 'airbundle-plan': 2 })],
    ['a missing key', JSON.stringify({ ...good, packages: undefined })],
    [
      'a digest that is none',
      JSON.stringify({ ...good, bundle: { name: 'a', version: '1', sequence: 1, digest: '' } }),
    ],
  ])('with %s is refused', async (_, text) => {
    expect(await read(text)).toMatchObject({ code: 'BAD_PLAN', exit: 3 });
  });

  it('that is not there, a folder, or too large is refused unread', async () => {
    const host = rootedHost();
    host.put('/folder/file', '');
    host.put('/large.json', '');
    truncateSync(path.join(host.root, 'large.json'), 10_000_000);
    symlinkSync('/dev/zero', path.join(host.root, 'endless.json'));
    for (const at of ['/none.json', '/folder', '/large.json', '/endless.json'])
      await expect(readPlan(host, at)).rejects.toMatchObject({ code: 'BAD_PLAN', exit: 3 });
  });

  it('of any JSON is read or refused, never something else', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json(), fc.constantFrom(...Object.keys(good)), async (json, key) => {
        const mixed = JSON.stringify({ ...good, [key]: JSON.parse(json) as unknown });
        for (const text of [json, mixed]) {
          const result = await read(text);
          if (result instanceof BundleError) expect(result).toMatchObject({ code: 'BAD_PLAN', exit: 3 });
          else expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(result)));
        }
      }),
      { numRuns: 50 },
    );
  });
});
