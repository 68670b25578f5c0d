import type { Configuration, ConfiguredFile, ManagedService } from '../configure/types.js';
import type { BundledComponent, BundledRpm, Contents } from '../model/contents.js';
import { member, target } from '../model/layout.js';
import { byCodePoint, formatNevra } from '../model/nevra.js';
import { octal } from '../model/octal.js';
import { unifiedDiff } from '../model/unified-diff.js';
import { costOf } from './cost.js';
import { isEdited } from './edited.js';
import { ownerOf } from './folders.js';
import { sha256Hex, shownDigest } from './guarded-digest.js';
import { maskPair } from './masked.js';
import type {
  PlanDetails,
  PlannedAccount,
  PlannedBuild,
  PlannedDirectory,
  PlannedFile,
  PlannedPackage,
  PlannedService,
  PlannedSetting,
} from './plan-schema.js';
import type { Facts } from './probe.js';
import { isExact } from './probe.js';
import type { OlderInstalled, RpmPlan } from './rpm-plan.js';
import { firewallOf } from './plan-firewall.js';
import { settingsIn } from './sysctl-settings.js';

export interface DetailsRequest {
  readonly contents: Contents;
  readonly configuration: Configuration;
  readonly facts: Facts;
  /** Texts that must not be shown. */
  readonly secrets: readonly string[];
  readonly newKey: { readonly keyId: string; readonly fingerprint: string } | undefined;
  readonly rpms: RpmPlan;
  /** RPMs of the bundle that do not go into the node. */
  readonly leftOut: readonly BundledRpm[];
  /** NEVRAs that are erased once it is built. */
  readonly erased: ReadonlySet<string>;
  /** It is built in a root of its own. */
  readonly isolated: boolean;
  /** NEVRAs that a killed run left half done. */
  readonly unfinished: ReadonlySet<string>;
  /** The program's script, which the installer writes. */
  readonly commandScript: string;
  readonly builds: readonly { readonly component: BundledComponent; readonly uid: number }[];
  /** Paths of the configuration that are written, and directories that are made. */
  readonly written: ReadonlySet<string>;
  readonly actions: readonly {
    readonly service: ManagedService;
    readonly enable: boolean;
    readonly action: PlannedService['action'];
  }[];
  /** Step → how it is undone. */
  readonly undo: ReadonlyMap<string, string>;
  /** The payload is copied into the stage. */
  readonly stages: boolean;
}

/** Every single thing of a plan, with how it is undone. Pure: the same input gives the same details. */
export function detailsOf(request: DetailsRequest): PlanDetails {
  const packages = packagesOf(request);
  return {
    packages,
    files: filesOf(request),
    directories: directoriesOf(request),
    builds: buildsOf(request),
    accounts: accountsOf(request),
    services: servicesOf(request),
    sysctl: sysctlOf(request),
    firewall: firewallOf(request.configuration, request.facts.firewall),
    cost: costOf({
      contents: request.contents,
      stages: request.stages,
      packageBytes: packages
        .filter(({ action }) => ['install', 'reinstall', 'upgrade', 'refused'].includes(action))
        .map(({ sizeBytes }) => sizeBytes),
      builds: request.builds.map(({ component }) => component),
      isolated: request.isolated,
      files: request.configuration.files.filter((file) => request.written.has(file.path)),
      cpus: request.facts.cpus,
      services: request.actions.filter(({ action }) => action !== 'none').length,
      freeBytes: request.facts.freeBytes,
    }),
  };
}

const NOTHING = 'nothing to undo';

function undoOf({ undo }: DetailsRequest, step: string): string {
  return undo.get(step) ?? NOTHING;
}

