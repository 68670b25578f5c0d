import { plain } from '../model/plain.js';
import { formatFingerprint } from '../model/signature.js';
import { formatBytes } from '../report.js';
import type { Component, Inventory, Package } from './inspect.js';
import type { TrustedKey } from './keys.js';
import type { Signature } from './signed.js';
import type { Examination, Examined } from './verify.js';
import { releaseWords } from './verify.js';

/** Why the keys of a check are trusted. */
export type KeyOrigin = 'store' | 'fingerprint' | 'given';

const KEY_WORDS: Record<KeyOrigin, string> = {
  store: 'trusted on this node',
  fingerprint: 'has the fingerprint that was given',
  given: 'given: compare its fingerprint with what the packager told you by another way',
};

const NOT_SIGNED = 'NOT SIGNED: nothing was proved about who made this';
const NOT_VERIFIED = 'NOT VERIFIED: this is only what the bundle says about itself';

/** The result of a check that found no problem. */
export function renderVerified(bundle: Examined, origin: KeyOrigin): string {
  const { payload, checksums, digest } = bundle;
  const { contents } = payload;
  const release = releaseWords({
    ...contents,
    target: `${contents.target.os}.${contents.target.arch}`,
  });
  const rows = [
    ...(bundle.signed ? signatureRows(bundle.signatures, origin) : []),
    ...(digest === undefined ? [] : [['checksums', `sha256 ${digest}`]]),
    ['payload', `sha256 ${payload.sha256}`],
    [
      '',
      `${formatBytes(payload.sizeBytes)}; ${String(contents.members.length + 1)} members, each with the path, mode, size and SHA-256 of bundle.json, and nothing else`,
    ],
    ...(checksums?.files.slice(1).map((file) => [file.name, `sha256 ${file.sha256}`]) ?? []),
    ...(bundle.others.length === 0
      ? []
      : [['not signed', `also in the folder, no part of the bundle: ${some(bundle.others)}`]]),
  ];
  const title = bundle.signed
    ? `verified: ${release}`
    : `${NOT_SIGNED}\nthe files agree with each other: ${release}`;
  return lines([title, ...table(rows, '  '), ...(bundle.signed ? [] : [NOT_SIGNED])]);
}

/** A check's result for another program; no string in it moves a cursor. */
export function verifiedToJson({ problems, bundle }: Examination, keys: readonly TrustedKey[]): unknown {
  if (bundle === undefined) return { verified: false, problems: problems.map((problem) => problem.toJSON()) };
  const { kind, path, signed, digest, checksums, signatures, others, payload } = bundle;
  const { name, version, sequence, target, members } = payload.contents;
  return {
    verified: signed,
    consistent: true,
    problems: [],
    kind,
    path,
    bundle: { name, version, sequence, target: `${target.os}.${target.arch}` },
    digest: digest ?? null,
    signatures,
    keys: keys.map(({ keyId, fingerprint }) => ({ keyId, fingerprint })),
    payload: { sha256: payload.sha256, sizeBytes: payload.sizeBytes, members: members.length + 1 },
    files: checksums?.files ?? [],
    others,
  };
}

export function renderInventory(inventory: Inventory, origin: KeyOrigin): string {
  const { bundle, components, packages, runtime, collector, programs, totals } = inventory;
  const banner = inventory.verified ? 'verified: every byte is as it was signed' : NOT_VERIFIED;
  return lines([
    banner,
    '',
    `${bundle.name} ${bundle.version}, sequence ${String(bundle.sequence)}, for ${bundle.target.os} ${bundle.target.arch} (${bundle.target.releases.map(plain).join(', ')})`,
    ...(bundle.description === '' ? [] : [`  ${plain(bundle.description)}`]),
    ...section('signed by', table(signedRows(inventory, origin), '  ')),
    ...components.flatMap((component) =>
      section(`component ${component.name} ${component.version}`, componentLines(component)),
    ),
    ...packageGroups(packages),
    ...section('runtime and programs', [
      ...table(
        [
          [runtime.path, formatBytes(runtime.sizeBytes), `sha256 ${runtime.sha256}`],
          ['', '', `Node ${plain(runtime.version)} from ${plain(runtime.origin)}`],
          ...programs.map((program) => [
            program.path,
            formatBytes(program.sizeBytes),
            `sha256 ${program.sha256}`,
          ]),
        ],
        '  ',
        [1],
      ),
    ]),
    ...section('collected in', [
      `  ${plain(collector.image)}`,
      `  ${collector.contextSha256 === null ? 'an image given by name: no recipe is known' : `built from a folder with sha256 ${collector.contextSha256}`}`,
    ]),
    ...section('totals', [
      ...table(
        [
          ['members', String(totals.members), formatBytes(totals.sizeBytes)],
          ['packages', String(totals.packages.count), formatBytes(totals.packages.sizeBytes)],
          ['sources', String(totals.sources.count), formatBytes(totals.sources.sizeBytes)],
        ],
        '  ',
        [1, 2],
      ),
      ...counted('licences', totals.licences),
      ...counted('RPM signers', totals.signers),
      ...counted('repositories', totals.repositories),
    ]),
    '',
    'Summary, source RPM, origin and SHA-256 of each package: -o json',
    banner,
  ]);
}

function signatureRows(signatures: readonly Signature[], origin: KeyOrigin): string[][] {
  return signatures.flatMap(({ keyId, state, fingerprint }) => {
    switch (state) {
      case 'good':
        return [
          ['signature', `good, key ${keyId}, ${KEY_WORDS[origin]}`],
          ['', formatFingerprint(fingerprint ?? '')],
        ];
      case 'bad':
        return [['signature', `BAD, key ${keyId}: the file is not this key's signature`]];
      case 'unknown':
        return [['signature', `not checked, key ${keyId}: no such key was given`]];
      case 'removed':
        return [['signature', `does not count, key ${keyId}: it was removed from this node's trusted keys`]];
    }
  });
}

