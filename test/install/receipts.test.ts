import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { stepError } from '../../src/errors.js';
import { alone } from '../../src/install/alone.js';
import type { Audit, AuditRequest, Ended } from '../../src/install/audit.js';
import { auditOf } from '../../src/install/audit.js';
import { openJournal } from '../../src/install/journal.js';
import { secretCover } from '../../src/install/secret-cover.js';
import { unrecordedRuns } from '../../src/install/unrecorded.js';
import { whoIsIt } from '../../src/install/who.js';
import type { Host } from '../../src/host/host.js';
import { lastLines } from '../../src/host/process.js';
import { target } from '../../src/model/layout.js';
import type { RunReceipt } from '../../src/model/run-receipt.js';
import type { ChainCheck } from '../../src/review/receipt-chain.js';
import {
  checkChain,
  digestOf,
  exportedReceipts,
  exportHead,
  exportLine,
  findReceipt,
  requireWhole,
  storedReceipts,
} from '../../src/review/receipt-chain.js';
import { renderReceipt, whoInWords } from '../../src/review/render-receipts.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';

const SECRET = 'kX7-secret-91';

let host: Rooted;
let said: string[];
beforeEach(() => {
  said = [];
  host = rootedHost({
    answer: ([program, ...words]) => {
      if (program === 'rpm') return { stdout: 'bash\t(none)\t4.2.46\t30.el7\tx86_64\n' };
      if (program === 'getent')
        return { stdout: words[1] === '1000' ? 'kim:x:1000:1000::/home/kim:/bin/sh\n' : '' };
      if (program === 'haproxy') return { exitCode: 1, stderr: `line 3: auth_pass ${SECRET}: no such word` };
      return undefined;
    },
  });
  host.put('/proc/sys/kernel/hostname', 'lb1\n');
  host.put('/proc/self/loginuid', '1000');
});

interface Given extends Partial<AuditRequest> {
  readonly begins?: boolean;
}
const run = async (
  name: string,
  work: (using: Host, audit: Audit) => Promise<Ended | undefined> = async () => undefined,
  { begins = true, ...given }: Given = {},
): Promise<Ended> => {
  const { host: using, audit } = auditOf(host, {
    ...{ run: name, command: 'install', flags: ['--take-over'], uid: 0, program: undefined, purge: false },
    date: () => new Date('2026-11-22T10:00:00Z'),
    now: () => performance.now(),
    interrupted: () => false,
    info: (text) => said.push(text),
    warn: (text) => said.push(text),
    ...given,
  });
  return alone(
    using,
    async () => {
      if (begins) await audit.begin();
      return (await work(using, audit)) ?? { outcome: 'installed' };
    },
    audit,
  );
};
const folder = (): string => path.join(host.root, target.receipts);
const names = (): string[] => readdirSync(folder()).sort();
const fileOf = (number: number): string => path.join(folder(), names()[number - 1] ?? '');
const receipt = (number: number): RunReceipt =>
  JSON.parse(readFileSync(fileOf(number), 'utf8')) as RunReceipt;
const check = (): Promise<ChainCheck> => checkChain(storedReceipts(host));
const messages = async (): Promise<string[]> => (await check()).problems.map(({ message }) => message);

