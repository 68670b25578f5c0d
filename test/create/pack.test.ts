import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { list } from 'tar';
import { describe, expect, it } from 'vitest';
import { packedBytes, packTar } from '../../src/create/pack.js';
import type { PackMember } from '../../src/create/pack.js';
import { BundlePath } from '../../src/model/grammar.js';
import { failureOf, sha256Of, temporaryFolder } from './create-support.js';

const MIB = 1024 * 1024;
const first = { path: 'bundle.json', bytes: Buffer.from('{"airbundle":1}\n') };

function memberOf(folder: string, name: string, bytes: Uint8Array, mode: 0o644 | 0o755 = 0o644): PackMember {
  const file = path.join(folder, `file-${sha256Of(name).slice(0, 16)}`);
  writeFileSync(file, bytes);
  return { path: BundlePath.parse(name), mode, sizeBytes: bytes.length, sha256: sha256Of(bytes), file };
}

/** Distinct paths, up to the longest that a bundle takes; sizes around every boundary of block and chunk. */
const anyMembers = fc.array(
  fc.record({
    name: fc.stringMatching(/^[A-Za-z0-9._+~^-]{1,90}$/).filter((text) => text !== '.' && text !== '..'),
    mode: fc.constantFrom(0o644 as const, 0o755 as const),
    sizeBytes: fc.oneof(
      fc.constantFrom(0, 1, 511, 512, 513, MIB - 512, MIB - 1, MIB, MIB + 1, 2 * MIB),
      fc.nat(3 * MIB),
    ),
    fill: fc.nat(255),
  }),
  { maxLength: 6 },
);

