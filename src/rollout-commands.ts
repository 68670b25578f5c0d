import { join } from 'node:path';
import type { Command } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions, reporterFor } from './commandline.js';
import type { FleetEntry, SiteNode, SshOptions } from './deploy-commands.js';
import {
  chosenNodes,
  collect,
  login,
  requireUsableIdentity,
  sshOptions,
  wholeNumber,
} from './deploy-commands.js';
import { describeError, EXIT, usageError } from './errors.js';
import type { NodeAgent, UploadResult } from './fleet/agent.js';
import { awayAgent } from './fleet/away.js';
import { realClock } from './fleet/clock.js';
import type { Cluster } from './fleet/cluster.js';
import { answers } from './fleet/connect-service.js';
import type { RolloutGiven } from './fleet/deploy-release.js';
import { deployRelease } from './fleet/deploy-release.js';
import { installArgv, runId } from './fleet/install-run.js';
import type { Consignment } from './fleet/local-bundle.js';
import { readConsignment, readSiteAlone, readVrrpSecret } from './fleet/local-bundle.js';
import { secretQuestion } from './fleet/look.js';
import { quoted } from './fleet/quote.js';
import type { RemoteNode } from './fleet/remote-node.js';
import type { RolloutReport } from './fleet/report-rollout.js';
import { renderReport, rolloutError } from './fleet/report-rollout.js';
import { rollBackAll } from './fleet/roll-back.js';
import { clusterSiteOf, serviceTargets } from './fleet/site-cluster.js';
import { readSiteStatus, renderSiteStatus } from './fleet/site-status.js';
import { watch } from './fleet/watch.js';
import type { Host } from './host/host.js';
import { planFlags } from './install/resume.js';
import type { BuildWay } from './model/packages.js';
import type { Site } from './model/site.js';
import { absolute, agreedTo, newRunId, stopOnSignals, wasInterrupted } from './node-command.js';
import { buildChoice, installAllowances } from './plan-commands.js';
import type { Reporter } from './report.js';
import { formatBytes, inStep, printable } from './report.js';

interface DeployOptions extends CommonOptions, SshOptions {
  readonly site: string;
  readonly key?: readonly string[];
  readonly fingerprint?: readonly string[];
  readonly parallel: number;
  readonly logDir: string;
  readonly check?: boolean;
  readonly rollback?: boolean;
  readonly to?: string;
  readonly watch: boolean;
  readonly yes?: boolean;
  readonly allowUpgrade?: boolean;
  readonly takeOver?: boolean;
  readonly build?: BuildWay;
  readonly keepBuildPackages?: boolean;
  readonly allowProtected: readonly string[];
  readonly allowConflict: readonly string[];
}

/** `deploy`: on the jump host and on the packager's machine. */
export function deployCommand(root: Command, entry: FleetEntry): void {
  const name = root.name();
  const command = sshOptions(
    commonOptions(root.command('deploy'))
      .description(
        'send a bundle to the nodes of a site over SSH; each installs it, so that the service goes on',
      )
      .argument('[folder]', 'the folder of the bundle, with its four files; none with --rollback')
      .requiredOption('--site <file>', 'the site file; the secrets that it names lie beside it')
      .option(
        '--key <file>',
        'the public key that signed it; without it, the keys that this machine trusts',
        collect,
      )
      .option(
        '--fingerprint <hex>',
        "the key's fingerprint, which came by another way than the medium (can be repeated)",
        collect,
      )
      .option('--check', 'send, verify and plan on every node, then stop before the first change')
      .option('--rollback', 'every node goes back to what all had before')
      .option('--to <digest>', 'with --rollback: to the release with this digest (8 or more digits)')
      .option('-y, --yes', 'do not ask; needed without a terminal')
      .option('--node <name>', 'only this node of the site (can be repeated)', collect),
  );
  installAllowances(command)
    .option('--parallel <number>', 'so many uploads and plans at once', wholeNumber, 4)
    .option('--no-watch', 'do not connect to the VIPs from here while nodes are changed')
    .option('--log-dir <folder>', "where each node's whole log is kept", 'airbundle-logs')
    .addHelpText(
      'after',
      [
        '',
        'Examples:',
        `  ${name} deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --check`,
        `  ${name} deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --key packager.pub.pem --fingerprint "1a2b 3c4d …"`,
        `  ${name} deploy tts-ha-1.0.1-el7.x86_64 --site site.yaml --user ops --host-key lb1=SHA256:…`,
        `  ${name} deploy --rollback --site site.yaml`,
        '',
        'Exit code 5: refused, no node was changed. 7: some nodes failed; the same command again goes on.',
      ].join('\n'),
    )
    .action((folder: string | undefined, options: DeployOptions) => runDeploy(folder, options, entry));
}

