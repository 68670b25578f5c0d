import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { putDocument, requirePlace } from '../../src/document-output.js';
import { localHost } from '../../src/host/local.js';
import { deskPlanCommand } from '../../src/plan-commands.js';
import { failureOf } from '../create/create-support.js';
import { temporaryFolder } from '../host/rooted.js';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What is written to stdout while it runs. */
async function printed(work: () => Promise<unknown>): Promise<string> {
  let text = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk, ...rest) => {
    text += String(chunk);
    const done = rest.at(-1);
    if (typeof done === 'function') done();
    return true;
  });
  await work();
  return text;
}

const plan = async (...args: string[]): Promise<void> => {
  const root = new Command('bundle').exitOverride().configureOutput({ outputError: () => undefined });
  deskPlanCommand(root, localHost);
  for (const child of root.commands)
    child.exitOverride().configureOutput({ writeErr: () => undefined, outputError: () => undefined });
  await root.parseAsync(['node', 'bundle', 'plan', ...args, '-q']);
};

describe('bundle plan', () => {
  const folder = (): string => temporaryFolder();

  it('needs a key, or says that nothing is proved', async () => {
    expect(await failureOf(plan('.', '--inventory', 'x'))).toMatchObject({ code: 'NO_KEY', exit: 2 });
    expect(await failureOf(plan('.', '--inventory', 'x', '--unsigned', '--key', 'k'))).toMatchObject({
      code: 'KEY_AND_UNSIGNED',
      exit: 2,
    });
  });

  it('reads the inventory before the bundle, and refuses one that is none', async () => {
    const file = path.join(folder(), 'lb1.json');
    writeFileSync(file, '{}');
    expect(await failureOf(plan('/none', '--inventory', file, '--unsigned'))).toMatchObject({
      code: 'BAD_INVENTORY',
      exit: 3,
      where: file,
    });
  });

  it('takes text, json or a file that ends in .json as -o', async () => {
    await expect(plan('.', '--inventory', 'x', '--unsigned', '-o', 'plan.txt')).rejects.toThrow(
      '"plan.txt" is none of: text, json, a file that ends in .json',
    );
    const at = path.join(folder(), 'plan.json');
    mkdirSync(at);
    expect(await failureOf(plan('.', '--inventory', 'x', '--unsigned', '-o', at))).toMatchObject({
      code: 'BAD_OUTPUT',
      exit: 2,
      where: at,
    });
  });
});

describe('a document', () => {
  const document = { value: { a: '\u001b[2J' }, bytes: '{"a":1}\n', text: 'a \u001b[2J line\n' };

  it('goes to its file, which only its owner reads, and its text to stdout', async () => {
    const file = path.join(temporaryFolder(), 'plan.json');
    for (const round of ['new', 'again']) {
      const output = { form: 'text', file } as const;
      await requirePlace(localHost(), output);
      const text = await printed(() => putDocument(localHost(), output, document));
      expect([round, text, readFileSync(file, 'utf8'), statSync(file).mode & 0o777]).toEqual([
        round,
        'a \\u001b[2J line\n',
        document.bytes,
        0o600,
      ]);
    }
  });

  it('as JSON moves no cursor either', async () => {
    const text = await printed(() => putDocument(localHost(), { form: 'json' }, document));
    expect(text).toBe('{\n  "a": "\\u001b[2J"\n}\n');
    expect(JSON.parse(text)).toEqual(document.value);
  });

  it('does not go into a folder that is not there', async () => {
    const output = { form: 'text', file: path.join(temporaryFolder(), 'none', 'plan.json') } as const;
    expect(await failureOf(requirePlace(localHost(), output))).toMatchObject({ code: 'BAD_OUTPUT' });
  });
});
