import { chmodSync, chownSync, lchownSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { BundleError } from '../../src/errors.js';
import { requireModes, requirePrivatePlaces } from '../../src/install/places.js';
import { target } from '../../src/model/layout.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import { skipUnless } from '../support/skip.js';

const codeOf = (place: string): string =>
  place.startsWith('/etc/airbundle') ? 'BAD_TRUST' : 'PLACE_NOT_PRIVATE';

describe("the program's own places", () => {
  let host: Rooted;
  const at = (given: string): string => path.join(host.root, given);
  beforeEach(() => {
    host = rootedHost();
    for (const place of [target.stage, target.backup, target.trust, target.libexec, target.log])
      mkdirSync(at(place), { recursive: true, mode: 0o755 });
    writeFileSync(at(target.journal), '', { mode: 0o600 });
    symlinkSync('x', at(path.join(target.libexec, 'link')));
  });
  const refusal = async (work: () => Promise<void>): Promise<BundleError> => {
    try {
      await work();
    } catch (error) {
      expect(error).toMatchObject({ exit: 5 });
      return error as BundleError;
    }
    throw new Error('it was not refused');
  };

  it("are fit when they are root's and nobody else's, and when they are not there yet", async () => {
    await requirePrivatePlaces(host);
    await requirePrivatePlaces(rootedHost());
  });

  it.each([
    ...[target.state, target.trust, target.libexec, target.log],
    ...['/var/lib', '/var', '/etc', '/etc/airbundle', '/usr/libexec', target.journal, target.stage],
  ])('are refused when others can write %s', async (place) => {
    for (const mode of [0o775, 0o757, 0o1777]) {
      chmodSync(at(place), mode);
      const { code, where, message } = await refusal(() => requirePrivatePlaces(host));
      expect([code, where]).toEqual([codeOf(place), place]);
      expect(message).toContain(
        `can be written by others than root (${mode === 0o1777 ? '' : '0'}${mode.toString(8)})`,
      );
    }
  });

  it.each([target.state, '/var/lib', '/etc/airbundle', target.libexec])(
    'are refused when %s is a link, also to a good folder',
    async (place) => {
      renameSync(at(place), at(`${place}.moved`));
      symlinkSync(at(`${place}.moved`), at(place));
      const { where, message } = await refusal(() => requirePrivatePlaces(host));
      expect([where, message]).toEqual([place, expect.stringContaining('is a symbolic link')]);
    },
  );

  it('are refused on a filesystem that forgets modes', async () => {
    for (const place of [target.stage, target.backup, target.log]) chmodSync(at(place), 0o700);
    await requireModes(host);
    // A stand-in for vfat, which shows every folder with the modes of its mount.
    const vfat: Pick<Rooted, 'lstat'> = {
      lstat: async (given) => {
        const facts = await host.lstat(given);
        return facts === undefined ? facts : { ...facts, mode: 0o755 };
      },
    };
    const { code, where } = await refusal(() => requireModes(vfat));
    expect([code, where]).toEqual(['PLACE_WITHOUT_MODES', target.stage]);
  });

  describe('that somebody else owns', () => {
    skipUnless(process.getuid?.() === 0, 'a file has to be given to another user: run as root');

    it.each([target.state, '/var/lib', target.journal])(
      'are refused when %s belongs to somebody else',
      async (place) => {
        chownSync(at(place), 47_951, 0);
        const { where, message } = await refusal(() => requirePrivatePlaces(host));
        expect([where, message]).toEqual([place, expect.stringContaining('belongs to the user 47951')]);
      },
    );

    it("are refused when a link of somebody else's lies in them", async () => {
      symlinkSync('/etc/shadow', at(path.join(target.state, 'receipt.json')));
      await requirePrivatePlaces(host);
      lchownSync(at(path.join(target.state, 'receipt.json')), 47_951, 0);
      expect((await refusal(() => requirePrivatePlaces(host))).where).toBe(`${target.state}/receipt.json`);
    });
  });
});