function packagesOf(request: DetailsRequest): PlannedPackage[] {
  const { rpms, contents } = request;
  const sizes = new Map<string, number>(contents.members.map((entry) => [entry.path, entry.sizeBytes]));
  const entry = (
    rpm: BundledRpm,
    given: Pick<PlannedPackage, 'action' | 'installed' | 'why' | 'undo'>,
  ): PlannedPackage => ({
    package: formatNevra(rpm.nevra),
    sizeBytes: sizes.get(rpm.path) ?? 0,
    ...given,
  });
  const unlessRefused = (made: PlannedPackage): PlannedPackage => {
    const why = rpms.refusals.find((line) => line.split(' ').includes(made.package));
    return why === undefined ? made : { ...made, action: 'refused', why, undo: NOTHING };
  };
  const missing = (rpm: BundledRpm): PlannedPackage => {
    const again = request.unfinished.has(formatNevra(rpm.nevra));
    return entry(rpm, {
      action: again ? 'reinstall' : 'install',
      installed: null,
      why: `${again ? 'an earlier run was ended while rpm put it in' : 'not installed'}${request.erased.has(formatNevra(rpm.nevra)) ? '; for the build only, erased afterwards' : ''}`,
      undo: undoOf(request, 'rpms'),
    });
  };
  const older = ({ rpm, installed }: OlderInstalled): PlannedPackage =>
    entry(rpm, {
      action: 'upgrade',
      installed: formatNevra(installed),
      why: 'an older one is installed',
      undo: `\`airbundle rollback --old-rpms FOLDER\` with the RPM of ${formatNevra(installed)}; without that RPM there is no way back`,
    });
  return [
    ...request.leftOut.map((rpm) =>
      entry(rpm, { action: 'left out', installed: null, why: 'this node does without it', undo: NOTHING }),
    ),
    ...rpms.missing.map(missing).map(unlessRefused),
    ...rpms.older.map(older).map(unlessRefused),
    ...rpms.same.map((rpm) =>
      entry(rpm, {
        action: 'same',
        installed: formatNevra(rpm.nevra),
        why: 'the same one is installed',
        undo: NOTHING,
      }),
    ),
    ...rpms.newer.map(({ rpm, installed }) =>
      entry(rpm, {
        action: 'keep newer',
        installed: formatNevra(installed),
        why: 'a newer one is installed',
        undo: NOTHING,
      }),
    ),
  ].sort((a, b) => byCodePoint(a.package, b.package));
}

function filesOf(request: DetailsRequest): PlannedFile[] {
  return [
    ...keyFiles(request),
    ...programFiles(request),
    ...builtFiles(request),
    ...request.configuration.files.map((file) => configurationFile(request, file)),
  ];
}

function wasAt({ facts }: DetailsRequest, path: string, secret: boolean): PlannedFile['was'] {
  const there = facts.files.get(path);
  return there === undefined
    ? null
    : {
        mode: octal(there.mode),
        owner: `${String(there.uid)}:${String(there.gid)}`,
        digest: shownDigest(path, there.sha256, secret),
      };
}

const UNSHOWN = { component: null, diff: null, diffNote: null, changedByHand: false } as const;

function keyFiles(request: DetailsRequest): PlannedFile[] {
  const { newKey } = request;
  if (newKey === undefined) return [];
  return [
    {
      ...UNSHOWN,
      path: `${target.trust}/${newKey.keyId}.pem`,
      kind: 'key',
      change: 'new',
      mode: '0644',
      owner: 'root:root',
      was: null,
      digest: null,
      undo: undoOf(request, 'trust'),
    },
  ];
}

function programFiles(request: DetailsRequest): PlannedFile[] {
  const { contents, facts } = request;
  const held = (path: string): string | null =>
    contents.members.find((entry) => entry.path === path)?.sha256 ?? null;
  const file = (path: string, mode: string, digest: string | null): PlannedFile => {
    const was = wasAt(request, path, false);
    const change = was === null ? 'new' : was.digest === digest ? 'unchanged' : 'replaced';
    return {
      ...UNSHOWN,
      path,
      kind: 'program',
      change,
      mode,
      owner: 'root:root',
      was,
      digest,
      undo: change === 'unchanged' ? NOTHING : undoOf(request, 'command'),
    };
  };
  const alias = facts.links.get(target.commandAlias);
  const isFree = alias === undefined && !facts.files.has(target.commandAlias);
  return [
    file(target.runtime, '0755', held(member.runtime)),
    file(target.installer, '0644', held(member.installer)),
    ...(held(member.deploy) === null ? [] : [file(target.deploy, '0644', held(member.deploy))]),
    file(target.command, '0755', sha256Hex(request.commandScript)),
    ...(isFree || alias === target.command
      ? [
          linkFile(
            target.commandAlias,
            isFree ? 'new' : 'unchanged',
            target.command,
            null,
            undoOf(request, 'command'),
          ),
        ]
      : []),
  ];
}

function linkFile(
  path: string,
  change: PlannedFile['change'],
  to: string,
  component: string | null,
  undo: string,
): PlannedFile {
  return {
    ...UNSHOWN,
    path,
    kind: 'link',
    component,
    change,
    mode: null,
    owner: 'root:root',
    was: null,
    digest: null,
    diffNote: `to ${to}`,
    undo: change === 'unchanged' ? NOTHING : undo,
  };
}

