import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AskSecret } from '../../src/fleet/credentials.js';
import { credentials } from '../../src/fleet/credentials.js';
import { readIdentity, requireIdentity, skippedInWords } from '../../src/fleet/identity.js';
import { localHost } from '../../src/host/local.js';

/** Keys that OpenSSH made itself. */
describe('the key that --identity names', () => {
  let home: string;
  const at = (name: string): string => path.join(home, name);

  beforeAll(() => {
    home = mkdtempSync(path.join(tmpdir(), 'airbundle-identity-'));
    const keygen = (name: string, ...more: string[]): unknown =>
      execFileSync('ssh-keygen', ['-q', '-f', at(name), ...more]);
    keygen('plain', '-t', 'ed25519', '-N', '');
    keygen('encrypted', '-t', 'ed25519', '-N', 'right');
    keygen('old-form', '-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', 'right');
    writeFileSync(at('no-key'), 'what somebody wrote\n');
    writeFileSync(at('empty'), '');
    mkdirSync(at('folder'));
  });
  afterAll(() => {
    rmSync(home, { recursive: true, force: true });
  });

  const look = (name: string, { hasAgent = false, ask }: { hasAgent?: boolean; ask?: AskSecret } = {}) =>
    requireIdentity(localHost(), at(name), { credentials: credentials(ask), hasAgent });
  /** Types one after the other, and counts. */
  const typing = (...answers: readonly string[]) => {
    const asked: string[] = [];
    const ask: AskSecret = (question) => {
      asked.push(question);
      return Promise.resolve(answers[asked.length - 1]);
    };
    return { asked, ask };
  };

  it('is taken when it can be used as it is', async () => {
    await expect(look('plain')).resolves.toBeUndefined();
  });

  it.each([
    ['absent', 'not there'],
    ['folder', 'cannot be read: EISDIR'],
    ['plain/below-a-file', 'not there'],
    ['no-key', 'no private key'],
    ['empty', 'no private key'],
    ['plain.pub', 'public key'],
  ])('is refused with its path and a next step: %s', async (name, words) => {
    const error: unknown = await look(name).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'NO_IDENTITY', exit: 2, where: at(name) });
    expect(String(error)).toContain(words);
    expect(error).toHaveProperty('hint', expect.stringContaining('--identity') as unknown);
  });

  it('may be a public key whose private one is in the agent', async () => {
    await expect(look('plain.pub', { hasAgent: true })).resolves.toBeUndefined();
  });

  it.each(['encrypted', 'old-form'])('is opened with its passphrase: %s', async (name) => {
    const { ask, asked } = typing('wrong', 'right');
    await expect(look(name, { ask })).resolves.toBeUndefined();
    expect(asked).toHaveLength(2);
  });

  it.each(['encrypted', 'old-form'])('is refused when nobody can open it: %s', async (name) => {
    const wrong = await look(name, { ask: typing('a', 'b', 'c').ask }).catch((thrown: unknown) => thrown);
    expect(wrong).toMatchObject({ code: 'IDENTITY_LOCKED', exit: 2, where: at(name) });
    expect(String(wrong)).toContain('the passphrase that was typed');
    const nobody = await look(name).catch((thrown: unknown) => thrown);
    expect(nobody).toMatchObject({ code: 'IDENTITY_LOCKED', exit: 2 });
    expect(String(nobody)).toContain('no terminal');
  });

  it('is not asked for while an agent may have it', async () => {
    const { ask, asked } = typing();
    await expect(look('encrypted', { ask, hasAgent: true })).resolves.toBeUndefined();
    expect(asked).toEqual([]);
  });

  it("is told apart from ssh's own choice, of which a refusal says what was left out", async () => {
    const names = ['absent', 'absent too', 'no-key', 'folder', 'encrypted', 'plain.pub'];
    const found = await Promise.all(names.map((name) => readIdentity(localHost(), at(name))));
    const words = skippedInWords(found, credentials(undefined)).map((line) =>
      line.replaceAll(`${home}/`, ''),
    );
    expect(words).toEqual([
      'not tried: no-key is no private key',
      expect.stringMatching(/^not tried: folder: EISDIR/),
      'not tried: encrypted is encrypted, and there is no terminal to ask for its passphrase on',
      'not tried: plain.pub is a public key, and no agent gave its private one',
      'not there: absent, absent too',
    ]);
  });
});
