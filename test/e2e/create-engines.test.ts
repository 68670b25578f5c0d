import { execFileSync, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findEngine } from '../../src/create/engine.js';
import { attempt } from '../lab/docker.js';
import { skipUnless } from '../support/skip.js';
import { createSetting } from './create-setting.js';
import type { CreateSetting } from './create-setting.js';

/* Engines that run elsewhere, and how the packager names them. */

const docker = (await attempt(['docker', 'version']).catch(() => undefined))?.exitCode === 0;

interface Relay {
  readonly url: string;
  /** Connections so far. */
  readonly connections: () => number;
  readonly close: () => void;
}

/** TCP in front of the local engine's socket. `onStart` runs before a container's start goes through. */
async function relayTo(socketPath: string, onStart: (name: string) => Promise<void>): Promise<Relay> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    const up = connect(socketPath);
    let turn = Promise.resolve();
    socket.on('data', (bytes: Buffer) => {
      const [, name] = /POST \/v[\d.]+\/containers\/([\w.-]+)\/start/.exec(bytes.toString('latin1')) ?? [];
      turn = turn
        .then(() => (name === undefined ? undefined : onStart(name)))
        .then(() => void up.write(bytes));
    });
    socket.on('end', () => void turn.then(() => up.end()));
    socket.on('error', () => up.destroy());
    up.pipe(socket);
    up.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `tcp://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    connections: () => connections,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

describe('an engine on another machine', () => {
  skipUnless(docker, 'docker does not answer');
  let setting: CreateSetting;
  let relay: Relay;
  let folder = '';
  const started: string[] = [];
  beforeAll(async () => {
    if (!docker) return;
    setting = await createSetting();
    folder = await mkdtemp(path.join(tmpdir(), 'engines-'));
    relay = await relayTo('/var/run/docker.sock', async (name) => {
      started.push((await attempt(['docker', 'inspect', '--type', 'container', name])).stdout);
    });
  });
  afterAll(async () => {
    if (!docker) return;
    relay.close();
    await rm(folder, { recursive: true, force: true });
    await setting.close();
  });

  it('is reached by DOCKER_HOST, and its containers see no path of any host', async () => {
    const done = await setting.start(setting.words(), setting.env({ DOCKER_HOST: relay.url })).end;
    expect(done.exitCode, done.stderr).toBe(0);
    const containers = started.map((text) => {
      const [container] = JSON.parse(text) as {
        Name: string;
        Mounts: unknown[];
        HostConfig: Record<string, unknown>;
      }[];
      return container;
    });
    expect(containers.map((one) => one?.Name.replace(/^\/airbundle-[0-9a-f]+-/, '')).sort()).toEqual([
      'examine',
      'yum',
    ]);
    for (const one of containers) {
      expect(one?.Mounts).toEqual([]);
      expect(one?.HostConfig).toMatchObject({ Binds: null, VolumesFrom: null, Privileged: false });
      expect([undefined, null, 0]).toContain((one?.HostConfig['Mounts'] as unknown[] | undefined)?.length);
    }
    const left = await attempt([
      ...['docker', 'ps', '-a', '--filter', `label=airbundle.test=${setting.label}`],
      ...['--format', '{{.Names}}'],
    ]);
    expect(left.stdout).toBe('');
  });

  const uses = async (env: Record<string, string>): Promise<boolean> => {
    const before = relay.connections();
    await findEngine({ env: { PATH: process.env['PATH'] ?? '', ...env }, engine: 'docker' });
    return relay.connections() > before;
  };

  it('is the one of the docker context: by DOCKER_CONTEXT, or as the current one of the configuration', async () => {
    const home = path.join(folder, 'home');
    const config = path.join(home, '.docker');
    await mkdir(config, { recursive: true });
    const env = { PATH: process.env['PATH'] ?? '', DOCKER_CONFIG: config };
    execFileSync('docker', ['context', 'create', 'there', '--docker', `host=${relay.url}`], {
      env,
      stdio: 'pipe',
    });
    expect(await uses({ DOCKER_CONFIG: config })).toBe(false);
    expect(await uses({ DOCKER_CONFIG: config, DOCKER_CONTEXT: 'there' })).toBe(true);
    execFileSync('docker', ['context', 'use', 'there'], { env, stdio: 'pipe' });
    expect(await uses({ DOCKER_CONFIG: config })).toBe(true);
    expect(await uses({ HOME: home })).toBe(true);
    expect(await uses({ HOME: home, DOCKER_HOST: 'unix:///var/run/docker.sock' })).toBe(false);
  });

  it('that takes the connection and says nothing is not waited for without end', async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const env = {
      PATH: process.env['PATH'] ?? '',
      DOCKER_HOST: `tcp://127.0.0.1:${String((silent.address() as AddressInfo).port)}`,
      AIRBUNDLE_TIMEOUT: '1',
    };
    try {
      await expect(findEngine({ env, engine: 'docker' })).rejects.toMatchObject({
        code: 'ENGINE_NOT_RUNNING',
        exit: 5,
        message: expect.stringContaining('took too long') as string,
        hint: expect.stringContaining('DOCKER_HOST') as string,
      });
    } finally {
      silent.close();
      for (const socket of sockets) socket.destroy();
    }
  });

  it('is named by variables that all reach the engine; a stand-in for docker writes down what it gets', async () => {
    const bin = path.join(folder, 'bin');
    await mkdir(bin);
    await writeFile(path.join(bin, 'docker'), `#!/bin/sh\nenv >"${folder}/got"\nexit 1\n`);
    await chmod(path.join(bin, 'docker'), 0o755);
    const given = {
      DOCKER_HOST: 'tcp://127.0.0.1:9',
      DOCKER_CONTEXT: 'there',
      DOCKER_CONFIG: '/nowhere/docker',
      DOCKER_TLS_VERIFY: '1',
      DOCKER_CERT_PATH: '/nowhere/certs',
      CONTAINER_HOST: 'tcp://127.0.0.1:9',
      CONTAINERS_CONF: '/nowhere/containers.conf',
      XDG_RUNTIME_DIR: '/run/user/1',
      SSH_AUTH_SOCK: '/nowhere/agent',
      HOME: path.join(folder, 'home'),
    };
    const env = setting.env({ ...given, PATH: `${bin}:${process.env['PATH'] ?? ''}` });
    const done = await setting.start([...setting.words(), '--engine', 'docker'], env).end;
    expect(done.exitCode).toBe(5);
    const got = (await readFile(path.join(folder, 'got'), 'utf8')).split('\n');
    expect(got).toEqual(
      expect.arrayContaining(Object.entries(given).map(([name, value]) => `${name}=${value}`)),
    );
  });
});

