import type { Host } from '../host/host.js';
import { lastLines, outcome } from '../host/process.js';
import { target } from '../model/layout.js';
import type { Nevra } from '../model/nevra.js';
import { formatNevra } from '../model/nevra.js';
import type { ReplacedPackage } from './package-changes.js';
import { installedPackages, parsePackages, parseProblems } from './rpm.js';
import { isLockedOut } from './rpm-locks.js';
import { stuckAdvice, watchStillness } from './rpm-stuck.js';

/** A package that is not erased, and why. */
export interface KeptPackage {
  readonly nevra: string;
  readonly because: string;
}

export interface EraseTest {
  readonly erase: readonly Nevra[];
  readonly kept: readonly KeptPackage[];
}

/** rpm finds an installed package by name-version-release.arch, without an epoch (4.11 knows none there). */
export const rpmLabel = ({ name, version, release, arch }: Nevra): string =>
  `${name}-${version}-${release}.${arch}`;

/** Pure: "CAPABILITY is needed by (installed) PACKAGE" → both. */
export function parseNeeded(line: string): { capability: string; by: string } | undefined {
  const match = /^(.+?) is needed by (?:\(installed\) )?(\S+)$/.exec(line);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { capability: match[1], by: match[2] };
}

/**
 * Which of these packages can go, as `rpm -e --test` says: what others need stays, and what that needs in turn.
 * @param leaving labels (name-version-release.arch) of packages that will be gone by then: their needs do not count
 */
export async function testErase(
  host: Host,
  wanted: readonly Nevra[],
  leaving: ReadonlySet<string> = new Set(),
): Promise<EraseTest> {
  let erase = [...wanted];
  const kept: KeptPackage[] = [];
  while (erase.length > 0) {
    const result = await host.run(['rpm', '-e', '--test', ...erase.map(rpmLabel)], {
      timeoutMs: RPM_TIMEOUT_MS,
    });
    if (result.exitCode === 0) break;
    const lines = parseProblems(`${result.stderr}\n${result.stdout}`);
    const needed = lines.flatMap((line) => parseNeeded(line) ?? []);
    const counted = needed.filter(({ by }) => !leaving.has(by));
    if (counted.length === 0 && needed.length > 0 && needed.length === lines.length) break;
    const staying = new Map<string, string>();
    for (const { capability, by } of counted)
      for (const nevra of await providersOf(host, capability, erase))
        if (!staying.has(nevra)) staying.set(nevra, `${by} needs it`);
    // What rpm says cannot be laid to a package: nothing is erased.
    if (staying.size === 0)
      for (const nevra of erase)
        staying.set(formatNevra(nevra), `rpm -e --test: ${lines[0] ?? outcome(result)}`);
    for (const [nevra, because] of staying) kept.push({ nevra, because });
    erase = erase.filter((nevra) => !staying.has(formatNevra(nevra)));
  }
  return { erase, kept };
}

/** Of these packages, those that provide a capability. */
async function providersOf(host: Host, capability: string, among: readonly Nevra[]): Promise<string[]> {
  // "libfoo.so.1()(64bit)", "/usr/bin/foo", "foo >= 1.0"
  const word = capability.split(/ (?:[<>=]+) /)[0] ?? capability;
  const result = await host.run(['rpm', '-q', '--whatprovides', '--queryformat', QUERY, word], {
    timeoutMs: RPM_TIMEOUT_MS,
  });
  const there = new Set(parsePackages(result.stdout).map(formatNevra));
  return among.map(formatNevra).filter((nevra) => there.has(nevra));
}

const QUERY = '%{NAME}\\t%{EPOCH}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n';
const RPM_TIMEOUT_MS = 10 * 60_000;
const LOCK_WAIT_MS = 10 * 60_000;
const LOCK_POLL_MS = 1000;
const QUIET_MS = 10 * 60_000;

/**
 * Erases packages, dependents among them first, and reads the rpmdb back.
 * @returns what is wrong afterwards, one sentence each, and what is installed then
 */
export async function erasePackages(
  host: Host,
  packages: readonly Nevra[],
): Promise<{ readonly problems: readonly string[]; readonly installed: readonly Nevra[] }> {
  const said = packages.length === 0 ? '' : await runRpm(host, ['-e', ...packages.map(rpmLabel)], 'erase');
  const installed = await installedPackages(host);
  const there = new Set(installed.map(formatNevra));
  const left = packages.map(formatNevra).filter((nevra) => there.has(nevra));
  const problems = left.length === 0 ? [] : [`${left.join(', ')} could not be erased: ${said}`];
  return { problems, installed };
}

