import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { labBackendImage } from './backend-image.js';
import { attempt, docker, run, type Outcome } from './docker.js';
import { LabError } from './errors.js';
import { nodeImageFor } from './node-image.js';
import { isOwnerGone, ownerLabel } from './owner.js';
import { timed } from './progress.js';
import { labRepository } from './repository.js';
import { freeSubnets, type Subnet24 } from './subnet.js';

const LABEL = 'airbundle-lab';
const OWNER = `${LABEL}.owner`;
/** Seven machines at once on a busy host: a limit, no measure. */
const BOOT_MS = 180_000;
const POLL_MS = 200;

/** What a container needs so that systemd can be its first process. `--privileged` is not among it. */
const SYSTEMD_FLAGS = [
  ...['--cap-add', 'SYS_ADMIN', '--cap-add', 'NET_ADMIN', '--cap-add', 'NET_BROADCAST'],
  ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined'],
  ...['--security-opt', 'systempaths=unconfined', '--cgroupns=private'],
  ...[
    '--stop-signal',
    'SIGRTMIN+3',
    '--tmpfs',
    '/run',
    '--tmpfs',
    '/run/lock',
    '--ulimit',
    'nofile=1024:4096',
  ],
];

export interface ExecOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  /** Default: 10 minutes. */
  readonly timeoutMs?: number;
}

export interface Machine {
  readonly name: string;
  readonly address: string;
  /** The container's name, for docker commands. */
  readonly container: string;
}

export interface Lab {
  readonly runId: string;
  readonly network: string;
  /** `10.213.N.0/24` */
  readonly cidr: string;
  /** The network interface inside every machine. */
  readonly interfaceName: string;
  /** An address of the network that nobody has. */
  readonly vip: string;
  readonly nodes: Readonly<Record<string, Machine>>;
  /** gRPC backends; each listens on `backendPort`. */
  readonly backends: Readonly<Record<string, Machine>>;
  readonly backendPort: number;
  /** Machines of clients, with the gRPC clients on them. */
  readonly clients: Readonly<Record<string, Machine>>;
  /** Servers like the nodes from which an operator reaches these. */
  readonly jumpHosts: Readonly<Record<string, Machine>>;
  /** Runs a command in a machine as root; a non-zero exit is a result, not an error. */
  exec(machine: string, argv: readonly string[], options?: ExecOptions): Promise<Outcome>;
  /** Copies a host file or folder into a machine; a folder's name is kept under an existing one. */
  copyIn(machine: string, hostPath: string, machinePath: string): Promise<void>;
  /** Copies a file or folder of a machine to the host. */
  copyOut(machine: string, machinePath: string, hostPath: string): Promise<void>;
  /** The gRPC client in a container of its own: `target` is HOST:PORT; its line of JSON. */
  call(target: string, calls: number, options?: CallOptions): Promise<CallReport>;
  /** Cuts a machine off, at once, as a power failure would; `start` brings it back. */
  kill(machine: string): Promise<void>;
  start(machine: string): Promise<void>;
  /** Stops a machine where it is, as a hypervisor does: no process runs, nothing answers. `thaw` lets it go on. */
  freeze(machine: string): Promise<void>;
  thaw(machine: string): Promise<void>;
  /** Pulls the cable, or plugs it in again: the machine sees that its link is down. */
  cable(machine: string, plug: 'out' | 'in'): Promise<void>;
  /** A fault behind the switch's port: nothing goes in or out, and the link stays up. */
  port(machine: string, state: 'dead' | 'live'): Promise<void>;
  /** The machine's first process, as this host knows it. */
  pidOf(machine: string): Promise<number>;
  /** Another node in its place, of the same name and address, as new. */
  renew(node: string): Promise<void>;
  /** Removes everything of this run. */
  down(): Promise<void>;
}

export interface CallOptions {
  readonly kind?: 'unary' | 'stream';
  readonly pauseMs?: number;
}

export interface CallReport {
  readonly target: string;
  readonly calls: number;
  readonly replies: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly slowestMs: number;
}

export interface LabOptions {
  readonly nodes: readonly string[];
  readonly backends?: readonly string[];
  readonly clients?: readonly string[];
  readonly jumpHosts?: readonly string[];
  /** Of the processor where others want it too, as Docker counts it: 1024 is what each container has. */
  readonly cpuShares?: number;
}

const FIRST_NODE = 11;
const FIRST_JUMP_HOST = 31;
const FIRST_BACKEND = 51;
const FIRST_CLIENT = 71;
const VIP = 100;
const BACKEND_PORT = 50051;

/** Whose run it is, by id and by process. */
export const labels = (runId: string, owner = ownerLabel()): string[] => [
  ...['--label', `${LABEL}=${runId}`],
  ...['--label', `${OWNER}=${owner}`],
];

const makeNetwork = async (name: string, runId: string): Promise<Subnet24> => {
  let last = '';
  for (const subnet of freeSubnets().slice(0, 20)) {
    const done = await attempt([
      ...['docker', 'network', 'create', '--internal', ...labels(runId)],
      ...['--subnet', `${subnet}.0/24`, name],
    ]);
    if (done.exitCode === 0) return subnet;
    last = done.stderr.trim();
  }
  throw new LabError(`no network could be made: ${last}`, 'docker network ls; docker network prune');
};

