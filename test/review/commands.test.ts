import { rmSync } from 'node:fs';
import { Command } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ReadHost } from '../../src/host/host.js';
import { localHost } from '../../src/host/local.js';
import { target } from '../../src/model/layout.js';
import { reviewCommands } from '../../src/review-commands.js';
import { failureOf } from '../create/create-support.js';
import { makeBundle, makeSigner } from './bundle.js';

const signer = makeSigner();
const other = makeSigner();

/** What the last command has written to stdout. */
let printed = '';

/** This machine, with a trust store that holds these keys; undefined: that only root may read. */
function nodeWith(pems: readonly string[] | undefined): ReadHost {
  const host = localHost();
  const names = pems?.map((_, index) => `${String(index)}.pem`);
  return {
    ...host,
    lstat: async (path) =>
      names?.includes(path.slice(target.trust.length + 1)) === true
        ? { kind: 'file', mode: 0o644, uid: 0, gid: 0, sizeBytes: 200, modifiedMs: 0 }
        : host.lstat(path),
    list: async (path) => {
      if (path !== target.trust) return host.list(path);
      if (names === undefined) throw Object.assign(new Error('EACCES'), { code: 'EACCES' });
      return names;
    },
    chunks: async function* (path, buffer) {
      const index = names?.indexOf(path.slice(target.trust.length + 1)) ?? -1;
      if (index < 0) yield* host.chunks(path, buffer);
      else yield Buffer.from(pems?.[index] ?? '');
    },
  };
}

async function run(host: ReadHost, ...args: string[]): Promise<string> {
  printed = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text, ...rest) => {
    printed += String(text);
    const done = rest.at(-1);
    if (typeof done === 'function') done();
    return true;
  });
  const root = new Command('airbundle').exitOverride();
  reviewCommands(root, { host: () => host, trustStore: true });
  await root.parseAsync(['node', 'airbundle', ...args, '-q']);
  return printed;
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('verify and inspect on a node', () => {
  it('take the keys that the node trusts; one of them is enough', async () => {
    const { folder } = await makeBundle(signer);
    const node = nodeWith([other.trusted.pem, signer.trusted.pem]);
    expect(await run(node, 'verify', folder)).toContain('trusted on this node');
    expect(await run(node, 'inspect', folder)).toMatch(/^verified: every byte is as it was signed\n/);
  });

  it('refuse what no trusted key signed, and show it only with --unsigned', async () => {
    const { folder } = await makeBundle(signer);
    const node = nodeWith([other.trusted.pem]);
    for (const command of ['verify', 'inspect'])
      expect(await failureOf(run(node, command, folder))).toMatchObject({ code: 'BAD_SIGNATURE', exit: 4 });
    expect(await run(node, 'inspect', folder, '--unsigned')).toMatch(/^NOT VERIFIED/);
  });

  it('say what to do when only root may read the trusted keys', async () => {
    const { folder } = await makeBundle(signer);
    expect(await failureOf(run(nodeWith(undefined), 'verify', folder))).toMatchObject({
      code: 'NOT_ROOT',
      where: target.trust,
    });
  });

  it('print every problem as JSON and fail', async () => {
    const made = await makeBundle(signer);
    rmSync(made.installSh);
    const failure = await failureOf(run(nodeWith([signer.trusted.pem]), 'verify', made.folder, '-o', 'json'));
    expect(failure).toMatchObject({ code: 'MISSING', exit: 4 });
    expect(JSON.parse(printed)).toMatchObject({ verified: false, problems: [failure.toJSON()] });
  });
});
