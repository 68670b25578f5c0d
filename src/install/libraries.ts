import { stepError } from '../errors.js';
import type { Host } from '../host/host.js';
import type { BundledRpm } from '../model/contents.js';
import { formatNevra } from '../model/nevra.js';
import { stagedProvides } from './staged-provides.js';

/** EL7's x86_64 loader, and that of every other system of this architecture. */
const LOADER = '/lib64/ld-linux-x86-64.so.2';
const ELF = Buffer.from([0x7f, 0x45, 0x4c, 0x46]);

export interface Libraries {
  /** Paths of the libraries that the loader would load, also what these need in turn. */
  readonly found: readonly string[];
  /** What it does not find here, in its own words. */
  readonly missing: readonly string[];
}

/**
 * What the system's own loader says. Not ldd: that runs the file itself, with whatever loader it names.
 * @returns undefined for a file that needs no loader
 */
export async function librariesOf(host: Host, file: string): Promise<Libraries | undefined> {
  if (!(await isElf(host, file))) return undefined;
  // As ldd asks it: `--list` stops at the first library that is missing.
  const result = await host.run([LOADER, file], {
    env: { LD_TRACE_LOADED_OBJECTS: '1' },
    timeoutMs: 60_000,
  });
  const libraries = parseLibraries(`${result.stdout}\n${result.stderr}`);
  if (result.exitCode === 0 || libraries.missing.length > 0) return libraries;
  // Ends with 1 in glibc 2.17, with 0 later.
  return /statically linked|not a dynamic executable/.test(`${result.stdout}${result.stderr}`)
    ? { found: [], missing: [] }
    : { found: libraries.found, missing: [result.stderr.trim() || 'the loader cannot read it'] };
}

async function isElf(host: Host, file: string): Promise<boolean> {
  for await (const piece of host.chunks(file)) return piece.subarray(0, 4).equals(ELF);
  return false;
}

/** Pure: the loader's lines. */
export function parseLibraries(text: string): Libraries {
  const found = new Set<string>();
  const missing = new Set<string>();
  for (const line of text.split('\n').map((one) => one.trim())) {
    const lost = /^(\S+) => not found$/.exec(line)?.[1] ?? /version `.*' not found .*$/.exec(line)?.[0];
    const lib = /^(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1];
    if (lost !== undefined) missing.add(lost);
    else if (lib !== undefined) found.add(lib);
  }
  return { found: [...found], missing: [...missing] };
}

/**
 * Before anything is put in place: what was built in a root of its own finds its libraries on the node too.
 * @throws BundleError exit 6 that names the package that holds a missing one
 */
export async function requireLibraries(
  host: Host,
  built: readonly { readonly files: readonly { readonly from: string; readonly path: string }[] }[],
  stage: string,
  rpms: readonly BundledRpm[],
): Promise<void> {
  const lacking: { path: string; library: string }[] = [];
  for (const { from, path } of built.flatMap(({ files }) => files))
    for (const library of (await librariesOf(host, from))?.missing ?? []) lacking.push({ path, library });
  if (lacking.length === 0) return;
  const providerOf = await stagedProvides(host, stage, rpms);
  throw stepError({
    code: 'LIBRARY_MISSING',
    message: 'what was built does not run on this node: it lacks libraries',
    where: 'step files',
    details: lacking.slice(0, 20).map(({ path, library }) => {
      const holder = providerOf(`${library}()(64bit)`);
      return `${path}: ${library}${holder === undefined ? '' : `, which is in ${formatNevra(holder.nevra)}`}`;
    }),
    hint: 'Nothing was moved. Declare that package as { name: …, needed: run } in the manifest and make a new bundle, or install with --build host.',
  });
}
