import { describe, expect, it } from 'vitest';
import type { FolderState } from '../../src/install/folders.js';
import { factsOf } from '../../src/install/inventory.js';
import { InventorySchema } from '../../src/install/inventory-schema.js';
import type { Plan } from '../../src/install/plan.js';
import { makePlan } from '../../src/install/plan.js';
import { planRequest, someConfiguration, someFacts, someInventory } from './facts.js';

const root = { kind: 'directory', mode: 0o755, uid: 0, gid: 0 } as const;
/** A plan for /etc/hello (0755 root:root) on a node where this stands there, and in place of /etc. */
const planWith = (
  there: FolderState | null | undefined,
  shared = false,
  parent: FolderState = root,
): Plan => {
  const configuration = someConfiguration();
  return makePlan(
    planRequest({
      configuration: {
        ...configuration,
        directories: configuration.directories.map((one) => ({ ...one, shared })),
      },
      facts: someFacts({
        directories: new Map(there === undefined ? [] : [['/etc/hello', there]]),
        parents: new Map([['/etc', parent]]),
        users: new Map([
          ['root', { uid: 0, gid: 0 }],
          ['hello', { uid: 90, gid: 91 }],
        ]),
        groups: new Map([
          ['root', 0],
          ['hello', 91],
        ]),
      }),
    }),
  );
};
const folder = (plan: Plan): unknown => plan.details.directories[0];
const said = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith('/etc/hello '));

describe('a folder that is declared', () => {
  it('is made as it is declared where nothing is', () => {
    const plan = planWith(undefined);
    expect(folder(plan)).toMatchObject({ change: 'new', mode: '0755', owner: 'root:root' });
    expect([...said(plan.notes), ...said(plan.refusals)]).toEqual([]);
  });

  it('is not worth a word where it is as it is declared', () => {
    const plan = planWith(root);
    expect(folder(plan)).toMatchObject({ change: 'unchanged', mode: '0755', owner: 'root:root' });
    expect([...said(plan.notes), ...said(plan.refusals)]).toEqual([]);
  });

  it('is shown as it is, not as it would have been, and the plan says how to change it', () => {
    const plan = planWith({ ...root, mode: 0o711, uid: 90, gid: 17 });
    expect(folder(plan)).toMatchObject({ change: 'unchanged', mode: '0711', owner: 'hello:17' });
    expect(said(plan.notes)).toEqual([
      '/etc/hello is there as 0711 hello:17 and stays so; a new one would be 0755 root:root (chown root:root /etc/hello && chmod 0755 /etc/hello)',
    ]);
    expect(said(plan.refusals)).toEqual([]);
  });

  it.each([
    ['everybody', { ...root, mode: 0o1777 }, '1777'],
    ['its group', { ...root, mode: 0o775, gid: 91 }, '0775'],
  ])('is refused where %s may write to it: files in it could be replaced', (who, there, mode) => {
    expect(said(planWith(there).refusals)).toEqual([
      `/etc/hello can be written by ${who} (${mode}): who may write there can replace what the service reads (chmod 0755 /etc/hello)`,
    ]);
  });

  it("may be written by root's group, which is root", () => {
    expect(said(planWith({ ...root, mode: 0o775 }).refusals)).toEqual([]);
  });

  it('is refused where something else stands, also where the system has such folders', () => {
    for (const shared of [false, true])
      expect(said(planWith({ ...root, kind: 'link' }, shared).refusals)).toEqual([
        '/etc/hello is to be a folder and is none (see: stat /etc/hello): move it away',
      ]);
  });

  it('is refused where a stranger owns it, who is neither root nor an account of this software', () => {
    expect(said(planWith({ ...root, uid: 1000, gid: 1000 }).refusals)).toEqual([
      '/etc/hello belongs to 1000:1000, who can replace what the service reads there (chown root:root /etc/hello)',
    ]);
  });

  it('is shown as it is where the system has it too, without a note of what it might be', () => {
    const plan = planWith({ ...root, mode: 0o700, uid: 90 }, true);
    expect(folder(plan)).toMatchObject({ change: 'unchanged', mode: '0700', owner: 'hello:root' });
    expect([...said(plan.notes), ...said(plan.refusals)]).toEqual([]);
  });

  it('is refused where others may write to it also where the system has it too', () => {
    expect(said(planWith({ ...root, mode: 0o777 }, true).refusals)).toEqual([
      '/etc/hello can be written by everybody (0777): who may write there can replace what the service reads (chmod 0755 /etc/hello)',
    ]);
  });

  it.each([
    [
      'a stranger owns',
      { ...root, uid: 1000, gid: 0 },
      '/etc belongs to 1000:root, who can replace what the service reads there (chown root:root /etc)',
    ],
    [
      'everybody may write to',
      { ...root, mode: 0o777 },
      '/etc can be written by everybody (0777): who may write there can replace what the service reads (chmod 0755 /etc)',
    ],
  ])('is refused where %s the folder above it', (_, parent, reason) => {
    for (const there of [root, undefined])
      expect(planWith(there, false, parent).refusals.filter((line) => line.startsWith('/etc '))).toEqual([
        reason,
      ]);
  });

  it('may lie below a folder like /tmp, in which others cannot rename what is not their own', () => {
    expect(planWith(root, false, { ...root, mode: 0o1777 }).refusals).toEqual(planWith(root).refusals);
    expect(planWith(root, false, { ...root, mode: 0o1777, uid: 1000 }).refusals).toContainEqual(
      expect.stringContaining('/etc belongs to 1000:root'),
    );
  });

  it('may lie below a folder of the account that it is for', () => {
    expect(planWith(root, false, { ...root, uid: 90 }).refusals).toEqual(planWith(root).refusals);
  });

  it('is there, and no more is known, in an inventory of before its mode was read', () => {
    const inventory = JSON.parse(JSON.stringify(someInventory())) as { facts: object };
    const older = { ...inventory, facts: { ...inventory.facts, directories: ['/etc/hello'] } };
    const { directories } = factsOf(InventorySchema.parse(older));
    expect([...directories]).toEqual([['/etc/hello', null]]);
    const plan = planWith(null);
    expect(folder(plan)).toMatchObject({ change: 'unchanged', mode: '0755', owner: 'root:root' });
    expect([...said(plan.notes), ...said(plan.refusals)]).toEqual([]);
  });
});