async function runDeploy(
  folder: string | undefined,
  options: DeployOptions,
  entry: FleetEntry,
): Promise<void> {
  requireOneWay(folder, options);
  const reporter = reporterFor(options, process.env);
  stopOnSignals('the node that is being changed is seen to its end, and no other is begun');
  try {
    const report =
      folder === undefined
        ? await rollBackSite(options, entry, reporter)
        : await deployTo(folder, options, entry, reporter);
    finish(report, options);
  } finally {
    reporter.close();
  }
}

function requireOneWay(folder: string | undefined, { rollback = false, to }: DeployOptions): void {
  if (rollback === (folder === undefined) && (rollback || to === undefined)) return;
  throw usageError({
    code: rollback ? 'FOLDER_AND_ROLLBACK' : 'NO_FOLDER',
    message: rollback
      ? 'a rollback takes no folder: the nodes have what they go back to'
      : to === undefined
        ? 'which bundle? deploy takes its folder'
        : '--to is for --rollback',
    hint: 'deploy FOLDER --site site.yaml, or: deploy --rollback --site site.yaml',
  });
}

async function deployTo(
  folder: string,
  options: DeployOptions,
  entry: FleetEntry,
  reporter: Reporter,
): Promise<RolloutReport> {
  const host = entry.host();
  const consignment = await readConsignment(host, {
    folder: absolute(folder),
    site: absolute(options.site),
    keys: (options.key ?? []).map(absolute),
    fingerprints: options.fingerprint ?? [],
    reporter,
  });
  return withNodes(
    { entry, options, logDir: options.logDir, consignment, site: consignment.site, reporter },
    async (cluster, nodes) => {
      const { contents, digest, key } = consignment;
      const flags = flagsOf(options);
      const argvOn = async (
        { name }: NodeAgent,
        verb: 'install' | 'plan',
        uploaded: Awaited<ReturnType<NodeAgent['upload']>>,
      ) =>
        installArgv({
          verb,
          node: name,
          uploaded,
          state: (await nodes.get(name)?.state()) ?? 'bare',
          key,
          flags,
        });
      return deployRelease({
        ...rolloutGiven(cluster, options),
        release: {
          title: `${contents.name} ${contents.version}`,
          goal: { digest, siteDigest: (await host.sha256(absolute(options.site))) ?? null },
        },
        parallel: options.parallel,
        upload: (agent) =>
          inStep(
            reporter,
            `upload ${agent.name}`,
            `${agent.name}: upload`,
            (step) =>
              agent.upload(({ doneBytes, totalBytes }) => {
                step.progress({ done: doneBytes, total: totalBytes, unit: 'bytes' });
              }),
            uploadInWords,
          ),
        planArgv: (agent, uploaded) => argvOn(agent, 'plan', uploaded),
        install: async (agent, uploaded, onLine) =>
          agent.follow(runId(consignment), await argvOn(agent, 'install', uploaded), onLine),
      });
    },
  );
}

