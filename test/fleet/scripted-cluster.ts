import { BundleError, EXIT } from '../../src/errors.js';
import type { FollowedRun, NodeAgent } from '../../src/fleet/agent.js';
import type { Cluster } from '../../src/fleet/cluster.js';
import type { Clock } from '../../src/fleet/clock.js';
import type { DeployGiven } from '../../src/fleet/deploy-release.js';
import type { RunResult } from '../../src/host/process.js';
import type { NodeStatus } from '../../src/model/node-status.js';
import { createReporter } from '../../src/report.js';
import { someInstance, someSite, someStatus, VIP } from './views.js';

/*
 * A stand-in: nodes that keep their state in memory and answer the few commands that a rollout gives, with a VRRP
 * election of a few lines. What it shows is the order and the decisions of a rollout; that real nodes behave so is
 * shown in test/e2e/rollout.test.ts.
 */

export interface Installed {
  readonly version: string;
  readonly sequence: number;
  readonly digest: string;
  readonly siteDigest: string;
}

const SITE = 'e'.repeat(64);
export const V1: Installed = { version: '1.0.0', sequence: 1, digest: '1'.repeat(64), siteDigest: SITE };
export const V2: Installed = { version: '1.1.0', sequence: 2, digest: '2'.repeat(64), siteDigest: SITE };

export interface ScriptedNode {
  readonly name: string;
  readonly address: string;
  readonly priority: number;
  history: Installed[];
  keepalived: string;
  haproxy: string;
  backend: string;
  unfinished: NodeStatus['unfinished'];
  isAway: boolean;
  /** Holds the VIP whenever keepalived runs, whoever else does. */
  isDeaf: boolean;
  preempt: boolean;
  virtualRouterId: number;
}

/** What a test breaks: called before each thing that happens. */
export type Mischief = (
  event: Event,
  node: ScriptedNode,
  all: Scripted,
) => Partial<RunResult> | FollowedRun | undefined;
type Event =
  'look' | 'status' | 'upload' | 'plan' | 'stop' | 'start' | 'install' | 'installed' | 'rollback' | 'dry-run';

export interface Scripted {
  readonly nodes: readonly ScriptedNode[];
  readonly cluster: Cluster;
  /** What happened, in order: "install lb2". */
  readonly events: string[];
  /** Who has the VIP now. */
  holders(): string[];
  /** The most nodes that had the VIP at once, and the least. */
  readonly seen: { most: number; least: number };
  /** The warnings that were printed. */
  readonly warnings: string[];
  given(more?: Partial<DeployGiven>): DeployGiven;
  node(name: string): ScriptedNode;
}

export interface ScriptedGiven {
  readonly count?: number;
  readonly installed?: readonly Installed[];
  readonly mischief?: Mischief;
  /** What the nodes' plans say of haproxy; default: restart. */
  readonly haproxyIs?: 'restarted' | 'reloaded';
}

const DONE: RunResult = {
  ...{ exitCode: 0, signal: undefined, stdout: '', stderr: '' },
  ...{ startError: undefined, timedOut: false },
};

