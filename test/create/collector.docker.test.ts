import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examine } from '../../src/create/collector.js';
import type { ExamineResult } from '../../src/create/collector.js';
import { findEngine, withContainers } from '../../src/create/engine.js';
import type { Engine } from '../../src/create/engine.js';
import { readBytes } from '../../src/create/engine-tar.js';
import type { JudgedRpm } from '../../src/create/judge.js';
import { judgeClosure, judgeRpms } from '../../src/create/judge.js';
import { readPublicKey } from '../../src/create/openpgp.js';
import { openStore } from '../../src/create/store.js';
import type { Store } from '../../src/create/store.js';
import type { BundleError } from '../../src/errors.js';
import { compareEvr } from '../../src/model/evr.js';
import type { Nevra } from '../../src/model/nevra.js';
import { rpmFileName } from '../../src/model/nevra.js';
import { collectorImage } from '../lab/images.js';
import { skipUnless } from '../support/skip.js';

const EXAMINE = ['sh', '/airbundle/examine.sh'] as const;

/*
 * Real CentOS 7 packages, examined by the real scripts in a real container. The rpm in there is Debian 11's
 * 4.16, not 4.11.3; what 4.11.3 says is in judge.test.ts.
 */

const RPMS = fileURLToPath(new URL('../../../shared/el7-rpms/', import.meta.url));
const env = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/' };
const engine = await findEngine({ env }).catch(() => undefined);

