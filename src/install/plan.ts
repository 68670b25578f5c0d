import { createHash } from 'node:crypto';
import { describeOpening } from '../configure/index.js';
import type {
  Configuration,
  ConfiguredDirectory,
  ConfiguredFile,
  ManagedService,
  Refresh,
  SystemUser,
} from '../configure/types.js';
import type { BundledComponent, BundledRpm, Contents } from '../model/contents.js';
import { member, target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { BuildWay } from '../model/packages.js';
import { namesForBuildOnly, namesForRun } from '../model/packages.js';
import type { ChosenWay } from './needed-packages.js';
import { chooseWay, eraseCandidates, neededPackages } from './needed-packages.js';
import { BUILD_UIDS } from './build-uids.js';
import { isEdited } from './edited.js';
import { droppedBy, droppedNotes } from './dropped.js';
import { folderNotes } from './folders.js';
import { nodeRefusals } from './node-refusals.js';
import { isDigestOf } from './guarded-digest.js';
import { detailsOf } from './plan-details.js';
import type { PlanDetails, PlanDocument } from './plan-schema.js';
import type { Facts } from './probe.js';
import type { Unsettled } from './unsettled.js';
import type { Receipt } from './receipt.js';
import { recipeOf } from './receipt.js';
import type { RpmAllowances, RpmPlan } from './rpm-plan.js';
import { planRpms, staying } from './rpm-plan.js';
import type { PackagedFile } from './unpacked.js';

interface EveryStep {
  readonly id: string;
  readonly title: string;
  /** What will be different afterwards, one line each. */
  readonly changes: readonly string[];
  /** How it is undone, in words. */
  readonly undo: string;
}

export interface BuildJob {
  readonly component: BundledComponent;
  /** The unprivileged numeric user (no account, no groups) that the build runs as. */
  readonly uid: number;
}

export type PlanStep = EveryStep &
  (
    | { readonly kind: 'trust' }
    | { readonly kind: 'command'; readonly alias: boolean }
    | {
        readonly kind: 'rpms';
        readonly missing: readonly BundledRpm[];
        readonly upgrade: readonly BundledRpm[];
        /** Installed packages that are none of this step's business: all of them are there afterwards. */
        readonly stays: readonly Nevra[];
        /** What the RPMs unpack, once rpm has read their headers. */
        readonly files?: readonly PackagedFile[];
      }
    | { readonly kind: 'root'; readonly rpms: readonly BundledRpm[] }
    | { readonly kind: 'build'; readonly jobs: readonly BuildJob[]; readonly way: BuildWay }
    | { readonly kind: 'files'; readonly components: readonly string[] }
    | { readonly kind: 'users'; readonly users: readonly SystemUser[] }
    | {
        readonly kind: 'configuration';
        readonly directories: readonly ConfiguredDirectory[];
        readonly files: readonly ConfiguredFile[];
        readonly refreshes: readonly Refresh[];
      }
    | { readonly kind: 'services'; readonly actions: readonly ServiceAction[] }
    /** After the commit; NEVRAs. */
    | { readonly kind: 'erase'; readonly packages: readonly string[] }
  );

export interface ServiceAction {
  readonly service: ManagedService;
  readonly enable: boolean;
  readonly action: 'start' | 'restart' | 'reload' | 'none';
}

export interface Plan {
  readonly bundle: {
    readonly name: string;
    readonly version: string;
    readonly sequence: number;
    readonly digest: string;
  };
  readonly node: string | null;
  readonly siteDigest: string | null;
  readonly rpms: RpmPlan;
  /** Where it builds, and whether the manifest or the flag says so; null when nothing is built. */
  readonly build: ChosenWay | null;
  /** RPMs of the bundle that do not go into the node. */
  readonly leftOut: readonly BundledRpm[];
  readonly steps: readonly PlanStep[];
  /** Every single thing, for the document. */
  readonly details: PlanDetails;
  /** What else the document says of how the plan came to be. */
  readonly basis: Pick<PlanDocument, 'signature' | 'system' | 'allow' | 'newKey'>;
  /** Whether rpm itself has tried the set against the node's database. */
  readonly rpmTest: PlanDocument['rpmTest'];
  /** Worth knowing, nothing to stop for. */
  readonly notes: readonly string[];
  /** Why nothing may go on; empty when it may. */
  readonly refusals: readonly string[];
}

/** What a plan looks at of unfinished runs (unsettled.ts). */
export interface Unfinished extends Pick<Unsettled, 'packages'> {
  readonly begun: object | undefined;
  readonly displaced: readonly { readonly path: string }[];
}

export interface PlanRequest {
  readonly contents: Contents;
  readonly digest: string;
  readonly node: string | null;
  readonly siteDigest: string | null;
  readonly configuration: Configuration;
  readonly facts: Facts;
  readonly receipt: Receipt | undefined;
  /** What killed runs left behind: their packages and files are worked on again, current or not. */
  readonly unsettled: Unfinished;
  /** The key that signed is not in the trust store yet: its id and fingerprint. */
  readonly newKey: { readonly keyId: string; readonly fingerprint: string } | undefined;
  readonly allow: RpmAllowances & { readonly takeOver: boolean; readonly conflicts?: readonly string[] };
  /** Texts of the site's secrets: lines that hold them are not shown. */
  readonly secrets?: readonly string[];
  /** Made from an inventory without proof of who made the bundle. */
  readonly unsigned?: boolean;
  readonly build: BuildChoice;
  /** Paths of the RPMs that the node lacks to run the programs, as rpm says; undefined: rpm was not asked. */
  readonly runPackages: ReadonlySet<string> | undefined;
  /** NEVRAs that runs since the last committed one added. */
  readonly addedBefore: readonly string[];
}

/** What the operator says about building. */
export interface BuildChoice {
  /** --build; undefined: as the manifest says. */
  readonly way: BuildWay | undefined;
  /** --keep-build-packages */
  readonly keepPackages: boolean;
}

/** Contents + site + facts → steps. Pure: the same input gives the same plan. */
export function makePlan(request: PlanRequest): Plan {
  const { contents, facts, configuration, receipt } = request;
  const stale = contents.components.filter((component) => isStale(component, facts, receipt));
  const chosen = chooseWay(contents, request.build.way);
  const build = stale.length === 0 ? null : chosen;
  const { wanted, leftOut } = neededPackages({
    contents,
    way: chosen.way,
    builds: build !== null,
    runPackages: request.runPackages,
    receipt,
    unfinished: request.unsettled.packages,
  });
  const rpms = planRpms(wanted, facts.installed, request.allow, request.unsettled.packages);
  const isolated = build?.way === 'isolated';
  const rpm = rpmStep(rpms, leftOut.length, facts.installed);
  const buildSteps = [isolated ? rootStep(contents.rpms) : undefined, buildStep(stale, facts, build)];
  const steps = [
    trustStep(request),
    commandStep(request),
    // Nothing has to be on the node before an isolated build is done.
    ...(isolated ? [...buildSteps, rpm] : [rpm]),
    usersStep(configuration, facts),
    ...(isolated ? [] : buildSteps),
    filesStep(stale),
    configurationStep(request),
  ].filter((step): step is PlanStep => step !== undefined);
  const actions = serviceActions(
    configuration,
    facts,
    stale.map((component) => component.name),
    steps,
  );
  const services = servicesStep(actions);
  const all = [...steps, services, eraseStep(request, rpms, build)].filter(
    (step): step is PlanStep => step !== undefined,
  );
  return {
    bundle: {
      name: contents.name,
      version: contents.version,
      sequence: contents.sequence,
      digest: request.digest,
    },
    node: request.node,
    siteDigest: request.siteDigest,
    rpms,
    build,
    leftOut,
    steps: all,
    details: detailsFor(request, rpms, leftOut, all, actions),
    basis: basisOf(request),
    rpmTest: all.some((step) => step.kind === 'rpms') ? 'not tried' : 'not needed',
    notes: [...isolationNotes(contents, isolated), ...notesOf(request, rpms)],
    refusals: [
      ...uidRefusals(steps),
      ...nodeRefusals({
        contents,
        facts,
        configuration,
        builds: build?.way,
        takeOver: request.allow.takeOver,
      }),
      ...rpms.refusals,
    ],
  };
}

function detailsFor(
  request: PlanRequest,
  rpms: RpmPlan,
  leftOut: readonly BundledRpm[],
  steps: readonly PlanStep[],
  actions: readonly ServiceAction[],
): PlanDetails {
  const { contents, configuration, facts, newKey, receipt } = request;
  return detailsOf({
    contents,
    configuration,
    facts,
    newKey,
    rpms,
    leftOut,
    erased: new Set(steps.flatMap((step) => (step.kind === 'erase' ? step.packages : []))),
    isolated: steps.some((step) => step.kind === 'root'),
    secrets: request.secrets ?? [],
    unfinished: request.unsettled.packages,
    commandScript: commandScript(),
    builds: steps.flatMap((step) => (step.kind === 'build' ? step.jobs : [])),
    written: new Set(
      steps.flatMap((step) => (step.kind === 'configuration' ? step.files.map((file) => file.path) : [])),
    ),
    actions,
    undo: new Map(steps.map((step) => [step.id, step.undo])),
    stages: receipt?.digest !== request.digest || needsPayload({ steps }),
  });
}

function basisOf({ facts, allow, newKey, unsigned }: PlanRequest): Plan['basis'] {
  return {
    signature: unsigned === true ? 'not checked' : 'verified',
    system: { name: facts.os.name, release: facts.os.release, arch: facts.arch, selinux: facts.selinux },
    allow: {
      upgrade: allow.upgrade,
      protected: [...new Set(allow.protectedNames)].sort(),
      conflicts: [...new Set(allow.conflicts ?? [])].sort(),
      takeOver: allow.takeOver,
    },
    newKey: newKey === undefined ? null : { keyId: newKey.keyId, fingerprint: newKey.fingerprint },
  };
}

/** Whether the steps need bytes from the payload: RPMs, sources, or the program itself. */
export function needsPayload(plan: Pick<Plan, 'steps'>): boolean {
  const kinds: readonly PlanStep['kind'][] = ['rpms', 'root', 'build', 'command'];
  return plan.steps.some((step) => kinds.includes(step.kind));
}

function trustStep({ newKey }: PlanRequest): PlanStep | undefined {
  if (newKey === undefined) return undefined;
  return {
    kind: 'trust',
    id: 'trust',
    title: 'trust the key that signed this bundle',
    changes: [`${target.trust}/${newKey.keyId}.pem  fingerprint ${newKey.fingerprint}`],
    undo: 'the key is removed again',
  };
}

function commandStep({ contents, facts }: PlanRequest): PlanStep | undefined {
  const wanted: [string, string][] = [
    [target.runtime, member.runtime],
    [target.installer, member.installer],
    [target.deploy, member.deploy],
  ];
  const digestOf = (path: string): string | undefined =>
    contents.members.find((entry) => entry.path === path)?.sha256;
  const wrapper = createHash('sha256').update(commandScript()).digest('hex');
  const changes = wanted
    .filter(([, from]) => digestOf(from) !== undefined)
    .filter(([path, from]) => facts.files.get(path)?.sha256 !== digestOf(from))
    .map(([path]) => path);
  if (facts.files.get(target.command)?.sha256 !== wrapper) changes.push(target.command);
  const aliasIsOurs = facts.links.get(target.commandAlias) === target.command;
  const aliasIsFree = !facts.files.has(target.commandAlias) && !facts.links.has(target.commandAlias);
  if (!aliasIsOurs && aliasIsFree) changes.push(`${target.commandAlias} → ${target.command}`);
  if (changes.length === 0) return undefined;
  return {
    kind: 'command',
    id: 'command',
    title: 'keep the command on the node',
    changes,
    undo: 'what was there before is put back',
    alias: aliasIsOurs || aliasIsFree,
  };
}

/**
 * /usr/sbin/airbundle: nothing of the caller's environment reaches the program. What logs in to other machines is
 * told the ssh agent's socket.
 */
export function commandScript(): string {
  const clean = 'env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TERM="${TERM:-dumb}"';
  return [
    '#!/bin/sh',
    '# airbundle: written by its installer. The environment is not passed on.',
    'case " $* " in',
    "  ' deploy '* | ' export '* | ' plan '*'--inventory'* | ' status '*'--site'*)",
    `    [ ! -e ${target.deploy} ] ||`,
    `      exec ${clean} SSH_AUTH_SOCK="\${SSH_AUTH_SOCK-}" ${target.runtime} ${target.deploy} "$@"`,
    '    ;;',
    'esac',
    `exec ${clean} HOME=/nonexistent ${target.runtime} ${target.installer} "$@"`,
    '',
  ].join('\n');
}

function rpmStep(rpms: RpmPlan, leftOut: number, installed: readonly Nevra[]): PlanStep | undefined {
  const upgrade = rpms.older.map(({ rpm }) => rpm);
  if (rpms.missing.length === 0 && upgrade.length === 0) return undefined;
  return {
    kind: 'rpms',
    id: 'rpms',
    title: `install ${String(rpms.missing.length + upgrade.length)} RPMs (${String(rpms.same.length)} are there already, ${String(rpms.newer.length)} are newer here and stay${leftOut === 0 ? '' : `, ${String(leftOut)} are not needed on the node`})`,
    changes: [
      ...rpms.missing.map((rpm) => `+ ${formatNevra(rpm.nevra)}`),
      ...rpms.older.map(({ rpm, installed }) => `^ ${formatNevra(installed)} → ${formatNevra(rpm.nevra)}`),
    ],
    undo: 'the packages stay when a later step fails; `airbundle rollback` erases what was added',
    missing: rpms.missing,
    upgrade,
    stays: staying(installed, upgrade),
  };
}

function usersStep(configuration: Configuration, facts: Facts): PlanStep | undefined {
  const users = configuration.users.filter((user) => !facts.users.has(user.name));
  if (users.length === 0) return undefined;
  return {
    kind: 'users',
    id: 'users',
    title: 'make the service accounts',
    changes: users.map((user) => `account ${user.name}  home ${user.home}  shell ${user.shell}`),
    undo: 'the accounts stay when a later step fails; `airbundle rollback` removes those that own nothing',
    users,
  };
}

function rootStep(rpms: readonly BundledRpm[]): PlanStep {
  return {
    kind: 'root',
    id: 'root',
    title: `fill a root for the build with ${String(rpms.length)} RPMs, apart from the node`,
    changes: [
      `+ ${target.buildRoot}/  for the time of this run`,
      ...rpms.map((rpm) => `+ ${target.buildRoot}: ${formatNevra(rpm.nevra)}`),
    ],
    undo: 'the root is removed, also when all goes well',
    rpms,
  };
}

/** Runs after the commit: what goes is only certain then. */
function eraseStep(request: PlanRequest, rpms: RpmPlan, build: ChosenWay | null): PlanStep | undefined {
  const onHost = build?.way === 'host';
  const keep = request.build.keepPackages;
  const pending = request.receipt?.rpms.pending ?? [];
  const packages = eraseCandidates({
    contents: request.contents,
    keep,
    missing: onHost ? rpms.missing : [],
    needed: request.contents.rpms.filter(({ path }) => request.runPackages?.has(path) === true),
    addedBefore: request.addedBefore,
    pending,
    installed: request.facts.installed,
  });
  // What a killed run was to erase, and now is to be kept: the receipt has to say so.
  if (keep && pending.length > 0)
    return {
      kind: 'erase',
      id: 'erase',
      title: `keep the RPMs of the build that are still here; an earlier run was to erase ${String(pending.length)}`,
      changes: packages.map((nevra) => `- ${nevra}  erased already`),
      undo: 'not undone',
      packages,
    };
  if (packages.length === 0) return undefined;
  return {
    kind: 'erase',
    id: 'erase',
    title: `erase up to ${String(packages.length)} RPMs that this program added and only the build needs`,
    changes: packages.map((nevra) => `- ${nevra}  unless something that stays needs it`),
    undo: 'not undone: a later build installs them again (--keep-build-packages keeps them)',
    packages,
  };
}

function buildStep(
  stale: readonly BundledComponent[],
  facts: Facts,
  chosen: ChosenWay | null,
): PlanStep | undefined {
  if (chosen === null) return undefined;
  const taken = new Set(
    [...facts.users.values()].flatMap(({ uid, gid }) => [uid, gid]).concat([...facts.groups.values()]),
  );
  const free: number[] = [];
  for (let uid: number = BUILD_UIDS.first; uid <= BUILD_UIDS.last && free.length < stale.length; uid += 1)
    if (!taken.has(uid)) free.push(uid);
  const jobs = stale.map((component, index) => ({ component, uid: free[index] ?? -1 }));
  return {
    kind: 'build',
    id: 'build',
    title: `build ${stale.map((component) => `${component.name} ${component.version}`).join(' and ')}${stale.length > 1 ? ', side by side' : ''}, ${WAYS[chosen.way]} (${chosen.because === 'flag' ? '--build says so' : 'the manifest says so'})`,
    changes: jobs.map(
      ({ component, uid }) =>
        `${chosen.way === 'isolated' ? target.buildRoot : ''}${target.build}/${component.name}  from commit ${component.source.commit.slice(0, 12)}, as uid ${String(uid)} (no account), log ${target.log}/build-${component.name}.log`,
    ),
    undo: 'the build folders are removed',
    jobs,
    way: chosen.way,
  };
}

const WAYS: Readonly<Record<BuildWay, string>> = {
  host: "with the node's own packages",
  isolated: 'in a root of its own',
};

/** Each of a hundred numbers is somebody's: nobody has seen that, but root must not build in its place. */
function uidRefusals(steps: readonly PlanStep[]): string[] {
  const lacking = steps.some((step) => step.kind === 'build' && step.jobs.some((job) => job.uid < 0));
  return lacking
    ? [`no free user id from ${String(BUILD_UIDS.first)} to ${String(BUILD_UIDS.last)} is left for the build`]
    : [];
}

function filesStep(stale: readonly BundledComponent[]): PlanStep | undefined {
  if (stale.length === 0) return undefined;
  return {
    kind: 'files',
    id: 'files',
    title: 'put what was built in place',
    changes: stale.flatMap((component) => [
      ...component.files,
      ...component.links.map((link) => `${link.path} → ${link.to}`),
    ]),
    undo: 'displaced files are put back, new ones are removed',
    components: stale.map((component) => component.name),
  };
}

/**
 * A file that a killed run has swapped in looks current, but nothing says that the services and the
 * system have taken note of it: it is written again, and they follow.
 */
function configurationStep({ configuration, facts, unsettled }: PlanRequest): PlanStep | undefined {
  const touched = new Set(unsettled.displaced.map((entry) => entry.path));
  const directories = configuration.directories.filter((directory) => !facts.directories.has(directory.path));
  const files = configuration.files.filter((file) => !isCurrent(file, facts) || touched.has(file.path));
  if (directories.length === 0 && files.length === 0) return undefined;
  const written = new Set(files.map((file) => file.path));
  return {
    kind: 'configuration',
    id: 'configuration',
    title: 'render, test and swap in the configuration',
    changes: [
      ...directories.map((directory) => `+ ${directory.path}/`),
      ...files.map(
        (file) =>
          `${facts.files.has(file.path) ? '~' : '+'} ${file.path}${isEdited(file, facts) ? '  changed by hand since the last installation' : ''}`,
      ),
    ],
    undo: 'displaced files are put back, new ones are removed',
    directories,
    files,
    refreshes: configuration.refreshes.filter((refresh) => refresh.files.some((path) => written.has(path))),
  };
}

export function isCurrent(file: ConfiguredFile, facts: Facts): boolean {
  const there = facts.files.get(file.path);
  return (
    isDigestOf(there?.sha256, file.path, file.content) &&
    there?.mode === file.mode &&
    there.uid === facts.users.get(file.owner)?.uid &&
    there.gid === facts.groups.get(file.group)
  );
}

function serviceActions(
  configuration: Configuration,
  facts: Facts,
  rebuilt: readonly string[],
  steps: readonly PlanStep[],
): ServiceAction[] {
  const written = new Set(
    steps.flatMap((step) => (step.kind === 'configuration' ? step.files.map((file) => file.path) : [])),
  );
  const touches = (paths: readonly string[]): boolean => paths.some((path) => written.has(path));
  return configuration.services.map((service): ServiceAction => {
    const state = facts.units.get(service.unit);
    const active = state?.active === 'active';
    const changed =
      rebuilt.includes(service.component) || touches(service.restartOn) || touches([service.unitFile]);
    const action = !active ? 'start' : changed ? 'restart' : touches(service.reloadOn) ? 'reload' : 'none';
    return { service, enable: state?.enabled !== 'enabled', action };
  });
}

function servicesStep(actions: readonly ServiceAction[]): PlanStep | undefined {
  if (actions.every((entry) => !entry.enable && entry.action === 'none')) return undefined;
  return {
    kind: 'services',
    id: 'services',
    title: 'start the services and check them',
    changes: actions.flatMap(({ service, enable, action }) => {
      const words = [...(enable ? ['enable'] : []), ...(action === 'none' ? [] : [action])];
      return words.length === 0 ? [] : [`${words.join(' and ')} ${service.unit}`];
    }),
    undo: 'what ran before runs again; what did not is stopped and disabled',
    actions,
  };
}

/** Whether the component has to be built: another recipe, or its files are not those that were installed. */
function isStale(component: BundledComponent, facts: Facts, receipt: Receipt | undefined): boolean {
  if (receipt?.recipes[component.name] !== recipeOf(component)) return true;
  const files = receipt.files.filter((file) => file.component === component.name);
  const links = receipt.links.filter((link) => link.component === component.name);
  return (
    files.length === 0 ||
    files.some((file) => {
      const there = facts.files.get(file.path);
      return there?.sha256 !== file.sha256 || there.mode !== file.mode;
    }) ||
    links.some((link) => facts.links.get(link.path) !== link.to)
  );
}

/** Whoever builds in a root of its own does not expect a compiler on the node. */
function isolationNotes({ components }: Contents, isolated: boolean): string[] {
  if (!isolated || namesForRun(components).size === 0 || namesForBuildOnly(components).size > 0) return [];
  return [
    'the manifest calls no package "needed: build": this node gets all that it asks for, also what only the build needs',
  ];
}

function notesOf(request: PlanRequest, rpms: RpmPlan): string[] {
  const { configuration, facts, unsettled } = request;
  return [
    ...rpms.newer.map(
      ({ rpm, installed }) =>
        `kept ${formatNevra(installed)}; the bundle has the older ${formatNevra(rpm.nevra)}`,
    ),
    ...editNotes(configuration, facts),
    ...folderNotes(configuration, facts),
    ...droppedNotes(droppedBy(request.receipt, request), facts.present),
    ...(facts.additions.length === 0
      ? []
      : [`local additions are loaded too: ${facts.additions.join(', ')}`]),
    ...configuration.firewall.map(describeOpening),
    ...(unsettled.begun === undefined && unsettled.displaced.length === 0 && unsettled.packages.size === 0
      ? []
      : ['an earlier run was ended before it was done: what it began is done again']),
    ...(facts.selinux === 'Enforcing' ? ['SELinux is enforcing: files get the label of their place'] : []),
  ];
}

/** An edit that is about to be replaced is worth a word: somebody meant it. */
function editNotes({ files }: Configuration, facts: Facts): string[] {
  return files
    .filter((file) => isEdited(file, facts))
    .map(
      ({ path, additions }) =>
        `${path} was changed by hand since the last installation: it is replaced, and a copy stays in ${target.backup}/RUN${path}${additions === undefined ? '' : `; what is to stay belongs into ${additions}`}`,
    );
}
