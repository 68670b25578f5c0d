import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import { target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { Journal } from './journal.js';
import { librariesOf } from './libraries.js';
import type { Receipt } from './receipt.js';
import { installedPackages, parsePackages, parseProblems, RPM_QUERY } from './rpm.js';

/** What became of the packages that only the build needed. */
export interface Erased {
  /** NEVRAs that are gone, some of them perhaps since a run that was killed. */
  readonly erased: readonly string[];
  /** NEVRAs that stay, and why. */
  readonly kept: readonly { readonly nevra: string; readonly because: string }[];
  /** NEVRAs that should have gone and did not. */
  readonly left: readonly string[];
  /** rpm's words about those. */
  readonly problem: string | undefined;
}

const RPM_TIMEOUT_MS = 10 * 60_000;

/**
 * Erases packages that this program added for the build, except for those that something else needs: a library
 * of an installed file, or what `rpm -e --test` says. Reads the rpmdb back.
 * @param candidates NEVRAs
 */
export async function eraseBuildPackages(
  host: Host,
  journal: Journal,
  candidates: readonly string[],
  files: Receipt['files'],
): Promise<Erased> {
  const wanted = new Set(candidates);
  const there = (await installedPackages(host)).filter((nevra) => wanted.has(formatNevra(nevra)));
  const owners = await libraryOwners(host, files);
  const kept = there
    .map(formatNevra)
    .flatMap((nevra) =>
      owners.has(nevra) ? [{ nevra, because: `${owners.get(nevra) ?? ''} loads it` }] : [],
    );
  const free = there.filter((nevra) => !owners.has(formatNevra(nevra)));
  const tested = await withoutNeeded(host, free);
  kept.push(...tested.kept);
  const labels = tested.erase.map(formatNevra);
  if (labels.length > 0) await journal.record({ event: 'erasing', packages: labels });
  const said = labels.length > 0 ? await erase(host, tested.erase) : undefined;
  const still = new Set((await installedPackages(host)).map(formatNevra));
  const left = labels.filter((nevra) => still.has(nevra));
  const erased = candidates.filter((nevra) => !still.has(nevra));
  if (labels.length > 0) await journal.record({ event: 'erased', packages: erased });
  return { erased, kept, left, problem: left.length === 0 ? undefined : said };
}

/** The owners (NEVRA) of the libraries that the installed programs load → the program. */
async function libraryOwners(host: Host, files: Receipt['files']): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  for (const { path } of files) {
    const libraries = await librariesOf(host, path).catch(() => undefined);
    for (const library of libraries?.found ?? [])
      for (const name of new Set([library, (await host.realpath(library)) ?? library])) {
        const result = await host.run(['rpm', '-qf', '--queryformat', RPM_QUERY, name]);
        if (result.exitCode !== 0) continue;
        for (const nevra of parsePackages(result.stdout)) owners.set(formatNevra(nevra), path);
      }
  }
  return owners;
}

/** rpm finds an installed package by name-version-release.arch; 4.11 knows no epoch there. */
const label = ({ name, version, release, arch }: Nevra): string => `${name}-${version}-${release}.${arch}`;

/** Takes out what rpm says that others need, until it says nothing. */
async function withoutNeeded(
  host: Host,
  wanted: readonly Nevra[],
): Promise<{ erase: readonly Nevra[]; kept: Erased['kept'][number][] }> {
  const kept: Erased['kept'][number][] = [];
  let erase = wanted;
  while (erase.length > 0) {
    const result = await host.run(['rpm', '-e', '--test', ...erase.map(label)], {
      timeoutMs: RPM_TIMEOUT_MS,
    });
    if (result.exitCode === 0) break;
    const lines = parseProblems(`${result.stderr}\n${result.stdout}`);
    const staying = new Map<string, string>();
    for (const { capability, by } of lines.flatMap((line) => neededBy(line) ?? []))
      for (const nevra of await providersOf(host, capability, erase))
        if (!staying.has(nevra)) staying.set(nevra, `${by} needs it`);
    // What cannot be laid to one of them speaks against all.
    if (staying.size === 0)
      for (const nevra of erase)
        staying.set(formatNevra(nevra), `rpm -e --test: ${lines[0] ?? outcome(result)}`);
    for (const [nevra, because] of staying) kept.push({ nevra, because });
    erase = erase.filter((nevra) => !staying.has(formatNevra(nevra)));
  }
  return { erase, kept };
}

/** Pure: "CAPABILITY is needed by (installed) PACKAGE" → both. */
export function neededBy(line: string): { capability: string; by: string } | undefined {
  const [, capability, by] = /^(.+?) is needed by (?:\(installed\) )?(\S+)$/.exec(line) ?? [];
  return capability === undefined || by === undefined ? undefined : { capability, by };
}

async function providersOf(host: Host, capability: string, among: readonly Nevra[]): Promise<string[]> {
  const word = capability.split(/ [<>=]+ /)[0] ?? capability;
  const result = await host.run(['rpm', '-q', '--whatprovides', '--queryformat', RPM_QUERY, word], {
    timeoutMs: RPM_TIMEOUT_MS,
  });
  const providers = new Set(parsePackages(result.stdout).map(formatNevra));
  return among.map(formatNevra).filter((nevra) => providers.has(nevra));
}

const LOCK_WAIT_MS = 60_000;
const LOCK_POLL_MS = 1000;

/** With a log of its own, so that a killed installer does not take rpm with it. @returns rpm's last words */
async function erase(host: Host, packages: readonly Nevra[]): Promise<string> {
  const log = `${target.log}/rpm-erase.log`;
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    await host.remove(log);
    const result = await host.runLogged(['rpm', '-e', ...packages.map(label)], log);
    const text = (await host.read(log))?.toString('utf8') ?? '';
    if (!text.includes("can't create transaction lock") || waitedMs >= LOCK_WAIT_MS)
      return [`rpm -e ${outcome(result)}, log ${log}`, ...lastLines(result, 5)].join('; ');
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}