describe('EL7 RPMs in the examining container', () => {
  const reason =
    engine === undefined ? 'no container engine answers' : 'the folder with real EL7 RPMs is not here';
  const ready = engine !== undefined && existsSync(RPMS);
  skipUnless(ready, reason);

  const read = (name: string): Buffer => readFileSync(path.join(RPMS, name));
  const key = ready ? readPublicKey(read('RPM-GPG-KEY-CentOS-7'), 'RPM-GPG-KEY-CentOS-7') : undefined;
  let folder = '';
  let store: Store;
  let image = '';

  beforeAll(async () => {
    if (!ready) return;
    folder = await mkdtemp(path.join(tmpdir(), 'examine-'));
    store = await openStore({ directory: folder });
    image = await collectorImage();
  });
  afterAll(async () => {
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  const facts = (...files: readonly Buffer[]): Promise<ExamineResult> => factsWith('', files);
  /** @param first what the container's shell does before it examines */
  const factsWith = async (first: string, files: readonly Buffer[]): Promise<ExamineResult> => {
    const rpms = await Promise.all(
      files.map(async (bytes, index) => ({
        name: `${String(index)}.rpm`,
        sha256: (await store.put(once(bytes))).sha256,
      })),
    );
    return withContainers(
      engine as Engine,
      () => undefined,
      async (create) => {
        const container = await create({
          role: 'examine',
          image,
          network: false,
          command: first === '' ? EXAMINE : ['sh', '-c', `${first}\nexec ${EXAMINE.join(' ')}`],
        });
        return examine(
          engine as Engine,
          container,
          store,
          { keys: key === undefined ? [] : [key], rpms },
          silent,
        );
      },
    );
  };
  const verdict = async (...files: readonly Buffer[]): Promise<BundleError | string[]> => {
    const { rpms } = await facts(...files);
    try {
      return judgeRpms(rpms, key === undefined ? [] : [key]).map(
        ({ nevra, signer }) => `${nevra.name} ${signer}`,
      );
    } catch (error) {
      return error as BundleError;
    }
  };

  it('accepts packages that CentOS signed', async () => {
    const signer = '6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5';
    expect(
      await verdict(read('zip-3.0-11.el7.x86_64.rpm'), read('python-six-1.9.0-2.el7.noarch.rpm')),
    ).toEqual([`zip ${signer}`, `python-six ${signer}`]);
  });

  it('refuses a package that another key signed', async () => {
    expect(await verdict(read('epel-release-7-14.noarch.rpm'))).toMatchObject({
      code: 'RPM_OTHER_KEY',
      exit: 4,
      message: expect.stringContaining('6a2faea2352c64e5') as string,
    });
  });

  it('refuses a package without its last byte, which rpm would install', async () => {
    expect(await verdict(read('zip-3.0-11.el7.x86_64.rpm').subarray(0, -1))).toMatchObject({
      code: 'RPM_DAMAGED',
      exit: 4,
    });
  });

  it('refuses a flipped bit, in the payload, the header and the signature', async () => {
    const places = { payload: 200_000, header: 3_000, signature: 600 };
    for (const at of Object.values(places)) {
      const bytes = read('zip-3.0-11.el7.x86_64.rpm');
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(await verdict(bytes)).toMatchObject({ exit: 4 });
    }
  });

  it('refuses an HTML page, and does not let rpm read it as a list of files', async () => {
    const result = await facts(Buffer.from('<html>404</html>'), read('zip-3.0-11.el7.x86_64.rpm'));
    expect(() => judgeRpms(result.rpms, key === undefined ? [] : [key])).toThrow(/is not an RPM/);
    expect(result.closure).toBeUndefined();
  });

  it('refuses an empty file', async () => {
    expect(await verdict(Buffer.alloc(0))).toMatchObject({ code: 'RPM_NOT_RPM', exit: 4 });
  });

  it('refuses a list of files that is named like an RPM', async () => {
    const good = read('zip-3.0-11.el7.x86_64.rpm');
    const list = Buffer.from(`/airbundle/rpms/${createHash('sha256').update(good).digest('hex')}.rpm\n`);
    expect(await verdict(list, good)).toMatchObject({ code: 'RPM_NOT_RPM', exit: 4 });
  });

  it('refuses an unsigned package', async () => {
    const unsigned = await withoutSignature(engine as Engine, image, read('zip-3.0-11.el7.x86_64.rpm'));
    expect(await verdict(unsigned)).toMatchObject({ code: 'RPM_UNSIGNED', exit: 4 });
  });

  it('refuses an altered payload behind a good header signature, which rpm -K calls OK', async () => {
    const result = await facts(withForgedPayload(read('zip-3.0-11.el7.x86_64.rpm')));
    expect(result.rpms[0]).toMatchObject({
      checkExitCode: 0,
      check: expect.stringMatching(
        /Header V3 RSA\/SHA256 Signature, key ID f4a80eb5: OK[^]*MD5 digest: OK/,
      ) as string,
    });
    expect(() => judgeRpms(result.rpms, key === undefined ? [] : [key])).toThrow(
      /nothing signed covers its payload/,
    );
  });

  it('reads, checks and refuses every file of the set as its README says', async () => {
    const names = readdirSync(RPMS).filter((name) => name.endsWith('.rpm'));
    const { rpms } = await facts(...names.map(read));
    const judged = rpms.map((rpm, index): { name: string; nevra?: Nevra; answer: string } => {
      const name = names[index] ?? '';
      try {
        const [{ nevra, signer }] = judgeRpms([rpm], key === undefined ? [] : [key]) as [JudgedRpm];
        return { name, nevra, answer: `${rpmFileName(nevra)} ${signer}` };
      } catch (error) {
        return { name, answer: (error as BundleError).code };
      }
    });
    const wanted = names.map((name) => {
      if (name.startsWith('epel-release-')) return 'RPM_OTHER_KEY';
      return name.endsWith('.i686.rpm') ? 'RPM_ARCH' : `${name} 6341AB2753D78A78A7C27BB124C6A8A7F4A80EB5`;
    });
    expect(judged.map(({ answer }) => answer)).toEqual(wanted);
    expect(wanted).toEqual(expect.arrayContaining(['RPM_OTHER_KEY', 'RPM_ARCH']));

    for (const name of ['unzip', 'nspr']) {
      const versions = judged.flatMap(({ nevra }) => (nevra?.name === name ? [nevra] : []));
      expect(versions.sort(compareEvr).map(rpmFileName)).toEqual(
        names.filter((file) => file.startsWith(`${name}-`)).sort(),
      );
      expect(versions).toHaveLength(2);
      expect(compareEvr(versions[0] as Nevra, versions[1] as Nevra)).toBeLessThan(0);
    }
  });

  it('starts rpm once for many of them, and finds the same as when it looks at each by itself', async () => {
    const files = readdirSync(RPMS)
      .filter((name) => name.endsWith('.rpm') && !name.startsWith('epel-release-'))
      .map(read);
    const alone = await factsWith(inPlaceOf('awk', 'exit 1'), files);
    const notForOne = 'case "$*" in *.rpm*.rpm*) ;; *.rpm) exit 9 ;; esac';
    const together = await factsWith(inPlaceOf('rpm', `${notForOne}\nexec /usr/bin/rpm "$@"`), files);
    expect(files.length % 16).not.toBe(1);
    expect(together.rpms).toEqual(alone.rpms);
    expect(together.rpms.every(({ checkExitCode }) => checkExitCode === 0)).toBe(true);
  });

  it('refuses i686', async () => {
    expect(await verdict(read('libmnl-1.0.3-7.el7.i686.rpm'))).toMatchObject({ code: 'RPM_ARCH', exit: 5 });
  });

  it('refuses two versions of one name', async () => {
    expect(
      await verdict(read('unzip-6.0-19.el7.x86_64.rpm'), read('unzip-6.0-22.el7_9.x86_64.rpm')),
    ).toMatchObject({ code: 'RPM_TWO_VERSIONS', exit: 5 });
  });

  it('finds what is missing from the closure', async () => {
    const { closure } = await facts(read('ipset-7.1-1.el7.x86_64.rpm'));
    const error = await Promise.resolve()
      .then(() => {
        judgeClosure(closure);
      })
      .catch((thrown: unknown) => thrown as BundleError);
    expect(error).toMatchObject({ code: 'CLOSURE_BROKEN', exit: 6 });
    expect(error?.details.join('\n')).toContain('is needed by ipset-7.1-1.el7.x86_64');
  });
});

/** A program that the container finds before its own. */
const inPlaceOf = (program: string, text: string): string =>
  `cat >/usr/local/bin/${program} <<'END'\n#!/bin/sh\n${text}\nEND\nchmod 755 /usr/local/bin/${program}`;

const silent = {
  progress: () => undefined,
  note: () => undefined,
  done: () => undefined,
  fail: () => undefined,
};

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function withoutSignature(engine: Engine, image: string, bytes: Buffer): Promise<Buffer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'delsign-'));
  try {
    const store = await openStore({ directory: folder });
    const { sha256 } = await store.put(once(bytes));
    return await withContainers(
      engine,
      () => undefined,
      async (create) => {
        const container = await create({
          role: 'delsign',
          image,
          network: false,
          command: ['rpmsign', '--delsign', '/work/x.rpm'],
        });
        await container.copyIn([{ path: 'work/x.rpm', from: store.path(sha256) }]);
        expect((await container.run()).exitCode).toBe(0);
        let out: Buffer = Buffer.alloc(0);
        await container.copyOut('/work/x.rpm', async (member) => {
          out = await readBytes(member, 10_000_000);
        });
        return out;
      },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Changes the payload, puts right the MD5 over header and payload, and renames the tag of the one signature that covers
 * the payload: everything that whoever has no key can do. (Format: lead of 96 bytes, then the signature header.)
 */
function withForgedPayload(rpm: Buffer): Buffer {
  const bytes = Buffer.from(rpm);
  const entries = bytes.readUInt32BE(96 + 8);
  const dataAt = 96 + 16 + entries * 16;
  const headerAt = dataAt + Math.ceil(bytes.readUInt32BE(96 + 12) / 8) * 8;
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
  for (let entry = 0; entry < entries; entry += 1) {
    const at = 96 + 16 + entry * 16;
    const tag = bytes.readUInt32BE(at);
    if (tag === 1002) bytes.writeUInt32BE(1099, at);
    if (tag === 1004)
      createHash('md5')
        .update(bytes.subarray(headerAt))
        .digest()
        .copy(bytes, dataAt + bytes.readUInt32BE(at + 8));
  }
  return bytes;
}