async function rollBackSite(
  options: DeployOptions,
  entry: FleetEntry,
  reporter: Reporter,
): Promise<RolloutReport> {
  const site = await readSiteAlone(entry.host(), absolute(options.site));
  return withNodes(
    { entry, options, logDir: options.logDir, consignment: undefined, site, reporter },
    (cluster) => rollBackAll({ ...rolloutGiven(cluster, options), to: options.to }),
  );
}

function rolloutGiven(cluster: Cluster, options: DeployOptions): RolloutGiven {
  return {
    cluster,
    isCheck: options.check === true,
    confirm: (text) => agreedTo(text, { ...options, dryRun: options.check === true }),
    watch: options.watch
      ? () =>
          watch({
            targets: cluster.targets,
            answers: (target) => answers(target, WATCH_MS),
            now: () => performance.now(),
            every: (intervalMs, work) => {
              const timer = setInterval(work, intervalMs);
              return () => {
                clearInterval(timer);
              };
            },
          })
      : undefined,
  };
}

/** Of what is there already each byte was proved by its hash. */
function uploadInWords({ sentBytes, keptBytes }: UploadResult): string {
  if (sentBytes === 0) return 'was there already';
  const there = keptBytes === 0 ? '' : `, ${formatBytes(keptBytes)} were there already`;
  return `${formatBytes(sentBytes)} sent${there}`;
}

/** What the node's own installer takes besides, one word each. */
function flagsOf(options: DeployOptions): string[] {
  const { allowUpgrade, allowProtected, allowConflict, takeOver } = options;
  return planFlags({
    allow: {
      upgrade: allowUpgrade === true,
      protectedNames: allowProtected,
      conflicts: allowConflict,
      takeOver: takeOver === true,
    },
    build: buildChoice(options),
  }).flatMap((flag) => flag.split(' '));
}

function finish(report: RolloutReport, options: DeployOptions): void {
  const isJson = options.output === 'json';
  process.stdout.write(
    isJson
      ? `${JSON.stringify(report, null, 2)}\n`
      : renderReport(report).split('\n').map(printable).join('\n'),
  );
  if (report.outcome === 'declined') process.exitCode = EXIT.refused;
  if (report.outcome === 'stopped') process.exitCode = EXIT.someNodesFailed;
  if (report.outcome !== 'failed') return;
  throw rolloutError(report, nextCommands(process.argv.slice(2), options));
}

/** After a rollout that stopped; each can be pasted into a shell. @param argv what was typed, without the program */
export function nextCommands(
  argv: readonly string[],
  options: SshOptions & Pick<DeployOptions, 'site' | 'rollback'>,
): { readonly goOn: string; readonly goBack: string } {
  const goOn = quoted(['airbundle', ...argv]);
  const back = ['airbundle', 'deploy', '--rollback', '--site', options.site, ...connectionFlags(options)];
  return { goOn, goBack: options.rollback === true ? goOn : quoted(back) };
}

/** The same way to the nodes; not which of them. */
function connectionFlags({ user, port, identity, sshConfig, hostKey = new Map() }: SshOptions): string[] {
  const one = (flag: string, value: string | undefined): string[] =>
    value === undefined ? [] : [flag, value];
  return [
    ...one('--user', user),
    ...one('--port', port === undefined ? undefined : String(port)),
    ...one('--identity', identity),
    ...one('--ssh-config', sshConfig),
    ...[...hostKey].flatMap(([node, fingerprint]) => ['--host-key', `${node}=${fingerprint}`]),
  ];
}

interface NodesGiven {
  readonly entry: FleetEntry;
  readonly options: SshOptions & { readonly site: string };
  /** Where each node's log is kept; undefined: nothing is run that has one. */
  readonly logDir?: string;
  readonly consignment: Consignment | undefined;
  readonly site: Site;
  readonly reporter: Reporter;
  /** A node that cannot be logged in to is seen as such, and does not end it. */
  readonly isOnlyLook?: boolean;
}

