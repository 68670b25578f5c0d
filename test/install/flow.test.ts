import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BundleError } from '../../src/errors.js';
import type { InstallRequest, InstallResult } from '../../src/install/install.js';
import { install } from '../../src/install/install.js';
import type { Receipt } from '../../src/install/receipt.js';
import { BundledConfiguration } from '../../src/model/declared.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import type { Rooted, RootedOptions } from '../host/rooted.js';
import { rootedHost, temporaryFolder } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey, sha256Of } from './bundle.js';

const key = makeKey();

/** What a CentOS 7.5 answers; the rest of the programs are not there. */
const answer: NonNullable<RootedOptions['answer']> = ([program, ...words]) => {
  if (program === 'rpm') return { stdout: '', exitCode: words[0] === '-qa' ? 0 : 1 };
  if (program === 'uname') return { stdout: 'x86_64\n' };
  if (program === 'getent') return { stdout: 'root:x:0:0::/root:/bin/sh\n' };
  return undefined;
};

const HELLO_ACCOUNT = {
  configuration: BundledConfiguration.parse({ accounts: [{ name: 'hello' }] }),
};
const SITE = `airbundle-site: 1
name: bank
nodes: [{ name: n1, address: 10.20.0.31, interface: eth0 }]
`;

describe('the way through an installation', () => {
  let work: string;
  let made: MadeBundle;
  beforeAll(async () => {
    work = path.join(temporaryFolder(), '..', `airbundle-flow-${process.pid}`);
    made = await makeBundle({ work, key });
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  const node = (fail?: RootedOptions['fail'], answered: typeof answer = answer): Rooted => {
    const host = rootedHost({ answer: answered, ...(fail === undefined ? {} : { fail }) });
    cpSync(made.folder, path.join(host.root, 'm'), { recursive: true });
    host.put('/key.pem', key.pem);
    host.put('/usr/sbin/useradd', '');
    host.put('/etc/os-release', 'ID="centos"\nVERSION_ID="7"\nPRETTY_NAME="CentOS Linux 7 (Core)"\n');
    host.put('/etc/centos-release', 'CentOS Linux release 7.5.1804 (Core)\n');
    return host;
  };
  const run = (host: Rooted, given: Partial<InstallRequest> = {}): Promise<InstallResult> =>
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
      confirm: async () => true,
      ...given,
    });
  const failure = async (work_: Promise<unknown>): Promise<BundleError> => {
    try {
      await work_;
    } catch (error) {
      if (error instanceof BundleError) return error;
      throw error;
    }
    throw new Error('it did not fail');
  };
  const names = (host: Rooted, at: string): string[] => {
    try {
      return readdirSync(path.join(host.root, at)).sort();
    } catch {
      return [];
    }
  };
  /** Nothing of the bundle is anywhere; only the empty folders of the program itself may be. */
  const untouched = (host: Rooted): void => {
    expect(names(host, target.stage)).toEqual([]);
    expect(names(host, '/etc')).toEqual(['centos-release', 'os-release']);
    expect(names(host, '/usr/sbin')).toEqual(['useradd']);
    expect(names(host, target.libexec)).toEqual([]);
    expect(names(host, target.state)).not.toContain('receipt.json');
  };

  it('as a plan only reads', async () => {
    const host = node();
    const result = await run(host, { dryRun: true });
    expect([result.outcome, result.plan.steps.map((step) => step.id)]).toEqual([
      'planned',
      ['trust', 'command', 'build', 'files'],
    ]);
    untouched(host);
  });

  it('ends without a change when the answer is no', async () => {
    const host = node();
    expect((await run(host, { confirm: async () => false })).outcome).toBe('declined');
    untouched(host);
  });

  it('refuses a node that the site lacks, also where the bundle asks for no site', async () => {
    const host = node();
    host.put('/desk/site.yaml', SITE);
    const given = { site: '/desk/site.yaml', dryRun: true };
    expect(await failure(run(host, { ...given, node: 'n2' }))).toMatchObject({
      ...{ code: 'NODE_UNKNOWN', exit: 3 },
      hint: expect.stringContaining('n1') as unknown,
    });
    expect(await failure(run(host, { ...given, site: '/desk/other.yaml' }))).toMatchObject({
      ...{ code: 'NO_SITE', exit: 2, where: '/desk/other.yaml' },
    });
    untouched(host);
    expect((await run(host, { ...given, node: 'n1' })).outcome).toBe('planned');
  });

  it('refuses a signed folder whose checksum file speaks of another release than bundle.json', async () => {
    // The sequence floor is compared with the first, the receipt keeps the second.
    const other = path.join(work, 'other');
    const odd = await makeBundle({ work: other, key, release: { sequence: 9 } });
    const host = node();
    rmSync(path.join(host.root, 'm'), { recursive: true });
    cpSync(odd.folder, path.join(host.root, 'm'), { recursive: true });
    expect(await failure(run(host))).toMatchObject({ code: 'OTHER_RELEASE', exit: 4 });
    untouched(host);
  });

  it('leaves nothing behind when the payload is damaged, wherever', async () => {
    const file = `${made.stem}.tar`;
    const size = readFileSync(path.join(made.folder, file)).length;
    for (const at of [0, 200, 600, Math.floor(size / 2), size - 1]) {
      const host = node();
      const bytes = readFileSync(path.join(host.root, 'm', file));
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(path.join(host.root, 'm', file), bytes);
      expect(await failure(run(host))).toMatchObject({ code: 'BAD_PAYLOAD', exit: 4 });
      untouched(host);
    }
  });

  it.each<[string, Partial<InstallRequest>, string, number]>([
    ['no key', { key: undefined }, 'NO_TRUST', 2],
    ['a key file that is not there', { key: '/none.pem' }, 'NO_KEY', 2],
    ['no fingerprint', { fingerprint: undefined }, 'NO_FINGERPRINT', 2],
    ['half a fingerprint', { fingerprint: key.fingerprint.slice(0, 16) }, 'NO_FINGERPRINT', 2],
    ['another fingerprint', { fingerprint: makeKey().fingerprint }, 'WRONG_FINGERPRINT', 4],
    ['a file for a folder', { directory: '/key.pem' }, 'NO_FOLDER', 2],
    ['no folder', { directory: '/none' }, 'NO_FOLDER', 2],
  ])('is refused with %s', async (_, given, code, exit) => {
    const host = node();
    expect(await failure(run(host, given))).toMatchObject({ code, exit, hint: expect.any(String) as string });
    untouched(host);
  });

  it('takes a fingerprint as people type it', async () => {
    const typed = key.fingerprint.toUpperCase().replace(/(.{4})/g, '$1 ');
    expect((await run(node(), { fingerprint: typed, dryRun: true })).outcome).toBe('planned');
  });

  it('goes on with the same --key once it is trusted, and refuses another', async () => {
    const host = node();
    host.put(`${target.trust}/${key.keyId}.pem`, key.pem);
    expect((await run(host, { dryRun: true })).plan.steps.map((step) => step.id)).not.toContain('trust');
    const other = makeKey();
    host.put('/other.pem', other.pem);
    expect(await failure(run(host, { key: '/other.pem', fingerprint: other.fingerprint }))).toMatchObject({
      code: 'TRUST_EXISTS',
      exit: 5,
    });
  });

  it('is refused while another one runs', async () => {
    const host = node();
    const lock = await host.lock(target.lock);
    expect(await failure(run(host))).toMatchObject({ code: 'BUSY', exit: 5 });
    await lock?.release();
    untouched(host);
  });

  it.each([
    ['ENOSPC', 'copyDurable', target.installer, 'NO_ROOM'],
    ['EROFS', 'copyDurable', target.runtime, 'READ_ONLY'],
    ['EACCES', 'writeDurable', target.command, 'NO_ACCESS'],
    ['EPERM', 'writeDurable', target.command, 'NO_ACCESS'],
    ['EIO', 'copyDurable', target.installer, 'DISK_ERROR'],
    ['EMFILE', 'copyDurable', target.installer, 'TOO_MANY_OPEN_FILES'],
    ['ENXIO', 'copyDurable', target.installer, 'SYSTEM'],
  ])('undoes everything on %s while it is applied, and says where', async (error, call, where, code) => {
    const host = node((called, at) => (called === call && at === where ? error : undefined));
    const failed = await failure(run(host));
    expect(failed).toMatchObject({ code, exit: 6, where: `step command, ${where}` });
    expect(failed.hint).toMatch(/^Undone: \d files are as they were\.\n.*run the same command again\.$/);
    untouched(host);
    expect(readFileSync(path.join(host.root, target.journal), 'utf8')).toContain('"event":"undone"');
  });

  it('undoes everything although the journal cannot be written any more', async () => {
    let full = false;
    const host = node((call, at) => {
      if (call === 'copyDurable' && at === target.installer) full = true;
      return full && (call === 'appendDurable' || (call === 'copyDurable' && at === target.installer))
        ? 'ENOSPC'
        : undefined;
    });
    expect(await failure(run(host))).toMatchObject({ code: 'NO_ROOM', exit: 6 });
    untouched(host);
  });

  it('before any step fails with a code too, not as a bug', async () => {
    expect(
      await failure(run(node((call) => (call === 'makeDirectory' ? 'EROFS' : undefined)))),
    ).toMatchObject({ code: 'READ_ONLY', exit: 5 });
    expect(await failure(run(node((call) => (call === 'create' ? 'ENOSPC' : undefined))))).toMatchObject({
      code: 'NO_ROOM',
      exit: 5,
    });
  });

  it('closes what two builds share, also when both fail, and lets each have its own end of it', async () => {
    const two = await makeBundle({
      work: path.join(work, 'two'),
      key,
      contents: (contents) => ({
        ...contents,
        components: contents.components.flatMap((component) => [
          component,
          { ...component, name: 'other', files: ['/usr/local/bin/other'] },
        ]),
      }),
    });
    const host = node();
    cpSync(two.folder, path.join(host.root, 'two'), { recursive: true });
    const told: unknown[] = [];
    const shared: Rooted = {
      ...host,
      jobSlots: async (at, counts) => {
        const slots = await host.jobSlots(at, counts);
        told.push({ at, ...counts, shares: new Set(slots?.shares.flatMap((one) => one.descriptors)).size });
        return (
          slots && {
            shares: slots.shares,
            ended: () => void told.push('ended'),
            close: () => {
              told.push('closed');
              slots.close();
            },
          }
        );
      },
    };
    // The node of this test has no tar.
    expect(await failure(run(shared, { directory: '/two' }))).toMatchObject({
      code: 'BUILD_FAILED',
      exit: 6,
    });
    const at = `${target.build}/_slots`;
    const processors = expect.any(Number) as unknown;
    expect(told).toEqual([{ at, processors, sharers: 2, shares: 4 }, 'ended', 'ended', 'closed']);
    expect(names(host, target.build)).toEqual([]);
  });

  it('counts an account once, although an earlier run had announced it and made none', async () => {
    const configured = await makeBundle({ work: path.join(work, 'account'), key, component: HELLO_ACCOUNT });
    let adds = false;
    const host = node(undefined, (argv) => (argv[0] === 'useradd' && adds ? {} : answer(argv)));
    rmSync(path.join(host.root, 'm'), { recursive: true });
    cpSync(configured.folder, path.join(host.root, 'm'), { recursive: true });
    host.put('/desk/site.yaml', SITE);
    const given = { site: '/desk/site.yaml', node: 'n1' };
    // There is no useradd in the first run, and nothing that builds in the second.
    expect(await failure(run(host, given))).toMatchObject({ code: 'ACCOUNT_FAILED' });
    adds = true;
    const failed = await failure(run(host, { ...given, runId: 'run2' }));
    expect(failed.code).not.toBe('ACCOUNT_FAILED');
    expect(failed.hint).toContain('1 accounts of this run stay');
  });

  it('stops before the next step when asked, and undoes', async () => {
    let asked = 0;
    const host = node();
    const failed = await failure(run(host, { interrupted: () => (asked += 1) > 2 }));
    expect(failed).toMatchObject({ code: 'INTERRUPTED', exit: 6 });
    untouched(host);
  });

  it("clears the stage of killed runs, but not another install.sh's copy", async () => {
    const host = node();
    host.put(`${target.stage}/killed-run/x`, 'x');
    host.put(`${target.stage}/first.999999999.abc/x`, 'x');
    host.put(`${target.stage}/first.1.abc/x`, 'x');
    host.put('/proc/1/status', '');
    await run(host, { dryRun: true });
    expect(names(host, target.stage)).toEqual(['first.1.abc']);
  });

  it('clears the backups of killed runs of what they had half copied, and of nothing else', async () => {
    const host = node();
    const backup = `${target.backup}/killed/usr/local/share/hello`;
    for (const name of ['text', '.text', '.text.airbundle-new']) host.put(`${backup}/${name}`, 'theirs');
    await run(host, { dryRun: true });
    expect(names(host, backup)).toEqual(['.text', 'text']);
  });

  it('does not judge a receipt that it cannot read', async () => {
    const host = node();
    host.put(target.receipt, '{}');
    expect(await failure(run(host))).toMatchObject({ code: 'BAD_RECEIPT', exit: 5 });
  });

  /** As the node was left by an installation of this bundle, by whatever program. */
  const committed = (host: Rooted, given: Partial<Receipt> = {}): void => {
    host.put(`${target.trust}/${key.keyId}.pem`, key.pem);
    host.put(
      target.receipt,
      JSON.stringify({
        airbundleReceipt: 1,
        digest: sha256Of(readFileSync(path.join(host.root, 'm', `${made.stem}.sha256`))),
        keyId: key.keyId,
        committedAt: '2026-11-22T10:00:00.000Z',
        node: null,
        siteDigest: null,
        contents: made.contents,
        recipes: {},
        files: [],
        links: [],
        watched: { units: [], versions: [], vips: [], sockets: [] },
        rpms: { before: 0, after: 0, installed: [] },
        ...given,
      }),
    );
  };
  const later = { key: undefined, fingerprint: undefined, dryRun: true };

  it.each([
    ['ten years behind', '2016-11-22T10:00:00Z', true],
    ['ten years ahead', '2036-11-22T10:00:00Z', false],
    ['at the beginning of time', '1970-01-01T00:00:00Z', true],
  ])('verifies the same with a clock %s', async (_, now, warned) => {
    const host = node();
    committed(host);
    const said: string[] = [];
    const reporter = createReporter({
      format: 'text',
      quiet: true,
      color: false,
      now: () => 0,
      stream: { write: (text: string) => said.push(text) > 0 },
    });
    const result = await run(host, { ...later, reporter, date: () => new Date(now) });
    expect(result.outcome).toBe('planned');
    expect(said.join('').includes('before the last installation here')).toBe(warned);
  });

  it('judges signers and sequence before it opens the payload', async () => {
    const host = node();
    committed(host);
    rmSync(path.join(host.root, 'm', `${made.stem}.tar`));
    host.put(target.floor, JSON.stringify({ small: { sequence: 9, digest: sha256Of('newer') } }));
    rmSync(path.join(host.root, target.receipt));
    expect(await failure(run(host, later))).toMatchObject({ code: 'SEQUENCE_LOWER', exit: 5 });
    host.put(`${target.trust}/x.pem`, makeKey().pem);
    host.put(target.threshold, '2\n');
    expect(await failure(run(host, later))).toMatchObject({ code: 'TOO_FEW_SIGNERS', exit: 4 });
  });

  it('does not go on with a damaged floor, and takes a receipt from before there was one', async () => {
    const host = node();
    committed(host, { digest: sha256Of('another bundle') });
    expect(await failure(run(host, later))).toMatchObject({ code: 'SEQUENCE_EQUAL', exit: 5 });
    host.put(target.floor, '{');
    expect(await failure(run(host, later))).toMatchObject({ code: 'BAD_FLOOR', exit: 5 });
  });

  it('never begins with a key that was removed here', async () => {
    const host = node();
    host.put(`${target.removedKeys}/${key.keyId}.pem`, key.pem);
    expect(await failure(run(host))).toMatchObject({ code: 'KEY_REMOVED', exit: 5 });
  });
});