export function scripted({
  count = 2,
  installed = [V1],
  mischief = () => undefined,
  haproxyIs = 'restarted',
}: ScriptedGiven = {}): Scripted {
  const site = someSite(count);
  const action = haproxyIs === 'restarted' ? 'restart' : 'reload';
  const nodes = site.nodes.map((node): ScriptedNode => ({
    ...node,
    history: [...installed],
    keepalived: installed.length > 0 ? 'active' : 'inactive',
    haproxy: 'active',
    backend: 'UP',
    unfinished: null,
    isAway: false,
    isDeaf: false,
    preempt: false,
    virtualRouterId: 51,
  }));
  const events: string[] = [];
  const warnings: string[] = [];
  const seen = { most: 0, least: 99 };
  let master: string | undefined;
  const elect = (): void => {
    const fit = nodes.filter(
      ({ keepalived, haproxy, isAway }) => keepalived === 'active' && haproxy === 'active' && !isAway,
    );
    const preempting = fit.filter(({ preempt }) => preempt);
    const best = [...fit].sort((one, other) => other.priority - one.priority)[0];
    if (!fit.some(({ name }) => name === master) || preempting.includes(best as ScriptedNode))
      master = best?.name;
    const now = holders().length;
    seen.most = Math.max(seen.most, now);
    seen.least = Math.min(seen.least, now);
  };
  const holders = (): string[] =>
    nodes
      .filter(({ name, isDeaf, keepalived }) => name === master || (isDeaf && keepalived === 'active'))
      .map(({ name }) => name);
  elect();
  if (installed.length > 0) {
    seen.most = 1;
    seen.least = 1;
  }

  let ms = 0;
  const clock: Clock = {
    now: () => ms,
    wallMs: () => 1_000_000 + ms,
    sleep: async (forMs) => {
      ms += forMs;
    },
  };

  const scriptedNow: Scripted = {
    nodes,
    events,
    holders,
    seen,
    warnings,
    node: (name) => nodes.find((node) => node.name === name)!,
    cluster: {
      site,
      targets: [{ service: 'tts', vip: 'tts', address: VIP, port: 50051, protocol: 'grpc', tls: false }],
      agents: nodes.map((node) => agentOf(node)),
      chosen: new Set(nodes.map(({ name }) => name)),
      question: undefined,
      reach: async () =>
        nodes.some(
          ({ name, isAway, haproxy }) => holders().includes(name) && !isAway && haproxy === 'active',
        ),
      clock,
      reporter: createReporter({
        format: 'text',
        quiet: true,
        color: false,
        stream: { write: (text: string) => warnings.push(text.trimEnd()) },
        now: () => 0,
      }),
      interrupted: () => false,
    },
    given: (more = {}) => ({
      cluster: scriptedNow.cluster,
      isCheck: false,
      confirm: async () => true,
      watch: undefined,
      release: { title: 'tts-ha 1.1.0', goal: { digest: V2.digest, siteDigest: V2.siteDigest } },
      parallel: 4,
      upload: (agent) => agent.upload(() => undefined),
      planArgv: async () => ['plan'],
      install: (agent, _uploaded, onLine) => agent.follow('install-2', ['install'], onLine),
      ...more,
    }),
  };

  function happens(event: Event, node: ScriptedNode): Partial<RunResult> | FollowedRun | undefined {
    if (event !== 'look') events.push(`${event} ${node.name}`);
    const answer = mischief(event, node, scriptedNow);
    elect();
    if (node.isAway)
      throw new BundleError({ code: 'UNREACHABLE', message: 'connection refused', exit: EXIT.refused });
    return answer;
  }

  function statusOf(node: ScriptedNode): NodeStatus | undefined {
    const [now, before] = node.history;
    if (now === undefined) return undefined;
    const { name } = node;
    return someStatus(name, {
      bundle: {
        ...{ name: 'tts-ha', version: now.version, sequence: now.sequence, digest: now.digest },
        ...{ keyId: 'a'.repeat(16), committedAt: `2026-11-22T1${String(now.sequence)}:00:00.000Z` },
      },
      siteDigest: now.siteDigest,
      previous: before === undefined ? null : { ...before, name: 'tts-ha' },
      unfinished: node.unfinished,
      keepalived: node.keepalived,
      haproxy: node.haproxy,
      instance: {
        ...someInstance(name),
        priority: node.priority,
        preempt: node.preempt,
        virtualRouterId: node.virtualRouterId,
        peers: nodes.filter((other) => other.name !== name).map(({ address }) => address),
      },
      backends: [{ proxy: 'tts', server: 'tts1', status: node.backend, check: 'L7OK' }],
    });
  }

  function agentOf(node: ScriptedNode): NodeAgent {
    const become = (history: Installed[]): void => {
      node.history = history;
      node.keepalived = history.length > 0 ? 'active' : 'inactive';
      elect();
    };
    return {
      name: node.name,
      run: async (argv, options) => answerTo(node, argv.join(' '), options?.input),
      upload: async () => {
        happens('upload', node);
        return {
          folder: '/bundle',
          site: '/bundle/site.yaml',
          key: '/bundle/key.pem',
          sentBytes: 1,
          keptBytes: 0,
        };
      },
      follow: async (_id, argv) => {
        const isBack = argv.includes('rollback');
        const answer = happens(isBack ? 'rollback' : 'install', node) as FollowedRun | undefined;
        if (answer !== undefined) return answer;
        const history = isBack ? afterRollback(node, argv) : afterInstall(node);
        node.unfinished = null;
        become(history);
        mischief('installed', node, scriptedNow);
        elect();
        return { exitCode: 0, log: 'done', wasRunning: false };
      },
      close: async () => undefined,
    };
  }

  function answerTo(node: ScriptedNode, command: string, _input: unknown): RunResult {
    const said = (stdout: unknown): RunResult => ({
      ...DONE,
      stdout: typeof stdout === 'string' ? stdout : JSON.stringify(stdout),
    });
    const broken = (answer: ReturnType<Mischief>): RunResult | undefined =>
      answer === undefined ? undefined : { ...DONE, ...answer };
    if (command === 'plan') {
      const steps = node.history[0]?.digest === V2.digest ? [] : [{ id: 'services', title: 'services' }];
      return (
        broken(happens('plan', node)) ??
        said({
          bundle: { name: 'tts-ha', version: V2.version, sequence: V2.sequence, digest: V2.digest },
          siteDigest: V2.siteDigest,
          system: { name: 'CentOS Linux 7 (Core)', release: '7.5.1804', arch: 'x86_64' },
          steps,
          services: [{ unit: 'haproxy.service', action: steps.length === 0 ? 'none' : action }],
          cost: { freeBytes: 1e9, seconds: 60 },
          notes: [],
          refusals: [],
        })
      );
    }
    if (command.startsWith('systemctl ')) {
      const verb = command.includes(' stop ') ? 'stop' : 'start';
      const answer = broken(happens(verb, node));
      if (answer !== undefined) return answer;
      node.keepalived = verb === 'stop' ? 'inactive' : 'active';
      elect();
      return DONE;
    }
    if (command.includes('--dry-run')) {
      const services = { stop: [], disable: [], enable: [], act: [{ unit: 'haproxy.service', action }] };
      const plan = { services, packages: { erase: [], kept: [], putBack: [], oneWay: [] } };
      return broken(happens('dry-run', node)) ?? said({ outcome: 'planned', plan });
    }
    happens('look', node);
    if (command.startsWith('ip ')) {
      const addresses = [node.address, ...(holders().includes(node.name) ? [VIP] : [])];
      return said(
        addresses.map((one, at) => `${String(at + 2)}: eth0    inet ${one}/24 scope global eth0`).join('\n'),
      );
    }
    if (command.startsWith('date ')) return said(`${String(clock.wallMs())}\n`);
    const status = statusOf(node);
    if (command.startsWith('test ')) return { ...DONE, exitCode: status === undefined ? 1 : 0 };
    if (command.includes(' status ')) return broken(mischief('status', node, scriptedNow)) ?? said(status);
    throw new Error(`the scripted node does not know: ${command}`);
  }

  return scriptedNow;
}

const afterInstall = ({ history }: ScriptedNode): Installed[] => [
  V2,
  ...history.filter(({ digest }) => digest !== V2.digest),
];

/** As src/install/rollback.ts chooses: a run that was not finished, and with --to every run after that digest. */
function afterRollback({ history, unfinished }: ScriptedNode, argv: readonly string[]): Installed[] {
  const to = argv.includes('--to') ? argv[argv.indexOf('--to') + 1] : undefined;
  if (to !== undefined) return history.slice(history.findIndex(({ digest }) => digest === to));
  return unfinished === null ? history.slice(1) : history;
}

/** The events that change something. */
export const changes = ({ events }: Scripted): string[] =>
  events.filter((event) => /^(?:stop|start|install|rollback) /.test(event));