describe('the record of a run', () => {
  it('holds who, every command, and every file before and after', async () => {
    host.put('/etc/a', 'old', 0o640);
    await run('r1', async (using) => {
      await using.writeDurable('/etc/a', 'new', { mode: 0o600 });
      await using.linkDurable('/etc/b', 'a');
      await using.writeDurable(`${target.stage}/x`, 'own', { mode: 0o600 });
      await using.run(['systemctl', 'restart', 'a.service']);
      return undefined;
    });
    const { files, commands, who, packages, outcome, flags, host: name } = receipt(1);
    const owner = { uid: process.getuid?.(), gid: process.getgid?.() };
    expect(files).toEqual({
      '/etc/a': {
        before: { sha256: digestOf(Buffer.from('old')), mode: '0640', ...owner },
        after: { sha256: digestOf(Buffer.from('new')), mode: '0600', ...owner },
      },
      '/etc/b': { before: null, after: { link: 'a' } },
    });
    expect(commands?.list.map(({ argv, startError }) => [argv.join(' '), startError])).toEqual([
      ['systemctl restart a.service', 'ENOENT'],
    ]);
    expect([who?.login, outcome, flags, name]).toEqual([
      { uid: 1000, name: 'kim' },
      'done',
      ['--take-over'],
      'lb1',
    ]);
    expect(packages.before).toEqual(packages.after);
    expect(packages.before?.count).toBe(1);
  });

  it('is only root’s, and its digest is told', async () => {
    await run('r1');
    expect([statSync(folder()).mode & 0o777, statSync(fileOf(1)).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(said).toEqual([`receipt 1: ${digestOf(readFileSync(fileOf(1)))}`]);
  });

  it('is not written for a run that began nothing, nor for one that takes the receipts away', async () => {
    await run('r1', undefined, { begins: false });
    await run(
      'r2',
      async () => {
        rmSync(folder(), { recursive: true, force: true });
        return undefined;
      },
      { purge: true },
    );
    expect((await check()).count).toBe(0);
  });

  it('says why a run failed, and the run fails as it did', async () => {
    const failing = run('r1', async () => {
      throw stepError({ code: 'BUILD_FAILED', message: 'make did not', where: 'step build' });
    });
    await expect(failing).rejects.toThrow('make did not');
    const { outcome, error } = receipt(1);
    expect([outcome, error]).toEqual([
      'failed',
      { code: 'BUILD_FAILED', exit: 6, message: 'make did not', where: 'step build' },
    ]);
  });

  it('says that a run was stopped by a person', async () => {
    await expect(
      run('r1', () => Promise.reject(stepError({ code: 'INTERRUPTED', message: 'stopped as asked' }))),
    ).rejects.toThrow('stopped');
    expect(receipt(1).outcome).toBe('interrupted');
  });

  it('that cannot be written does not undo the run, and the next run writes it', async () => {
    await run('r1', async (using) => {
      await openJournal(using, 'r1').record({ event: 'change', kind: 'trust', changes: ['trust the key a'] });
      writeFileSync(path.join(host.root, target.receipts), 'in the way');
      return undefined;
    });
    expect(said.join()).toContain('could not be written');
    rmSync(path.join(host.root, target.receipts));
    await run('r2');
    expect(names()).toEqual(['000001-r1.json', '000002-r2.json']);
    expect(receipt(1)).toMatchObject({ source: 'journal', outcome: 'killed', changes: ['trust the key a'] });
    expect((await check()).problems).toEqual([]);
  });
});

describe('a killed run', () => {
  const JOURNAL = [
    `{"time":"2026-11-22T09:00:00Z","run":"k1","event":"begin","kind":"install","digest":"${'a'.repeat(64)}","bundle":"tts 1.0","node":"lb1","siteDigest":"${'b'.repeat(64)}","flags":["--take-over"]}`,
    `{"time":"2026-11-22T09:00:01Z","run":"k1","event":"displaced","path":"/etc/a","backup":"/b","link":null,"mode":420,"uid":0,"gid":0,"sha256":"${'c'.repeat(64)}"}`,
    '{"time":"2026-11-22T09:05:00Z","run":"k2","event":"begin","kind":"rollback","digest":null}',
    '{"time":"2026-11-22T09:06:00Z","run":"k2","event":"end","result":"committed"}',
    '{"time":"2026-11-22T09:07:00Z","run":"k3","ev',
  ].join('\n');

  it('gets its record from the journal by the next run that changes something', async () => {
    host.put(target.journal, JOURNAL);
    await run('r1', undefined, { begins: false });
    expect((await check()).count).toBe(0);
    await run('r1');
    expect(names()).toEqual(['000001-k1.json', '000002-k2.json', '000003-r1.json']);
    expect(receipt(1)).toMatchObject({
      ...{ outcome: 'killed', source: 'journal', command: 'install', endedAt: null, who: null },
      bundle: { name: 'tts', version: '1.0', digest: 'a'.repeat(64) },
      files: { '/etc/a': { before: { mode: '0644' }, after: null, afterUnknown: true } },
    });
    expect(receipt(2)).toMatchObject({ outcome: 'done', command: 'rollback' });
    await run('r2');
    expect(names()).toHaveLength(4);
    expect((await check()).problems).toEqual([]);
  });

  it('is read from any text without an error', () => {
    expect(unrecordedRuns('\u0000\n[]\n3\nnull\n{"run":3}\n{"run":"x","event":"end"}', new Set())).toEqual(
      [],
    );
  });
});

describe('the chain', () => {
  beforeEach(async () => {
    for (const name of ['r1', 'r2', 'r3']) await run(name);
  });

  it('is whole, and the last digest is its head', async () => {
    const { count, head, problems } = await check();
    expect([count, head, problems]).toEqual([
      3,
      { number: 3, digest: digestOf(readFileSync(fileOf(3))) },
      [],
    ]);
  });

  it('shows a missing record by its number', async () => {
    rmSync(fileOf(2));
    expect(await messages()).toEqual(['number 2 is missing before it']);
  });

  it('shows a record of which one byte is another', async () => {
    const text = readFileSync(fileOf(2), 'utf8');
    writeFileSync(fileOf(2), text.replace('"done"', '"failed"'));
    expect((await check()).problems).toHaveLength(1);
    expect((await messages()).join()).toContain('one of the two was altered');
    expect((await check()).problems[0]?.place).toBe('000003-r3.json');
  });

  it('shows a second record with the same number, one under another name, and one that is none', async () => {
    writeFileSync(path.join(folder(), '000002-zz.json'), readFileSync(fileOf(2)));
    expect((await messages()).join()).toContain('another record with the number 2');
    writeFileSync(path.join(folder(), '000005-r5.json'), '{"airbundleRunReceipt":1}');
    expect((await messages()).join()).toContain('cannot be read as a record');
  });

  it('misses its cut-off end only when the digest was noted', async () => {
    const noted = digestOf(readFileSync(fileOf(3)));
    requireWhole(await check(), 'here', noted.slice(0, 12));
    rmSync(fileOf(3));
    const cut = await check();
    requireWhole(cut, 'here', undefined);
    expect(() => {
      requireWhole(cut, 'here', noted.slice(0, 12));
    }).toThrow('no receipt has the digest');
  });

  it('is the same in an export, and a damaged export is told by its line', async () => {
    const lines = [exportHead('lb1')];
    for await (const raw of storedReceipts(host)) lines.push(exportLine(raw));
    host.put('/e.jsonl', lines.join(''));
    const exported = await checkChain(await exportedReceipts(host, '/e.jsonl'));
    expect(exported).toEqual(await check());
    host.put('/cut.jsonl', lines.join('').slice(0, -20));
    await expect(exportedReceipts(host, '/cut.jsonl')).rejects.toMatchObject({ code: 'BAD_EXPORT', exit: 4 });
    host.put('/line.jsonl', `${lines[0] ?? ''}{}\n`);
    await expect(exportedReceipts(host, '/line.jsonl')).rejects.toMatchObject({ where: '/line.jsonl:2' });
  });

  it('finds a record by number, run and digest', async () => {
    const { digest } = await findReceipt(host, '2');
    expect((await findReceipt(host, 'r2')).digest).toBe(digest);
    expect((await findReceipt(host, digest.slice(0, 8))).receipt.run).toBe('r2');
    await expect(findReceipt(host, '9')).rejects.toMatchObject({ code: 'NO_SUCH_RECEIPT', exit: 2 });
    expect(renderReceipt(await findReceipt(host, '1'))).toContain('follows    nothing: it is the first');
  });
});

describe('who is at work', () => {
  const put = (id: string, parent: number, uid: number, environment = '', terminal = 0): void => {
    host.put(`/proc/${id}/stat`, `1 (a) b) S ${String(parent)} 1 1 ${String(terminal)} 0`);
    host.put(`/proc/${id}/status`, `Name:\ta\nUid:\t${String(uid)}\t0\t0\t0\n`);
    host.put(`/proc/${id}/environ`, environment);
  };

  it('is found in the processes above although the environment is empty', async () => {
    host.put('/proc/self/loginuid', '4294967295');
    put('self', 7, 0, 'PATH=/bin');
    put('7', 6, 0, 'A=1\0SUDO_UID=1000\0B=2');
    put('6', 1, 1000);
    put('1', 0, 0);
    const who = await whoIsIt(host, 0);
    expect([who.login, who.above, who.sudo, who.terminal]).toEqual([
      null,
      { uid: 1000, name: 'kim' },
      { uid: 1000, name: 'kim' },
      null,
    ]);
    expect(whoInWords(who)).toBe('kim (a process above)');
  });

  it('names the terminal and its owner', async () => {
    put('self', 0, 0, '', 136 * 256 + 3);
    host.put('/dev/pts/3', '');
    expect((await whoIsIt(host, 0)).terminal).toMatchObject({ path: '/dev/pts/3' });
  });

  it('is said to be unknown when nothing says it', async () => {
    const nobody = await whoIsIt(rootedHost(), 0);
    expect(whoInWords(nobody)).toBe('uid 0, login not known');
  });
});

describe('a secret', () => {
  it('is covered where a program quotes it, and in the record, but not for the program’s own logic', async () => {
    let quoted = '';
    let raw = '';
    await expect(
      run('r1', async (using, audit) => {
        audit.secret(`${SECRET}\n`);
        const result = await using.run(['haproxy', '-c', SECRET]);
        raw = result.stderr;
        quoted = lastLines(result).join();
        throw stepError({ code: 'X', message: `it said ${result.stderr}` });
      }),
    ).rejects.toThrow('it said');
    expect(raw).toContain(SECRET);
    expect(quoted).toBe('line 3: auth_pass (hidden): no such word');
    expect(readFileSync(fileOf(1), 'utf8')).not.toContain(SECRET);
    expect(receipt(1).commands?.list[0]?.argv).toEqual(['haproxy', '-c', '(hidden)']);
  });

  it('of a few characters is covered as a word only; a long one also in pieces', () => {
    const { learn, cover } = secretCover();
    learn('7');
    learn('with "quotes" and-blanks\n');
    expect(cover('line 7 of 77: unknown word and-blanks')).toBe('line (hidden) of 77: unknown word (hidden)');
    expect(cover('{"a":"with \\"quotes\\" and-blanks"}')).toBe('{"a":"(hidden)"}');
  });
});