export interface OldRpm {
  readonly nevra: string;
  readonly file: string;
}

/** The RPM files of a folder, and of its rpms/, whose digests are right, with what their headers say. */
export async function readOldRpms(host: Host, folders: readonly string[]): Promise<OldRpm[]> {
  const found: OldRpm[] = [];
  for (const folder of folders.flatMap((one) => [one, `${one}/rpms`]))
    for (const name of await host.list(folder)) {
      if (!name.endsWith('.rpm')) continue;
      const file = `${folder}/${name}`;
      const header = await host.run(['rpm', '-qp', '--nosignature', '--queryformat', QUERY, file]);
      const nevra = parsePackages(header.stdout)[0];
      if (header.exitCode === 0 && nevra !== undefined) found.push({ nevra: formatNevra(nevra), file });
    }
  return found;
}

/** rpm installs a truncated file silently (FACTS): its digests are checked first. @returns what is wrong */
export async function checkOldRpm(host: Host, { file }: OldRpm): Promise<string | undefined> {
  const result = await host.run(['rpm', '-K', '--nosignature', file], { timeoutMs: RPM_TIMEOUT_MS });
  return result.exitCode === 0 && !/NOT OK|BAD/.test(result.stdout)
    ? undefined
    : `${file} is damaged: ${lastLines(result, 1).join('')}`;
}

/** @returns rpm's own problems against putting these older packages back; those of `leaving` packages do not count */
export async function testDowngrade(
  host: Host,
  files: readonly string[],
  leaving: ReadonlySet<string>,
): Promise<string[]> {
  if (files.length === 0) return [];
  const result = await host.run(['rpm', '-U', '--oldpackage', '--replacepkgs', '--test', ...files], {
    timeoutMs: RPM_TIMEOUT_MS,
  });
  if (result.exitCode === 0) return [];
  const lines = parseProblems(`${result.stderr}\n${result.stdout}`);
  if (lines.length === 0) return [`rpm -U --oldpackage --test ${outcome(result)}`];
  return lines.filter((line) => !leaving.has(parseNeeded(line)?.by ?? ''));
}

/**
 * Puts older packages back; their files were tested before. Where an rpm was killed between the two versions, the
 * older one is in the database still: it is put in again, so that its files are its own.
 * @returns what is wrong afterwards
 */
export async function downgradePackages(
  host: Host,
  wanted: readonly ReplacedPackage[],
  files: readonly string[],
): Promise<string[]> {
  if (files.length === 0) return [];
  const words = ['-Uvh', '--oldpackage', '--replacepkgs', '--nodeps', ...files];
  const said = await runRpm(host, words, 'downgrade');
  const there = new Set((await installedPackages(host)).map(formatNevra));
  const lost = wanted.filter(({ from }) => !there.has(from)).map(({ from }) => from);
  const left = wanted.filter(({ to }) => there.has(to)).map(({ to }) => to);
  return [
    ...(lost.length === 0 ? [] : [`${lost.join(', ')} could not be put back: ${said}`]),
    ...(left.length === 0 ? [] : [`${left.join(', ')} could not be taken out: ${said}`]),
  ];
}

/** rpm with a log of its own, as for an installation; another rpm is waited for. @returns its last words */
async function runRpm(host: Host, words: readonly string[], name: string): Promise<string> {
  const log = `${target.log}/rpm-${name}.log`;
  for (let waitedMs = 0; ; waitedMs += LOCK_POLL_MS) {
    await host.remove(log);
    const stillness = watchStillness(host);
    const result = await host.runLogged(['rpm', ...words], log, {
      quietMs: QUIET_MS,
      onQuiet: (pid) => stillness.look(pid),
      stop: () => stillness.isStuck(),
    });
    if (stillness.isStuck())
      return `it slept without being woken and was ended. ${(await stuckAdvice(host)).join('. ')}`;
    const text = (await host.read(log))?.toString('utf8') ?? '';
    if (!isLockedOut(text) || waitedMs >= LOCK_WAIT_MS)
      return `rpm ${outcome(result)}: ${lastLines(result, 3).join('; ')} (log ${log})`;
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
  }
}
