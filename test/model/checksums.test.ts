import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Checksums } from '../../src/model/checksums.js';
import { formatChecksums, parseChecksums, stemOf } from '../../src/model/checksums.js';
import { sha256Of } from '../install/bundle.js';

const hex = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(sha256Of);
const release = fc.record({
  name: fc.stringMatching(/^[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5}){0,2}$/),
  version: fc.stringMatching(/^[0-9][0-9A-Za-z.+_]{0,8}$/),
  sequence: fc.integer({ min: 1, max: 1_000_000 }),
  target: fc.constant('el7.x86_64'),
});
const checksums: fc.Arbitrary<Checksums> = fc.tuple(release, hex, hex).map(([given, one, two]) => ({
  ...given,
  files: [
    { name: `${stemOf(given)}.tar`, sha256: one },
    { name: 'install.sh', sha256: two },
  ],
}));

const one: Checksums = {
  name: 'tts-ha',
  version: '1.0.1',
  sequence: 3,
  target: 'el7.x86_64',
  files: [
    { name: 'tts-ha-1.0.1-el7.x86_64.tar', sha256: sha256Of('tar') },
    { name: 'install.sh', sha256: sha256Of('sh') },
  ],
};

describe('X.sha256', () => {
  it('is read back as it was written', () => {
    fc.assert(
      fc.property(checksums, (given) => {
        expect(parseChecksums(formatChecksums(given), 'x')).toEqual(given);
      }),
    );
  });

  it('changed by anything is refused with exit 4 or means another bundle', () => {
    const text = formatChecksums(one);
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.constantFrom('', ' ', '\n', 'a', '0', '*', '\r', '#', '=', '/'),
        (at, put) => {
          const changed = text.slice(0, at) + put + text.slice(at + 1);
          fc.pre(changed !== text);
          try {
            expect(parseChecksums(changed, 'x')).not.toEqual(one);
          } catch (error) {
            expect(error).toMatchObject({ code: 'BAD_CHECKSUMS', exit: 4 });
          }
        },
      ),
    );
  });

  it.each([
    ['nothing', ''],
    ['no last newline', formatChecksums(one).slice(0, -1)],
    ['CRLF', formatChecksums(one).replaceAll('\n', '\r\n')],
    ['another order', formatChecksums({ ...one, files: [...one.files].reverse() })],
    [
      'a third file',
      formatChecksums({ ...one, files: [...one.files, { name: 'x', sha256: sha256Of('x') }] }),
    ],
    ['a path for a name', formatChecksums(one).replace('install.sh', '../install.sh')],
    ['an escaped name of sha256sum', formatChecksums(one).replace(/^([0-9a-f]{64})/m, '\\$1')],
    ['a doubled field', formatChecksums(one).replace(' target=', ' sequence=9 target=')],
    ['a leading zero', formatChecksums(one).replace('sequence=3', 'sequence=03')],
    ['an unknown field', formatChecksums(one).replace(' target=', ' extra=1 target=')],
    ['a prototype', formatChecksums(one).replace(' target=', ' __proto__=1 target=')],
    ['sequence 0', formatChecksums(one).replace('sequence=3', 'sequence=0')],
    ['an exponent', formatChecksums(one).replace('sequence=3', 'sequence=3e0')],
    ['another format', formatChecksums(one).replace('airbundle-1', 'airbundle-2')],
  ])('is refused with %s', (_, text) => {
    expect(() => parseChecksums(text, '/m/x.sha256')).toThrow(
      expect.objectContaining({
        code: 'BAD_CHECKSUMS',
        exit: 4,
        where: expect.stringMatching(/^\/m\/x.sha256:\d+$/) as string,
      }),
    );
  });

  it('is refused at once where its header could be read in many ways: nobody has proved it yet', () => {
    const text = formatChecksums(one).replace(/ name=.*/, ` a=${'aa=a'.repeat(40)} !`);
    const startedMs = performance.now();
    expect(() => parseChecksums(text, 'x')).toThrow('this is not an airbundle-1 checksum file');
    expect(performance.now() - startedMs).toBeLessThan(200);
  });

  it('is what sha256sum --strict -c takes', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'airbundle-sums-'));
    try {
      writeFileSync(path.join(folder, 'sums'), formatChecksums(one));
      writeFileSync(path.join(folder, 'tts-ha-1.0.1-el7.x86_64.tar'), 'tar');
      writeFileSync(path.join(folder, 'install.sh'), 'sh');
      const said = execFileSync('sha256sum', ['--strict', '-c', 'sums'], { cwd: folder, encoding: 'utf8' });
      expect(said).toBe('tts-ha-1.0.1-el7.x86_64.tar: OK\ninstall.sh: OK\n');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