/** Before a build nobody knows what it makes, only where: a pattern stands for all files that match it. */
function builtFiles(request: DetailsRequest): PlannedFile[] {
  const { contents, facts, builds } = request;
  return contents.components.flatMap((component) => {
    const stale = builds.some((job) => job.component.name === component.name);
    const undo = undoOf(request, 'files');
    const changeOf = (path: string, there: boolean): PlannedFile['change'] =>
      !stale ? 'unchanged' : !isExact(path) ? 'new or replaced' : there ? 'replaced' : 'new';
    return [
      ...component.files.map((path): PlannedFile => {
        const was = wasAt(request, path, false);
        const change = changeOf(path, was !== null);
        return {
          ...UNSHOWN,
          path,
          kind: 'built',
          component: component.name,
          change,
          mode: null,
          owner: 'root:root',
          was,
          digest: change === 'unchanged' ? (was?.digest ?? null) : null,
          undo: stale ? undo : NOTHING,
        };
      }),
      ...component.links.map((link) =>
        linkFile(
          link.path,
          changeOf(link.path, facts.links.has(link.path) || facts.files.has(link.path)),
          link.to,
          component.name,
          undo,
        ),
      ),
    ];
  });
}

const MAX_DIFF_LINES = 2000;

function configurationFile(request: DetailsRequest, file: ConfiguredFile): PlannedFile {
  const text = request.facts.texts.get(file.path);
  const pair = maskPair(text, file, request.secrets);
  const was = wasAt(request, file.path, pair.masked);
  const change = was === null ? 'new' : request.written.has(file.path) ? 'replaced' : 'unchanged';
  return {
    path: file.path,
    kind: 'configuration',
    component: file.component,
    change,
    mode: octal(file.mode),
    owner: `${file.owner}:${file.group}`,
    was,
    digest: shownDigest(file.path, sha256Hex(file.content), pair.masked),
    ...diffOf(change, text, pair),
    changedByHand: change === 'replaced' && isEdited(file, request.facts),
    undo: change === 'unchanged' ? NOTHING : undoOf(request, 'configuration'),
  };
}

function diffOf(
  change: PlannedFile['change'],
  text: string | undefined,
  { before, after, masked }: ReturnType<typeof maskPair>,
): Pick<PlannedFile, 'diff' | 'diffNote'> {
  if (change === 'unchanged') return { diff: null, diffNote: null };
  if (after === undefined) return { diff: null, diffNote: 'it holds a secret and is not shown' };
  if (change === 'replaced' && (text === undefined || before === undefined))
    return { diff: null, diffNote: 'what is there is not text, or larger than 256 KiB' };
  const lines = unifiedDiff(before ?? '', after);
  return {
    diff: [
      ...lines.slice(0, MAX_DIFF_LINES),
      ...(lines.length > MAX_DIFF_LINES ? [`… and ${String(lines.length - MAX_DIFF_LINES)} more lines`] : []),
    ],
    diffNote: masked ? 'lines that hold secrets are not shown; they may differ too' : null,
  };
}

function directoriesOf(request: DetailsRequest): PlannedDirectory[] {
  return request.configuration.directories.map((directory) => {
    const there = request.facts.directories.get(directory.path);
    return {
      path: directory.path,
      change: there === undefined ? 'new' : 'unchanged',
      mode: octal(there?.mode ?? directory.mode),
      owner: there ? ownerOf(there, request.facts) : `${directory.owner}:${directory.group}`,
      undo: there !== undefined ? NOTHING : directory.shared ? 'it stays' : 'it is removed when it is empty',
    };
  });
}

function buildsOf(request: DetailsRequest): PlannedBuild[] {
  return request.builds.map(({ component, uid }) => ({
    component: component.name,
    version: component.version,
    commit: component.source.commit,
    uid,
    folder: `${target.build}/${component.name}`,
    log: `${target.log}/build-${component.name}.log`,
    undo: undoOf(request, 'build'),
  }));
}

function accountsOf(request: DetailsRequest): PlannedAccount[] {
  return request.configuration.users.map(({ name, home, shell }) => {
    const there = request.facts.users.has(name);
    return {
      name,
      change: there ? 'unchanged' : 'new',
      home,
      shell,
      undo: there ? NOTHING : undoOf(request, 'users'),
    };
  });
}

function servicesOf({ actions, facts }: DetailsRequest): PlannedService[] {
  return actions.map(({ service, enable, action }) => {
    const { active = '', enabled = '' } = facts.units.get(service.unit) ?? {};
    const ran = active === 'active';
    return {
      unit: service.unit,
      active,
      enabled,
      enable,
      action,
      undo:
        action === 'none' && !enable
          ? NOTHING
          : `${ran ? 'runs again as before' : 'is stopped'}${enable ? ', is not enabled' : ''}`,
    };
  });
}

function sysctlOf({ configuration, facts }: DetailsRequest): PlannedSetting[] {
  return configuration.files.flatMap(settingsIn).map(({ key, value, file }) => {
    const from = facts.sysctl.get(key) ?? null;
    return {
      key,
      file,
      from,
      to: value,
      undo:
        from === value
          ? NOTHING
          : `its file is put back; what the kernel has stays until: sysctl -w ${key}=${from === null ? 'VALUE' : from.includes(' ') ? `"${from}"` : from}`,
    };
  });
}
