import { lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openJournal } from '../../src/install/journal.js';
import { placedText } from '../../src/install/placed.js';
import type { Changes } from '../../src/install/undo.js';
import { trackChanges } from '../../src/install/undo.js';
import { readUnsettled } from '../../src/install/unsettled.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';

const write = async (host: Rooted, changes: Changes, at: string, text: string): Promise<void> => {
  await changes.ensureDirectory(path.dirname(at));
  await changes.keep(at, placedText(text));
  await host.writeDurable(at, text, { mode: 0o755 });
};
const there = (host: Rooted, at: string): boolean =>
  lstatSync(path.join(host.root, at), { throwIfNoEntry: false }) !== undefined;

describe('taking back', () => {
  it('restores content, mode and owner of a file, however often it was written', async () => {
    const host = rootedHost();
    host.put('/etc/a.conf', 'old', 0o640);
    const before = lstatSync(path.join(host.root, '/etc/a.conf'));
    const changes = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await write(host, changes, '/etc/a.conf', 'new');
    await write(host, changes, '/etc/a.conf', 'newer');
    expect(await changes.restore()).toEqual({ paths: ['/etc/a.conf'], problems: [] });
    const after = lstatSync(path.join(host.root, '/etc/a.conf'));
    expect(readFileSync(path.join(host.root, '/etc/a.conf'), 'utf8')).toBe('old');
    expect([after.mode, after.uid, after.gid]).toEqual([before.mode, before.uid, before.gid]);
  });

  it('removes new files and the directories that were made for them, and no others', async () => {
    const host = rootedHost();
    mkdirSync(path.join(host.root, '/usr/local'), { recursive: true });
    const changes = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await write(host, changes, '/usr/local/share/x/y/file', 'new');
    await write(host, changes, '/usr/local/other/file', 'new');
    host.put('/usr/local/other/of-somebody-else', 'x');
    await changes.restore();
    expect(
      ['/usr/local', '/usr/local/share', '/usr/local/other/file', '/usr/local/other/of-somebody-else'].map(
        (at) => there(host, at),
      ),
    ).toEqual([true, false, false, true]);
  });

  it('knows of a directory that a killed run may have made: it is announced before', async () => {
    const host = rootedHost();
    mkdirSync(path.join(host.root, '/usr'), { recursive: true });
    const killed = { ...host, ensureDirectory: () => Promise.reject(new Error('killed')) };
    const changes = trackChanges(killed, openJournal(host, 'r1'), 'r1');
    await expect(changes.ensureDirectory('/usr/share/new')).rejects.toThrow('killed');
    expect((await readUnsettled(host, null)).made).toEqual(['/usr/share', '/usr/share/new']);
    const again = trackChanges(host, openJournal(host, 'r2'), 'r2', await readUnsettled(host, null));
    await write(host, again, '/usr/share/new/file', 'new');
    expect(again.all().made).toEqual(['/usr/share', '/usr/share/new']);
    await again.restore();
    expect([there(host, '/usr'), there(host, '/usr/share')]).toEqual([true, false]);
  });

  it('restores a symbolic link, also a dangling one', async () => {
    const host = rootedHost();
    mkdirSync(path.join(host.root, '/usr/sbin'), { recursive: true });
    symlinkSync('/opt/none', path.join(host.root, '/usr/sbin/tool'));
    const changes = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await write(host, changes, '/usr/sbin/tool', 'new');
    await changes.restore();
    expect(readlinkSync(path.join(host.root, '/usr/sbin/tool'))).toBe('/opt/none');
  });

  it('refuses to write where a directory is', async () => {
    const host = rootedHost();
    mkdirSync(path.join(host.root, '/usr/sbin/tool'), { recursive: true });
    const changes = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await expect(changes.keep('/usr/sbin/tool', placedText(''))).rejects.toMatchObject({
      code: 'NOT_A_FILE',
      exit: 6,
    });
  });

  it('is not stopped by one file that cannot be put back, and says how to do it by hand', async () => {
    let broken = false;
    const host = rootedHost({
      fail: (call, at) => (broken && call === 'copyDurable' && at === '/etc/b' ? 'ENOSPC' : undefined),
    });
    for (const name of ['a', 'b', 'c']) host.put(`/etc/${name}`, 'old', 0o640);
    const changes = trackChanges(host, openJournal(host, 'r1'), 'r1');
    for (const name of ['a', 'b', 'c']) await write(host, changes, `/etc/${name}`, 'new');
    broken = true;
    const restored = await changes.restore();
    expect(restored.paths).toEqual(['/etc/c', '/etc/a']);
    expect(restored.problems).toEqual([
      expect.stringMatching(
        /^\/etc\/b could not be put back \(ENOSPC.*\); by hand: install -m 0640 -o \d+ -g \d+ \/var\/lib\/airbundle\/backup\/r1\/etc\/b \/etc\/b$/,
      ),
    ]);
  });

  it('removes what a killed run had begun to write or to test beside its files, and nothing of others', async () => {
    const host = rootedHost();
    host.put('/etc/a.conf', 'original', 0o640);
    const killed = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await killed.ensureDirectory('/etc/new');
    for (const at of ['/etc/a.conf', '/etc/new/b.conf', '/etc/new/link'])
      await killed.keep(at, placedText('new'));
    const left = [
      '/etc/.a.conf.airbundle-test',
      '/etc/new/.b.conf.airbundle-new',
      '/etc/new/..b.conf.airbundle-test.airbundle-new',
    ];
    for (const at of left) host.put(at, 'half', 0o600);
    const link = '/etc/new/.link.airbundle-new';
    symlinkSync('../nowhere', path.join(host.root, link));
    mkdirSync(path.join(host.root, '/etc/.new.airbundle-new'));
    host.put('/etc/.c.conf.airbundle-test', "somebody's", 0o600);
    const changes = trackChanges(host, openJournal(host, 'r2'), 'r2', await readUnsettled(host, null));
    expect((await changes.restore()).problems).toEqual([]);
    const gone = [...left, link, '/etc/new', '/etc/.new.airbundle-new'];
    expect([...gone, '/etc/.c.conf.airbundle-test'].map((at) => there(host, at))).toEqual([
      ...gone.map(() => false),
      true,
    ]);
  });

  it('goes back to before a killed run, too', async () => {
    const host = rootedHost();
    host.put('/etc/a', 'original', 0o640);
    const killed = trackChanges(host, openJournal(host, 'r1'), 'r1');
    await write(host, killed, '/etc/a', 'half way');
    await write(host, killed, '/etc/new/b', 'half way');
    const changes = trackChanges(host, openJournal(host, 'r2'), 'r2', await readUnsettled(host, null));
    await write(host, changes, '/etc/a', 'second');
    expect((await changes.restore()).problems).toEqual([]);
    expect(readFileSync(path.join(host.root, '/etc/a'), 'utf8')).toBe('original');
    expect(there(host, '/etc/new')).toBe(false);
  });
});
