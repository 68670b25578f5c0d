import { describe, expect, it } from 'vitest';
import { chooseUndo, rollback } from '../../src/install/rollback.js';
import type { Receipt } from '../../src/install/receipt.js';
import { readReceipt, writeReceipt } from '../../src/install/receipt.js';
import { NOTHING_RUNNING } from '../../src/install/running.js';
import type { CommittedRuns, UndoRecord } from '../../src/install/undo-record.js';
import { committedRuns, forgetAdded, writeUndoRecord } from '../../src/install/undo-record.js';
import type { Unsettled } from '../../src/install/unsettled.js';
import { NOTHING_UNSETTLED } from '../../src/install/unsettled.js';
import { Sha256 } from '../../src/model/grammar.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import { ended, rootedHost } from '../host/rooted.js';
import { someContents } from './facts.js';

const receipt = (run: string, digit: string): Receipt => ({
  airbundleReceipt: 1,
  run,
  digest: Sha256.parse(digit.padEnd(64, '0')),
  keyId: 'k',
  committedAt: '2026-01-01T00:00:00.000Z',
  node: null,
  siteDigest: null,
  contents: someContents(),
  recipes: {},
  files: [],
  links: [],
  configured: [],
  watched: { units: [], versions: [], vips: [], sockets: [] },
  rpms: { before: 0, after: 0, installed: [], absent: [], pending: [] },
});
const record = (now: Receipt, before: Receipt | null): UndoRecord => ({
  airbundleUndo: 1,
  run: now.run ?? '',
  committedAt: now.committedAt,
  bundle: 'small 1.0.0',
  from: before?.digest ?? null,
  to: now.digest,
  displaced: [],
  made: [],
  packages: { added: [], replaced: [] },
  accounts: [],
  units: [],
  running: NOTHING_RUNNING,
  receipt: before,
});

/** r1 (aaaaaaaa1) → r2 (aaaaaaaa2) → r3, the same bundle with another site → r4 (bbbbbbbb). */
const r1 = receipt('r1', 'aaaaaaaa1');
const r2 = receipt('r2', 'aaaaaaaa2');
const r3 = receipt('r3', 'aaaaaaaa2');
const r4 = receipt('r4', 'bbbbbbbb');
const runs: CommittedRuns = {
  records: [record(r4, r3), record(r3, r2), record(r2, r1), record(r1, null)],
  unknown: undefined,
};
const choose = (to?: string, open: Unsettled = NOTHING_UNSETTLED) => {
  const { runs: undone, receipt: back } = chooseUndo(open, runs, r4, to);
  return [undone.map(({ run }) => run), back?.run];
};
const open: Unsettled = {
  ...NOTHING_UNSETTLED,
  packageChanges: { added: ['a-1-1.x86_64'], replaced: [] },
};