describe('the payload', () => {
  it('is read back, member by member, by GNU tar and by node-tar', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(anyMembers, async (given) => {
        const folder = temporaryFolder();
        const members = given.map(({ name, mode, sizeBytes, fill }, index) =>
          memberOf(folder, `m${String(index)}/${name}`, Buffer.alloc(sizeBytes, fill), mode),
        );
        const output = path.join(folder, 'out.tar');
        const packed = await packTar({ first, members, output });
        const bytes = readFileSync(output);
        expect(packed.sha256).toBe(sha256Of(bytes));
        expect(packed.sizeBytes).toBe(bytes.length);
        expect(packedBytes({ first, members })).toBe(bytes.length);

        const wanted = [
          { path: first.path, mode: 0o644, size: first.bytes.length },
          ...members.map((member) => ({ path: member.path, mode: member.mode, size: member.sizeBytes })),
        ];
        const seen: unknown[] = [];
        await list({
          file: output,
          strict: true,
          onReadEntry: (entry) => {
            seen.push({ path: entry.path, mode: entry.mode, size: entry.size });
            expect([entry.type, entry.uid, entry.gid, entry.uname, entry.mtime?.getTime()]).toEqual([
              'File',
              0,
              0,
              '',
              0,
            ]);
          },
        });
        expect(seen).toEqual(wanted);

        const gnu = execFileSync('tar', ['-tf', output], { encoding: 'utf8', stdio: 'pipe' });
        expect(gnu.split('\n').slice(0, -1)).toEqual(wanted.map((entry) => entry.path));
        const extracted = path.join(folder, 'extracted');
        mkdirSync(extracted);
        execFileSync('tar', ['-xpf', output, '-C', extracted]);
        for (const member of members)
          expect(sha256Of(readFileSync(path.join(extracted, member.path)))).toBe(member.sha256);
        rmSync(folder, { recursive: true });
      }),
      { numRuns: 25 },
    );
  });

  it('ends with a whole record, as tar makes it, so that no tool warns', async () => {
    const folder = temporaryFolder();
    const output = path.join(folder, 'out.tar');
    const { sizeBytes } = await packTar({ first, members: [], output });
    expect(sizeBytes % 10_240).toBe(0);
  });

  it("is refused when a member's bytes are not the described ones, naming member and file", async () => {
    const folder = temporaryFolder();
    const make = (change: (file: string) => void): PackMember[] => {
      const members = [
        memberOf(folder, 'runtime/node', Buffer.alloc(3 * MIB, 1)),
        memberOf(folder, 'rpms/a.rpm', Buffer.from('good')),
      ];
      change(members[1]?.file ?? '');
      return members;
    };
    const damages: Record<string, (file: string) => void> = {
      'its sha256 is': (file) => {
        writeFileSync(file, 'gooe');
      },
      'it has 3 bytes instead of 4': (file) => {
        writeFileSync(file, 'goo');
      },
      'it has 5 bytes instead of 4': (file) => {
        writeFileSync(file, 'good!');
      },
      'it cannot be read': (file) => {
        rmSync(file);
      },
    };
    for (const [index, [words, change]] of Object.entries(damages).entries()) {
      const members = make(change);
      const failure = await failureOf(
        packTar({ first, members, output: path.join(folder, `out-${String(index)}`) }),
      );
      expect(failure.exit).toBe(4);
      expect(failure.message).toContain(`rpms/a.rpm is damaged in the cache: ${words}`);
      expect(failure.hint).toContain(`rm -f ${members[1]?.file ?? ''}`);
    }
  });

  it('is refused when a file is longer or shorter than its member, also where a chunk ends with it', async () => {
    const folder = temporaryFolder();
    // In front of it: two headers and a block of bundle.json.
    const toEnd = 256 * 1024 - 3 * 512;
    for (const sizeBytes of [0, toEnd - 1, toEnd, toEnd + 1, toEnd + 256 * 1024]) {
      const member = memberOf(folder, 'rpms/a.rpm', Buffer.alloc(sizeBytes, 1));
      const pack = (name: string): Promise<unknown> =>
        packTar({ first, members: [member], output: path.join(folder, `${name}-${String(sizeBytes)}`) });
      await pack('whole');
      for (const wrong of [sizeBytes - 1, sizeBytes + 1].filter((size) => size >= 0)) {
        writeFileSync(member.file, Buffer.alloc(wrong, 1));
        expect((await failureOf(pack(`wrong-${String(wrong)}`))).message).toContain(
          `it has ${String(wrong)} bytes instead of ${String(sizeBytes)}`,
        );
      }
    }
  });

  it('never writes over a file, and says where it cannot write', async () => {
    const folder = temporaryFolder();
    const output = path.join(folder, 'out.tar');
    writeFileSync(output, 'there');
    expect((await failureOf(packTar({ first, members: [], output }))).exit).toBe(6);
    expect(readFileSync(output, 'utf8')).toBe('there');
  });

  it('says what the disk says when it takes no more bytes', async () => {
    const folder = temporaryFolder();
    const members = [memberOf(folder, 'runtime/node', Buffer.alloc(3 * MIB, 1))];
    const output = path.join(folder, 'out.tar');
    const limit = (bytes: string): void => {
      execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`]);
    };
    limit(String(MIB));
    const failure = await failureOf(packTar({ first, members, output })).finally(() => limit('unlimited'));
    expect([failure.exit, failure.code, failure.where]).toEqual([6, 'CANNOT_WRITE', output]);
    expect(failure.message).toContain('a file may not be that large there');
    // It came from the other thread.
    expect(readFileSync(output).length).toBe(MIB);
  });

  it('stops when it is aborted', async () => {
    const folder = temporaryFolder();
    const stop = new AbortController();
    const members = [memberOf(folder, 'runtime/node', Buffer.alloc(20 * MIB, 1))];
    const work = packTar({
      first,
      members,
      output: path.join(folder, 'out.tar'),
      signal: stop.signal,
      onProgress: () => {
        stop.abort(new Error('stopped'));
      },
    });
    await expect(work).rejects.toThrow('stopped');
  });

  it('refuses a path and a size that ustar cannot hold', async () => {
    const folder = temporaryFolder();
    const member = memberOf(folder, 'rpms/a', Buffer.from('x'));
    const long = { ...member, path: `rpms/${'a'.repeat(96)}` as BundlePath };
    expect(
      (await failureOf(packTar({ first, members: [long], output: path.join(folder, 'one') }))).code,
    ).toBe('USTAR_PATH');
    const file = path.join(folder, 'large');
    execFileSync('truncate', ['-s', String(8 ** 11), file]);
    const large = { ...member, file, sizeBytes: 8 ** 11 };
    expect(
      (await failureOf(packTar({ first, members: [large], output: path.join(folder, 'two') }))).code,
    ).toBe('USTAR_SIZE');
    chmodSync(file, 0o600);
    expect(existsSync(path.join(folder, 'two'))).toBe(true);
  });
});
