import type { ConfiguredFile } from '../configure/types.js';
import type { BundledComponent, Contents } from '../model/contents.js';
import { member, target } from '../model/layout.js';
import type { Cost } from './plan-schema.js';

export interface CostRequest {
  readonly contents: Contents;
  readonly stages: boolean;
  /** Size of each RPM that goes in. */
  readonly packageBytes: readonly number[];
  readonly builds: readonly BundledComponent[];
  /** They are built in a root of their own. */
  readonly isolated: boolean;
  readonly files: readonly ConfiguredFile[];
  readonly cpus: number;
  readonly services: number;
  readonly freeBytes: number;
}

/** Sources, objects and DESTDIR of all builds together (node-refusals.ts asks for the same room). */
export const BUILD_ROOM_BYTES = 300 * 1024 * 1024;
/** RPMs hold their files compressed: in a root of their own they take about four times their size. */
const ROOT_FACTOR = 5;
/** What the root of an isolated build takes of the disk. */
export function rootBytes({ members, rpms }: Pick<Contents, 'members' | 'rpms'>): number {
  const paths = new Set<string>(rpms.map((rpm) => rpm.path));
  return ROOT_FACTOR * sum(members.filter(({ path }) => paths.has(path)).map(({ sizeBytes }) => sizeBytes));
}
/** An RPM's payload is compressed: xz makes a third of programs and headers. */
const UNPACKED = 3;
/** Seconds, from the lab: the copy and hash of the payload, one RPM, a component on one processor, a service. */
const SECONDS = { perStagedByte: 1 / 100e6, perRpm: 0.3, perRpmByte: 1 / 10e6, perBuild: 120, perService: 4 };

const OWN_PROGRAMS: readonly string[] = [member.runtime, member.installer, member.deploy];

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

/** What a run takes of the disk and of the time; only sizes that the bundle states are exact. Pure. */
export function costOf(request: CostRequest): Cost {
  const { contents, builds, packageBytes } = request;
  const payload = request.stages ? sum(contents.members.map((entry) => entry.sizeBytes)) : 0;
  const program = contents.members
    .filter((entry) => OWN_PROGRAMS.includes(entry.path))
    .map((entry) => entry.sizeBytes);
  const disk: Cost['disk'][number][] = [
    {
      folder: target.stage,
      what: 'the verified copy of the payload',
      bytes: payload,
      estimate: false,
      stays: false,
    },
    {
      folder: '/',
      what: `${String(packageBytes.length)} RPMs, unpacked`,
      bytes: UNPACKED * sum(packageBytes),
      estimate: true,
      stays: true,
    },
    {
      folder: target.build,
      what: 'sources, objects and what was built',
      bytes: builds.length > 0 ? BUILD_ROOM_BYTES : 0,
      estimate: true,
      stays: false,
    },
    {
      folder: target.build,
      what: 'the root in which it is built',
      bytes: request.isolated && builds.length > 0 ? rootBytes(contents) : 0,
      estimate: true,
      stays: false,
    },
    {
      folder: target.libexec,
      what: 'the command with its runtime',
      bytes: request.stages ? sum(program) : 0,
      estimate: false,
      stays: true,
    },
    {
      folder: '/etc',
      what: 'configuration',
      bytes: sum(request.files.map((file) => Buffer.byteLength(file.content))),
      estimate: false,
      stays: true,
    },
  ];
  const buildSeconds =
    builds.length === 0 ? 0 : (SECONDS.perBuild * builds.length) / Math.max(1, Math.min(request.cpus, 8));
  return {
    disk: disk.filter(({ bytes }) => bytes > 0),
    freeBytes: request.freeBytes,
    seconds: Math.ceil(
      payload * SECONDS.perStagedByte +
        packageBytes.length * SECONDS.perRpm +
        sum(packageBytes) * SECONDS.perRpmByte +
        buildSeconds +
        request.services * SECONDS.perService,
    ),
    basis: 'estimate',
  };
}