describe('what a rollback takes back', () => {
  it('is the last committed run', () => {
    expect(choose()).toEqual([['r4'], 'r3']);
  });

  it('is only what unfinished or failed runs left, where there is any', () => {
    expect(choose(undefined, open)).toEqual([['failed runs'], 'r4']);
  });

  it('is all runs after the newest one with a digest, and what is unfinished', () => {
    expect(choose('aaaaaaaa1')).toEqual([['r4', 'r3', 'r2'], 'r1']);
    expect(choose('aaaaaaaa2')).toEqual([['r4'], 'r3']);
    expect(choose('aaaaaaaa2', open)).toEqual([['failed runs', 'r4'], 'r3']);
  });

  it('is nothing for the digest that is installed', () => {
    expect(choose('bbbbbbbb')).toEqual([[], 'r4']);
  });

  it('is what an unfinished rollback had begun to take back, also after a part of it is done', () => {
    const begun = { run: 'r5', kind: 'rollback', digest: r2.digest, undoes: ['r4', 'r3'], to: 'r2' } as const;
    const half: Unsettled = { ...NOTHING_UNSETTLED, begun };
    expect(choose(undefined, half)).toEqual([['r4', 'r3'], 'r2']);
    expect(choose('aaaaaaaa2', half)).toEqual([['r4', 'r3'], 'r2']);
    const after = chooseUndo(half, { ...runs, records: runs.records.slice(2) }, r2, undefined);
    expect([after.runs, after.receipt?.run]).toEqual([[], 'r2']);
    expect(() => choose('bbbbbbbb', half)).toThrow('another digest');
  });

  it.each([
    ['aaaaaaa', 'BAD_DIGEST', 2],
    ['none', 'BAD_DIGEST', 2],
    ['AAAAAAAA', 'BAD_DIGEST', 2],
    ['aaaaaaaa', 'BAD_DIGEST', 2],
    ['cccccccc', 'NO_SUCH_RUN', 5],
  ])('is refused for --to %s', (to, code, exit) => {
    expect(() => choose(to)).toThrow(expect.objectContaining({ code, exit }));
  });

  it('is refused where nothing is installed, or nothing says how it came', () => {
    const none: CommittedRuns = { records: [], unknown: undefined };
    expect(() => chooseUndo(NOTHING_UNSETTLED, none, undefined, undefined)).toThrow(
      expect.objectContaining({ code: 'NOTHING_TO_UNDO' }),
    );
    expect(() => chooseUndo(NOTHING_UNSETTLED, { ...none, unknown: r1 }, r1, undefined)).toThrow(
      expect.objectContaining({ code: 'NO_UNDO' }),
    );
  });

  it('is refused while an uninstall is unfinished', () => {
    const begun = { run: 'r5', kind: 'uninstall', digest: null, undoes: [], to: null } as const;
    expect(() => choose(undefined, { ...NOTHING_UNSETTLED, begun })).toThrow(
      expect.objectContaining({ code: 'UNFINISHED_RUN', hint: 'Finish it: airbundle uninstall' }),
    );
  });
});

describe('a rollback that was done already', () => {
  const again = async (dryRun: boolean) => {
    const host = rootedHost({ answer: () => ended() });
    host.put(target.receipt, JSON.stringify(r1), 0o600);
    host.put(`${target.backup}/r1/undo.json`, JSON.stringify(record(r1, null)), 0o600);
    host.put(`${target.backup}/r2/etc/a.conf`, 'put back already', 0o600);
    host.put(`${target.state}/.receipt.json.airbundle-new`, 'half', 0o600);
    const { outcome } = await rollback(host, {
      to: 'aaaaaaaa1',
      oldRpms: [],
      dryRun,
      reporter: createReporter({
        ...{ format: 'text', quiet: true, color: false, now: () => 0 },
        stream: { write: () => undefined },
      }),
      now: () => 0,
      runId: 'r3',
      interrupted: () => false,
      confirm: () => Promise.resolve(true),
    });
    expect(await host.list(target.state)).not.toContain('.receipt.json.airbundle-new');
    return [outcome, await host.list(target.backup)];
  };

  it('and was killed before it removed what it had put back, removes it when it is typed again', async () => {
    expect(await again(false)).toEqual(['unchanged', ['r1']]);
  });

  it('removes nothing for a look', async () => {
    expect(await again(true)).toEqual(['unchanged', ['r1', 'r2']]);
  });
});

describe('a receipt', () => {
  it('has the same bytes when it is put back as it is read', async () => {
    const host = rootedHost();
    host.put(target.receipt, '');
    await writeReceipt(host, Object.fromEntries(Object.entries(r1).reverse()) as unknown as Receipt);
    const before = await host.read(target.receipt);
    const read = await readReceipt(host);
    if (read !== undefined) await writeReceipt(host, read);
    expect((await host.read(target.receipt))?.toString('utf8')).toBe(before?.toString('utf8'));
  });
});

describe('a package that was erased after the build', () => {
  it('is not erased again: by then it may be an administrator who put it in', async () => {
    const host = rootedHost();
    const [older, newer] = [receipt('r1', 'a'), receipt('r2', 'b')];
    await writeUndoRecord(host, {
      ...record(older, null),
      packages: { added: ['gcc-4.8.5-28.el7.x86_64', 'zlib-1.2.7-17.el7.x86_64'], replaced: [] },
    });
    await writeUndoRecord(host, record(newer, older));
    await forgetAdded(host, newer, ['gcc-4.8.5-28.el7.x86_64']);
    const { records } = await committedRuns(host, newer);
    expect(records.map(({ run, packages }) => [run, packages.added])).toEqual([
      ['r2', []],
      ['r1', ['zlib-1.2.7-17.el7.x86_64']],
    ]);
  });
});
