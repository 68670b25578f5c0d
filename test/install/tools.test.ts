import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ToolsResult } from '../../src/install/tools.js';
import { installTools } from '../../src/install/tools.js';
import { target } from '../../src/model/layout.js';
import { createReporter } from '../../src/report.js';
import type { Rooted } from '../host/rooted.js';
import { rootedHost } from '../host/rooted.js';
import type { MadeBundle } from './bundle.js';
import { makeBundle, makeKey } from './bundle.js';

const key = makeKey();

describe('the tools of a jump host', () => {
  let work: string;
  const made = new Map<string, MadeBundle>();

  beforeAll(async () => {
    work = mkdtempSync(path.join(tmpdir(), 'airbundle-tools-'));
    for (const [label, name, sequence] of [
      ['old', 'small', 1],
      ['new', 'small', 2],
      ['same', 'small', 2],
      ['other', 'other', 1],
    ] as const) {
      const program = path.join(import.meta.dirname, 'bundle.ts');
      const version = `1.0.${String(made.size)}`;
      made.set(
        label,
        await makeBundle({ work: path.join(work, label), key, name, sequence, version, deploy: program }),
      );
    }
  });
  afterAll(() => {
    rmSync(work, { recursive: true, force: true });
  });

  const jumpHost = (): Rooted => {
    const host = rootedHost({ answer: () => ({}) });
    host.put('/key.pem', key.pem);
    host.put('/usr/sbin/useradd', '');
    return host;
  };
  const tools = (host: Rooted, label: string, isFirst = false): Promise<ToolsResult> => {
    cpSync(made.get(label)?.folder ?? '', path.join(host.root, label), { recursive: true });
    return installTools(host, {
      directory: `/${label}`,
      key: isFirst ? '/key.pem' : undefined,
      fingerprint: isFirst ? key.fingerprint : undefined,
      runId: 'run1',
      reporter: createReporter({
        ...{ format: 'text', quiet: true, color: false, now: () => 0 },
        stream: { write: () => true },
      }),
    });
  };
  const floor = (host: Rooted): unknown =>
    JSON.parse(readFileSync(path.join(host.root, target.floor), 'utf8'));

  it('get newer and never older, and the same again changes nothing', async () => {
    const host = jumpHost();
    expect((await tools(host, 'old', true)).outcome).toBe('installed');
    expect((await tools(host, 'new')).outcome).toBe('unchanged');
    expect(floor(host)).toMatchObject({ small: { sequence: 2 } });
    await expect(tools(host, 'old')).rejects.toMatchObject({ code: 'SEQUENCE_LOWER', exit: 5 });
    await expect(tools(host, 'same')).rejects.toMatchObject({ code: 'SEQUENCE_EQUAL', exit: 5 });
    expect((await tools(host, 'new')).outcome).toBe('unchanged');
  });

  it('are judged by the releases of their own product', async () => {
    const host = jumpHost();
    await tools(host, 'new', true);
    await tools(host, 'other');
    expect(floor(host)).toMatchObject({ small: { sequence: 2 }, other: { sequence: 1 } });
  });
});