const waitForSystemd = async (container: string): Promise<void> => {
  const endMs = performance.now() + BOOT_MS;
  let state = '';
  while (performance.now() < endMs) {
    const done = await attempt(['docker', 'exec', container, 'systemctl', 'is-system-running']);
    state = `${done.stdout}${done.stderr}`.trim();
    if (state === 'running' || state === 'degraded') return;
    await sleep(POLL_MS);
  }
  const logs = await attempt(['docker', 'exec', container, 'systemctl', 'list-jobs', '--no-pager']);
  throw new LabError(
    `systemd in ${container} was "${state}" after ${BOOT_MS / 1000} s`,
    `docker exec ${container} journalctl -b\n${logs.stdout}`,
  );
};

const waitForBackend = async (container: string): Promise<void> => {
  const endMs = performance.now() + BOOT_MS;
  while (performance.now() < endMs) {
    if ((await attempt(['docker', 'logs', container])).stdout.includes('listens on')) return;
    await sleep(POLL_MS);
  }
  throw new LabError(`the backend ${container} does not listen`, `docker logs ${container}`);
};

const pidOf = async (container: string): Promise<number> =>
  Number(await docker(['inspect', '--format', '{{.State.Pid}}', container]));

/** Runs a command of this host in the container's network: it needs no process of the container. */
const inNetworkOf = async (container: string, argv: readonly string[]): Promise<string> =>
  run(['nsenter', `--net=/proc/${String(await pidOf(container))}/ns/net`, ...argv]);

/** Takes the container's port out of the network's bridge, or puts it in again. */
export const switchPort = async (
  network: string,
  container: string,
  state: 'dead' | 'live',
): Promise<void> => {
  const inside = await inNetworkOf(container, ['ip', '-o', 'link', 'show', 'eth0']);
  const index = /eth0@if(\d+)/.exec(inside)?.[1] ?? '';
  const ports = await run(['ip', '-o', 'link', 'show']);
  const port = new RegExp(`^${index}: ([^@:]+)`, 'm').exec(ports)?.[1];
  if (port === undefined) throw new LabError(`${container} has no port on this host`, `${inside}\n${ports}`);
  const id = await docker(['network', 'inspect', '--format', '{{.Id}}', network]);
  const to = state === 'dead' ? ['nomaster'] : ['master', `br-${id.trim().slice(0, 12)}`];
  await run(['ip', 'link', 'set', port, ...to]);
};

const removeByLabel = async (label: string): Promise<number> => {
  const filter = ['--filter', `label=${label}`, '--quiet'];
  const containers = (await docker(['ps', '--all', ...filter])).split('\n').filter(Boolean);
  if (containers.length > 0) await docker(['rm', '-f', '-v', ...containers]);
  const networks = (await docker(['network', 'ls', ...filter])).split('\n').filter(Boolean);
  if (networks.length > 0) await docker(['network', 'rm', ...networks]);
  return containers.length + networks.length;
};

/** Removes everything of one run. @returns the number of containers and networks removed */
const removeLab = (runId: string): Promise<number> => removeByLabel(`${LABEL}=${runId}`);

/**
 * Ids of the runs whose process has ended: what `--keep` left, and what a killed run did. A run that does not say whose
 * it is counts as one that goes on.
 */
export const abandonedLabs = async (): Promise<string[]> => {
  const format = ['--format', `{{.Label "${LABEL}"}} {{.Label "${OWNER}"}}`, '--filter', `label=${LABEL}`];
  const lists = [await docker(['ps', '--all', ...format]), await docker(['network', 'ls', ...format])];
  const runs = lists.flatMap((text) => text.split('\n')).map((line) => line.split(' '));
  return [...new Set(runs.flatMap(([runId = '', owner = '']) => (isOwnerGone(owner) ? [runId] : [])))];
};

/** @returns the number of containers and networks removed */
export const removeAbandonedLabs = async (): Promise<number> => {
  let removed = 0;
  for (const runId of await abandonedLabs()) removed += await removeLab(runId);
  return removed;
};

const withEnv = (env: Readonly<Record<string, string>>): string[] =>
  Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]);

/**
 * Boots nodes (systemd, sshd, rpm) and gRPC backends on a network without a way out.
 * @throws LabError when one does not come up; what was started is removed first
 */
export const startLab = async (options: LabOptions): Promise<Lab> => {
  const repository = await labRepository();
  const nodeTag = await nodeImageFor(repository);
  const backendTag = await labBackendImage();
  const runId = randomBytes(4).toString('hex');
  try {
    return await timed(`start ${namesOf(options).join(', ')} (run ${runId})`, () =>
      boot(runId, options, nodeTag, backendTag),
    );
  } catch (error) {
    await removeLab(runId);
    throw error;
  }
};

const namesOf = ({ nodes, jumpHosts = [], backends = [], clients = [] }: LabOptions): string[] => [
  ...nodes,
  ...jumpHosts,
  ...backends,
  ...clients,
];