const podman = (await attempt(['podman', 'info']).catch(() => undefined))?.exitCode === 0;

describe('a podman service', () => {
  skipUnless(podman && docker, 'podman (apt-get install podman runc) or docker does not answer');
  let setting: CreateSetting;
  let folder = '';
  beforeAll(async () => {
    if (!podman || !docker) return;
    setting = await createSetting();
    folder = await mkdtemp(path.join(tmpdir(), 'podman-'));
    if ((await attempt(['podman', 'image', 'exists', setting.image])).exitCode === 0) return;
    const archive = path.join(folder, 'image.tar');
    execFileSync('docker', ['save', '-o', archive, setting.image], { stdio: 'pipe' });
    execFileSync('podman', ['load', '--quiet', '-i', archive], { stdio: 'pipe' });
    await rm(archive);
  });
  afterAll(async () => {
    if (!podman || !docker) return;
    await rm(folder, { recursive: true, force: true });
    await setting.close();
  });

  it.each(['unix', 'tcp'])('is reached over %s by CONTAINER_HOST', async (kind) => {
    const address =
      kind === 'unix' ? `unix://${folder}/podman.sock` : `tcp://127.0.0.1:${String(await freePort())}`;
    // A service decides on runtime and limits itself; not every machine lets it have podman's own choice.
    const conf = path.join(folder, 'containers.conf');
    await writeFile(
      conf,
      '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\nruntime = "runc"\n',
    );
    const service = spawn('podman', ['system', 'service', '--time=0', address], {
      env: { ...process.env, CONTAINERS_CONF: conf },
      stdio: 'ignore',
    });
    try {
      const env = { CONTAINER_HOST: address, AIRBUNDLE_ENGINE_NETWORK: 'host' };
      await expect
        .poll(
          () =>
            findEngine({ env: { ...setting.env(), ...env }, engine: 'podman' }).then(
              () => true,
              () => false,
            ),
          { timeout: 30_000 },
        )
        .toBe(true);
      const out = path.join(folder, kind);
      const words = setting.words({ out, cache: path.join(folder, `cache-${kind}`) });
      const done = await setting.start([...words, '--engine', 'podman'], setting.env(env)).end;
      expect(done.exitCode, done.stderr).toBe(0);
      const left = await attempt([
        ...['podman', 'ps', '-a', '--filter', `label=airbundle.test=${setting.label}`],
        ...['--format', '{{.Names}}'],
      ]);
      expect(left.stdout).toBe('');
    } finally {
      service.kill();
    }
  });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
