import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findEngine } from '../../src/create/engine.js';
import type { EngineName } from '../../src/create/engine.js';
import { readTar, readText, writeTar } from '../../src/create/engine-tar.js';

describe("findEngine, with stand-ins for the engines' commands", () => {
  let bin = '';
  beforeEach(async () => {
    bin = await mkdtemp(path.join(tmpdir(), 'engine-'));
  });
  afterEach(async () => {
    await rm(bin, { recursive: true, force: true });
  });

  const stub = async (name: EngineName, script: string): Promise<void> => {
    await writeFile(path.join(bin, name), `#!/bin/sh\n${script}\n`);
    await chmod(path.join(bin, name), 0o755);
  };
  const find = (engine?: EngineName) =>
    findEngine({ env: { PATH: bin }, ...(engine === undefined ? {} : { engine }) });

  it('takes docker before podman', async () => {
    await stub('docker', 'exit 0');
    await stub('podman', 'exit 0');
    expect((await find()).name).toBe('docker');
    expect((await find('podman')).name).toBe('podman');
  });

  it('takes podman when docker is missing or does not answer', async () => {
    await stub('podman', 'exit 0');
    expect((await find()).name).toBe('podman');
    await stub('docker', 'echo "Cannot connect to the Docker daemon" >&2; exit 1');
    expect((await find()).name).toBe('podman');
  });

  it('says that nothing is installed', async () => {
    await expect(find()).rejects.toMatchObject({
      code: 'ENGINE_MISSING',
      exit: 5,
      message: expect.stringContaining('docker and podman are not installed') as string,
    });
    await expect(find('podman')).rejects.toMatchObject({ code: 'ENGINE_MISSING', exit: 5 });
  });

  it('says that the engine is not running, with its words', async () => {
    await stub(
      'docker',
      'echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2; exit 1',
    );
    await expect(find()).rejects.toMatchObject({
      code: 'ENGINE_NOT_RUNNING',
      exit: 5,
      details: [expect.stringContaining('Cannot connect') as string],
      hint: expect.stringContaining('systemctl start docker') as string,
    });
  });

  it('says that the user may not use it', async () => {
    await stub(
      'docker',
      'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1',
    );
    await expect(find()).rejects.toMatchObject({
      code: 'ENGINE_PERMISSION',
      exit: 5,
      hint: expect.stringContaining('usermod -aG docker') as string,
    });
  });
});

describe('the tar on the way in and out', () => {
  it('gives back what went in, paths of more than 100 characters too', async () => {
    const long = `airbundle/${'long/'.repeat(17)}name-1.0-1.el7.x86_64.rpm`;
    const files = [
      { path: 'a/empty', text: '' },
      { path: 'a/text', text: 'é\n'.repeat(400) },
      { path: long, text: 'x'.repeat(512) },
    ];
    const found: Record<string, string> = {};
    await readTar(Readable.from(writeTar(files)), async (member) => {
      found[member.path] = await readText(member, 10_000);
    });
    expect(found).toEqual(Object.fromEntries(files.map((file) => [file.path, file.text])));
  });

  it('gives every member its turn, also when one is not read', async () => {
    const seen: string[] = [];
    const files = [
      { path: 'a', text: 'x'.repeat(100_000) },
      { path: 'b', text: 'y' },
    ];
    await readTar(Readable.from(writeTar(files)), (member) => {
      seen.push(member.path);
      return Promise.resolve();
    });
    expect(seen).toEqual(['a', 'b']);
  });

  it('does not wait for an empty member, nor for one whose reader fails at once', async () => {
    const files = [
      { path: 'empty', text: '' },
      { path: 'large', text: 'x'.repeat(300_000) },
      { path: 'last', text: 'y' },
    ];
    const seen: string[] = [];
    await readTar(Readable.from(writeTar(files)), async (member) => {
      seen.push(member.path);
      if (member.path === 'large')
        await pipeline(member.bytes, createWriteStream('/nonexistent/x')).catch(() => undefined);
      else for await (const _ of member.bytes) seen.push('bytes');
    });
    expect(seen).toEqual(['empty', 'large', 'last', 'bytes']);
  });

  it('throws the first error of the reader, at the end of the stream', async () => {
    const files = [
      { path: 'a', text: 'x'.repeat(100_000) },
      { path: 'b', text: 'y' },
    ];
    await expect(
      readTar(Readable.from(writeTar(files)), (member) => readText(member, 10).then(() => undefined)),
    ).rejects.toThrow(/a has 100000 bytes/);
  });

  it('refuses what is not a tar', async () => {
    await expect(readTar(Readable.from([Buffer.alloc(2048, 7)]), () => Promise.resolve())).rejects.toThrow();
  });
});