const byName = (machines: readonly Machine[]): Record<string, Machine> =>
  Object.fromEntries(machines.map((one) => [one.name, one]));

const boot = async (
  runId: string,
  options: LabOptions,
  nodeTag: string,
  backendTag: string,
): Promise<Lab> => {
  const network = `airbundle-lab-${runId}`;
  const subnet = await makeNetwork(network, runId);
  const machine = (name: string, last: number): Machine => ({
    name,
    address: `${subnet}.${last}`,
    container: `airbundle-lab-${runId}-${name}`,
  });
  const machines = (names: readonly string[] | undefined, first: number): Machine[] =>
    (names ?? []).map((name, index) => machine(name, first + index));
  const nodes = machines(options.nodes, FIRST_NODE);
  const jumpHosts = machines(options.jumpHosts, FIRST_JUMP_HOST);
  const backends = machines(options.backends, FIRST_BACKEND);
  const clients = machines(options.clients, FIRST_CLIENT);
  const servers = [...nodes, ...jumpHosts];
  const all = new Map([...servers, ...backends, ...clients].map((one) => [one.name, one]));
  const common = (one: Machine): string[] => [
    ...['run', '--detach', ...labels(runId), '--name', one.container],
    ...['--hostname', one.name, '--network', network, '--ip', one.address],
    ...(options.cpuShares === undefined ? [] : ['--cpu-shares', `${options.cpuShares}`]),
    ...[...all.values()].flatMap((other) => ['--add-host', `${other.name}:${other.address}`]),
  ];
  const containerOf = (name: string): string => {
    const found = all.get(name);
    if (found === undefined)
      throw new LabError(`no machine ${name} in run ${runId}`, `one of: ${[...all.keys()].join(', ')}`);
    return found.container;
  };

  const bootNode = async (one: Machine): Promise<void> => {
    await docker([...common(one), ...SYSTEMD_FLAGS, nodeTag]);
    await waitForSystemd(one.container);
  };

  await Promise.all([
    ...servers.map(bootNode),
    ...backends.map(async (one) => {
      const env = withEnv({ BACKEND: one.name, PORT: `${BACKEND_PORT}` });
      await docker([...common(one), '--init', ...env, backendTag]);
      await waitForBackend(one.container);
    }),
    ...clients.map((one) => docker([...common(one), '--init', backendTag, 'sleep', 'infinity'])),
  ]);

  return {
    runId,
    network,
    cidr: `${subnet}.0/24`,
    interfaceName: 'eth0',
    vip: `${subnet}.${VIP}`,
    nodes: byName(nodes),
    backends: byName(backends),
    clients: byName(clients),
    jumpHosts: byName(jumpHosts),
    backendPort: BACKEND_PORT,
    exec: (name, argv, given = {}) =>
      attempt(
        [
          ...['docker', 'exec', ...(given.input === undefined ? [] : ['--interactive'])],
          ...[...withEnv(given.env ?? {}), containerOf(name), ...argv],
        ],
        {
          timeoutMs: given.timeoutMs ?? 600_000,
          ...(given.input === undefined ? {} : { input: given.input }),
        },
      ),
    copyIn: async (name, hostPath, machinePath) => {
      await docker(['cp', hostPath, `${containerOf(name)}:${machinePath}`]);
    },
    copyOut: async (name, machinePath, hostPath) => {
      await docker(['cp', `${containerOf(name)}:${machinePath}`, hostPath]);
    },
    call: async (target, calls, given = {}) => {
      const out = await docker([
        ...['run', '--rm', ...labels(runId), '--network', network, backendTag],
        ...['/usr/local/bin/node', '/srv/client.cjs', target, String(calls)],
        ...[given.kind ?? 'unary', String(given.pauseMs ?? 0)],
      ]);
      return JSON.parse(out) as CallReport;
    },
    kill: async (name) => {
      await docker(['kill', '--signal', 'KILL', containerOf(name)]);
    },
    start: async (name) => {
      await docker(['start', containerOf(name)]);
      if (servers.some((one) => one.name === name)) await waitForSystemd(containerOf(name));
    },
    freeze: async (name) => {
      await switchPort(network, containerOf(name), 'dead');
      await docker(['pause', containerOf(name)]);
    },
    thaw: async (name) => {
      await switchPort(network, containerOf(name), 'live');
      await docker(['unpause', containerOf(name)]);
    },
    port: (name, state) => switchPort(network, containerOf(name), state),
    cable: async (name, plug) => {
      await inNetworkOf(containerOf(name), ['ip', 'link', 'set', 'eth0', plug === 'out' ? 'down' : 'up']);
    },
    pidOf: (name) => pidOf(containerOf(name)),
    renew: async (name) => {
      const node = nodes.find((one) => one.name === name);
      if (node === undefined) throw new LabError(`no node ${name} in run ${runId}`, 'only nodes are renewed');
      await docker(['rm', '-f', '-v', node.container]);
      await bootNode(node);
    },
    down: async () => {
      await removeLab(runId);
    },
  };
};