/** Logs in to every node of the site, and out again. */
async function withNodes<T>(
  given: NodesGiven,
  work: (cluster: Cluster, nodes: ReadonlyMap<string, RemoteNode>) => Promise<T>,
): Promise<T> {
  const { entry, site, reporter, options } = given;
  const chosen = new Set(chosenNodes(site.nodes, options).map(({ name }) => name));
  const nodes = new Map<string, RemoteNode>();
  await requireUsableIdentity(site.nodes[0], entry, options);
  try {
    const agents: NodeAgent[] = [];
    for (const node of site.nodes) {
      const agent = await loginOr(node, given, chosen.has(node.name) && given.isOnlyLook !== true);
      agents.push(agent);
      if ('state' in agent) nodes.set(node.name, agent);
    }
    const cluster: Cluster = {
      ...{ site: clusterSiteOf(site), targets: serviceTargets(site), agents, chosen, reporter },
      question: secretQuestion(await secretOf(entry.host(), given)),
      reach: (target) => answers(target, REACH_MS),
      clock: realClock,
      interrupted: wasInterrupted,
    };
    return await work(cluster, nodes);
  } finally {
    await Promise.all([...nodes.values()].map((node) => node.close()));
  }
}

/** @param isNeeded without it nothing can be done: its error is the end */
async function loginOr(
  node: SiteNode,
  { entry, options, logDir, consignment, reporter }: NodesGiven,
  isNeeded: boolean,
): Promise<RemoteNode | NodeAgent> {
  reporter.info(`log in to ${node.name}`);
  const log = logDir === undefined ? undefined : join(absolute(logDir), RUN, `${node.name}.log`);
  try {
    return await login(node, { ...entry, options, consignment, log, reporter });
  } catch (error) {
    if (isNeeded) throw error;
    for (const line of describeError(error)) reporter.warn(`${node.name}: ${line}`);
    return awayAgent(node.name, error);
  }
}

const RUN = newRunId();
const REACH_MS = 1500;
const WATCH_MS = 1500;

/** Without it nothing is compared; what is sent to the nodes was read before, and has to be there. */
async function secretOf(host: Host, { site, options, reporter }: NodesGiven): Promise<string | undefined> {
  try {
    return await readVrrpSecret(host, absolute(options.site), site);
  } catch (error) {
    for (const line of describeError(error)) reporter.warn(line);
    reporter.warn('the VRRP secrets of the nodes are not compared with it');
    return undefined;
  }
}

interface SiteStatusOptions extends CommonOptions, SshOptions {
  readonly site: string;
}

/** `status --site FILE`: all nodes of a site side by side. */
export function siteStatusCommand(root: Command, entry: FleetEntry): void {
  const name = root.name();
  sshOptions(
    commonOptions(root.command('status'))
      .description(
        'all nodes of a site side by side: releases, services, who holds each VIP, and what is wrong',
      )
      .requiredOption('--site <file>', 'the site file; with the VRRP secret beside it, that is compared too'),
  )
    .addHelpText(
      'after',
      `\nExit code 0 also when something is wrong: it is listed. 7: a node could not be asked.\n\nExample:\n  ${name} status --site site.yaml -o json`,
    )
    .action((options: SiteStatusOptions) => runSiteStatus(options, entry));
}

async function runSiteStatus(options: SiteStatusOptions, entry: FleetEntry): Promise<void> {
  const reporter = reporterFor(options, process.env);
  try {
    const site = await readSiteAlone(entry.host(), absolute(options.site));
    const status = await withNodes(
      { entry, options, consignment: undefined, site, reporter, isOnlyLook: true },
      (cluster) => readSiteStatus(cluster),
    );
    process.stdout.write(
      options.output === 'json'
        ? `${JSON.stringify(status, null, 2)}\n`
        : renderSiteStatus(status).split('\n').map(printable).join('\n'),
    );
    if (status.nodes.some(({ reach }) => reach !== 'answered')) process.exitCode = EXIT.someNodesFailed;
  } finally {
    reporter.close();
  }
}