function signedRows(
  { verified, signatures, digest, payloadSha256, others }: Inventory,
  origin: KeyOrigin,
): string[][] {
  return [
    ...(signatures.length === 0 ? [['signature', 'there is none']] : signatureRows(signatures, origin)),
    ...(digest === undefined ? [] : [['checksums', `sha256 ${digest}${verified ? '' : ' (not proved)'}`]]),
    ...(payloadSha256 === undefined ? [] : [['payload', `sha256 ${payloadSha256}`]]),
    ...(others.length === 0
      ? []
      : [['not signed', `also in the folder, no part of the bundle: ${some(others)}`]]),
  ];
}

function componentLines(component: Component): string[] {
  const { source } = component;
  const command = (argv: readonly string[]): string => argv.map(word).join(' ');
  const many = (title: string, values: readonly string[]): string[][] =>
    values.map((value, index) => [index === 0 ? title : '', value]);
  return table(
    [
      ['licence', plain(component.licence)],
      ['source', plain(source.url)],
      ['', `${plain(source.ref)}, commit ${source.commit}`],
      ['', `tree ${source.tree}`],
      ['', `${source.path}, ${formatBytes(source.sizeBytes)}, sha256 ${source.sha256}`],
      ['packages', component.packages.map(requested).join(' ') || 'none'],
      ...many(
        'by others',
        component.packagesElsewhere.map((name) => `${plain(name)}: no RPM here has this name`),
      ),
      ...many('build', component.build.map(command)),
      ['install', command(component.install)],
      ...many('files', component.files.map(plain)),
      ...many(
        'links',
        component.links.map((link) => `${link.path} → ${link.to}`),
      ),
      ...many('thrown away', component.discard.map(plain)),
      ...(component.smoke === undefined ? [] : [['smoke test', command(component.smoke)]]),
      ...(component.configuration === undefined
        ? []
        : [['configured', configuredBy(component.configuration)]]),
    ],
    '  ',
  );
}

function requested(entry: Component['packages'][number]): string {
  return typeof entry === 'string' ? plain(entry) : `${plain(entry.name)}(${entry.needed})`;
}

function configuredBy(configuration: NonNullable<Component['configuration']>): string {
  return typeof configuration === 'string'
    ? `by the renderer "${configuration}"`
    : 'by its own templates, which are in bundle.json';
}

/** A word of a command, quoted where a reader could take it for two. No shell ever reads it. */
function word(text: string): string {
  const shown = plain(text);
  return /^[^\s'"\\]+$/.test(shown) ? shown : `'${shown}'`;
}

/** Packages by the components that name them; what they pull in comes last. */
function packageGroups(packages: readonly Package[]): string[] {
  const groups = new Map<string, Package[]>();
  for (const entry of packages) {
    const title = entry.requiredBy.join(' and ');
    const group = groups.get(title);
    if (group === undefined) groups.set(title, [entry]);
    else group.push(entry);
  }
  const dependencies = groups.get('') ?? [];
  groups.delete('');
  const cells = (entry: Package): string[] => [
    entry.nevra,
    formatBytes(entry.sizeBytes),
    plain(entry.origin.repository),
    entry.signer.slice(-16).toLowerCase(),
    plain(entry.licence),
  ];
  const titled = [
    ...[...groups].map(([title, entries]) => ({
      title: `packages that ${title} ${title.includes(' and ') ? 'ask' : 'asks'} for`,
      entries,
    })),
    ...(dependencies.length === 0 ? [] : [{ title: 'packages that these depend on', entries: dependencies }]),
  ];
  // One table, so that the columns of all groups stand below each other.
  const [head = '', ...rows] = table(
    titled.flatMap(({ entries }) => entries.map(cells)),
    '  ',
    [1],
    ['package', 'size', 'from', 'signer', 'licence'],
  );
  let shown = 0;
  return titled.flatMap(({ title, entries }) => {
    const own = rows.slice(shown, (shown += entries.length));
    return section(`${title} (${String(entries.length)})`, [head, ...own]);
  });
}

function counted(title: string, counts: Readonly<Record<string, number>>): string[] {
  const rows = Object.entries(counts).map(([name, count]) => [String(count), name]);
  return rows.length === 0 ? [] : [`  ${title}`, ...table(rows, '    ', [0])];
}

function section(title: string, body: readonly string[]): string[] {
  return ['', title, ...body];
}

/** Columns as wide as their widest cell; the last one is not padded. */
function table(
  rows: readonly (readonly string[])[],
  indent: string,
  rightAligned: readonly number[] = [],
  head?: readonly string[],
): string[] {
  const all = head === undefined ? rows : [head, ...rows];
  const widths: number[] = [];
  for (const row of all)
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, [...cell].length);
  return all.map((row) =>
    `${indent}${row
      .map((cell, index) => {
        const space = ' '.repeat((widths[index] ?? 0) - [...cell].length);
        if (rightAligned.includes(index)) return space + cell;
        return index === row.length - 1 ? cell : cell + space;
      })
      .join('  ')}`.trimEnd(),
  );
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 10).join(', ');
  return names.length > 10 ? `${shown} and ${String(names.length - 10)} more` : shown;
}

function lines(all: readonly string[]): string {
  return `${all.join('\n')}\n`;
}
