import { debOf, type RpmRecipe } from './recipe.js';

/** What a .deb says of itself, and the file that holds it. */
export interface DebControl {
  readonly file: string;
  readonly name: string;
  readonly version: string;
  readonly depends: string;
  readonly summary: string;
}

/** Reads fetch-debs.sh's table: one line a package, six fields, separated by tabs. */
export const parseControl = (table: string): Map<string, DebControl> => {
  const found = new Map<string, DebControl>();
  for (const line of table.split('\n').filter((text) => text !== '')) {
    const [file, name, version, depends, preDepends, summary] = line.split('\t');
    if (file === undefined || name === undefined || version === undefined)
      throw new TypeError(`not a line of control.tsv: ${line}`);
    const all = [depends, preDepends].filter((text) => text !== undefined && text !== '').join(', ');
    found.set(name, { file, name, version, depends: all, summary: summary ?? name });
  }
  return found;
};

/** Debian's `[epoch:]upstream-revision` as RPM's version and release: 10.2.1-6 → 10.2.1, 6.el7. */
const versionOf = (debian: string): { version: string; release: string } => {
  const text = debian.replace(/^\d+:/, '');
  const dash = text.lastIndexOf('-');
  const word = (part: string): string => part.replace(/[^A-Za-z0-9._~]+/g, '.');
  return {
    version: word(dash < 0 ? text : text.slice(0, dash)),
    release: `${word(dash < 0 ? '1' : text.slice(dash + 1))}.el7`,
  };
};

export interface Nevra {
  readonly epoch: number | undefined;
  readonly version: string;
  readonly release: string;
}

export const nevraOf = (recipe: RpmRecipe, control: ReadonlyMap<string, DebControl>): Nevra => {
  const first = recipe.debs[0];
  const deb = first === undefined ? undefined : control.get(debOf(first));
  const text = recipe.version ?? deb?.version;
  if (text === undefined) throw new TypeError(`no version for ${recipe.name}`);
  return { epoch: recipe.epoch, ...versionOf(text) };
};

/** Debian leans on perl in places where EL does not; recipes that need it say so. */
const MUTED: ReadonlySet<string> = new Set(['perl-base', 'perl']);

/** Which RPM holds the bulk of a Debian package, for those that make a dependency. */
const holders = (recipes: readonly RpmRecipe[]): Map<string, string> => {
  const held = new Map<string, string>();
  for (const recipe of recipes)
    for (const part of recipe.debs)
      if (typeof part === 'string' || 'except' in part || !held.has(part.deb))
        held.set(debOf(part), recipe.name);
  for (const deb of MUTED) held.delete(deb);
  return held;
};

/** The RPM names behind `a (>= 1) | b, c:any`; what the repository does not hold is left out. */
const requiredBy = (depends: string, held: ReadonlyMap<string, string>): string[] =>
  depends.split(',').flatMap((choice) => {
    const names = choice.split('|').map((one) => one.trim().replace(/[ (:[].*$/s, ''));
    const name = names.map((one) => held.get(one)).find((one) => one !== undefined);
    return name === undefined ? [] : [name];
  });

/** The spec file of `recipe`; build-rpms.sh gives it the payload and the list of files. */
export const specOf = (
  recipe: RpmRecipe,
  all: readonly RpmRecipe[],
  control: ReadonlyMap<string, DebControl>,
): string => {
  const held = holders(all.filter((one) => one.arch !== 'i686'));
  const own = nevraOf(recipe, control);
  const debs = recipe.debs.map((part) => control.get(debOf(part)));
  const derived = debs
    .flatMap((deb) => (deb === undefined ? [] : requiredBy(deb.depends, held)))
    .filter((name) => name !== recipe.name && !(recipe.exact ?? []).includes(name));
  const exact = (recipe.exact ?? []).map((name) => {
    const target = all.find((one) => one.name === name && one.arch !== 'i686');
    if (target === undefined) throw new TypeError(`${recipe.name} requires ${name}, which nobody makes`);
    const { epoch, version, release } = nevraOf(target, control);
    return `${name} = ${epoch === undefined ? '' : `${epoch}:`}${version}-${release}`;
  });
  const requires = [...new Set([...derived, ...(recipe.requires ?? [])])].sort();
  const lines = [
    '%global debug_package %{nil}',
    '%global _build_id_links none',
    '%global __os_install_post %{nil}',
    '%global _binary_payload w2.xzdio',
    `Name: ${recipe.name}`,
    ...(own.epoch === undefined ? [] : [`Epoch: ${own.epoch}`]),
    `Version: ${own.version}`,
    `Release: ${own.release}`,
    `Summary: ${debs[0]?.summary ?? recipe.name}`,
    `License: ${recipe.license}`,
    ...(recipe.arch === 'noarch' ? ['BuildArch: noarch'] : []),
    ...requires.map((name) => `Requires: ${name}`),
    ...exact.map((name) => `Requires: ${name}`),
    ...(recipe.provides ?? []).map((name) => `Provides: ${name}`),
    '',
    '%description',
    'Made by the airbundle lab from Debian 11 packages, shaped like its EL7 namesake.',
    '',
    '%install',
    'cp -a %{payload}/. %{buildroot}/',
    ...(recipe.ldconfig === true ? ['', '%post -p /sbin/ldconfig', '', '%postun -p /sbin/ldconfig'] : []),
    '',
    '%files -f %{payload}.files',
    '%defattr(-,root,root)',
    '',
  ];
  return lines.join('\n');
};

/** The payload's recipe for build-rpms.sh: `file TAB only|except|all TAB extended regexp`. */
export const partsOf = (recipe: RpmRecipe, control: ReadonlyMap<string, DebControl>): string =>
  recipe.debs
    .map((part) => {
      const deb = control.get(debOf(part));
      if (deb === undefined) throw new TypeError(`${debOf(part)} was not downloaded`);
      if (typeof part === 'string') return `${deb.file}\tall\t.\n`;
      return 'only' in part ? `${deb.file}\tonly\t${part.only}\n` : `${deb.file}\texcept\t${part.except}\n`;
    })
    .join('');
