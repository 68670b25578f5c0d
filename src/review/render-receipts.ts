import { plain } from '../model/plain.js';
import type { PathState, RunReceipt } from '../model/run-receipt.js';
import type { ReadReceipt } from './receipt-chain.js';

/** The best that is known, with what says so. */
export function whoInWords(who: RunReceipt['who']): string {
  if (who === null) return 'not known';
  const name = ({ uid, name: known }: { uid: number; name: string | null }): string =>
    known ?? `uid ${String(uid)}`;
  if (who.login !== null) return `${name(who.login)} (login)`;
  if (who.above !== null) return `${name(who.above)} (a process above)`;
  if (who.sudo !== null) return `${name(who.sudo)} (SUDO_UID)`;
  if (who.terminal !== null) return `${name(who.terminal.owner)} (owner of ${who.terminal.path})`;
  return `uid ${String(who.uid)}, login not known`;
}

/** One line of `receipts list -o json`. */
export function receiptSummary({ digest, receipt }: ReadReceipt): Record<string, unknown> {
  const { number, run, startedAt, command, outcome, bundle, error } = receipt;
  return {
    ...{ number, digest, run, startedAt, who: whoInWords(receipt.who), command, outcome },
    ...{ bundle: bundle === null ? null : `${bundle.name} ${bundle.version}`, error: error?.code ?? null },
  };
}

export function renderReceipts(receipts: readonly ReadReceipt[], unread: readonly string[]): string {
  if (receipts.length + unread.length === 0) return 'no receipts: nothing was changed on this node\n';
  const rows = receipts.map(({ digest, receipt }) => [
    String(receipt.number),
    receipt.startedAt,
    whoInWords(receipt.who),
    `${receipt.command}${receipt.bundle === null ? '' : ` ${receipt.bundle.name} ${receipt.bundle.version}`}`,
    `${receipt.outcome}${receipt.error === null ? '' : ` (${receipt.error.code})`}`,
    digest.slice(0, 16),
  ]);
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return [
    ...rows.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    ),
    ...unread.map((name) => `cannot be read: ${name} (see: airbundle receipts check)`),
    '',
  ]
    .map(plain)
    .join('\n');
}

export function renderReceipt({ digest, receipt }: ReadReceipt): string {
  const { bundle, keys, site, verified, commands, packages, error, program } = receipt;
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
  return [
    `receipt ${String(receipt.number)}: ${digest}`,
    `follows    ${receipt.previous ?? 'nothing: it is the first'}`,
    `what       ${receipt.command}: ${receipt.outcome}${receipt.source === 'journal' ? ', written by a later run from the journal' : ''}`,
    `where      ${receipt.host}, run ${receipt.run}`,
    `who        ${whoInWords(receipt.who)}`,
    `when       ${receipt.startedAt} to ${receipt.endedAt ?? 'not known'}${receipt.durationMs === null ? '' : `, ${(receipt.durationMs / 1000).toFixed(1)} s`}`,
    ...(program === null
      ? []
      : [`program    airbundle ${program.version}, ${program.sha256 ?? 'digest not known'}`]),
    ...(bundle === null
      ? []
      : [
          `bundle     ${bundle.name} ${bundle.version}${bundle.sequence === null ? '' : `, sequence ${String(bundle.sequence)}`}, ${bundle.digest}`,
        ]),
    ...(keys === null ? [] : [`signed by  ${keys.verified.join(', ')}; ${String(keys.threshold)} needed`]),
    ...(site === null ? [] : [`site       ${site.node ?? 'no node'}, ${site.digest ?? 'no digest'}`]),
    ...(receipt.flags.length === 0 ? [] : [`flags      ${receipt.flags.join(' ')}`]),
    ...(receipt.planDigest === null ? [] : [`plan       ${receipt.planDigest}`]),
    ...(verified === null
      ? []
      : [
          verified.payload === null
            ? 'verified   the signature; no step needed the payload'
            : `verified   payload ${verified.payload}, ${String(verified.members)} members, ${String(Object.keys(verified.rpms).length)} of them RPMs`,
        ]),
    `packages   ${packagesInWords(packages.before)} before, ${packagesInWords(packages.after)} after`,
    ...(error === null
      ? []
      : [
          `error      ${error.code} (exit ${String(error.exit)}): ${error.message}${error.where === null ? '' : ` at ${error.where}`}`,
        ]),
    ...section('changes', receipt.changes),
    ...section('warnings', receipt.warnings),
    ...section(
      'services',
      Object.entries(receipt.services).map(
        ([unit, { before, after }]) => `${unit}: ${unitInWords(before)} → ${unitInWords(after)}`,
      ),
    ),
    ...section(
      'files',
      Object.entries(receipt.files).map(
        ([path, { before, after, afterUnknown }]) =>
          `${path}: ${stateInWords(before)} → ${afterUnknown === true ? 'not known' : stateInWords(after)}`,
      ),
    ),
    ...(receipt.moreFiles > 0 ? [`  … and ${String(receipt.moreFiles)} more`] : []),
    ...(commands === null
      ? ['commands   not known']
      : section(
          'commands',
          commands.list.map(
            ({ argv, exitCode, signal, startError, durationMs }) =>
              `${exitCode === null ? (signal ?? startError ?? 'no exit code') : String(exitCode)}  ${String(durationMs)} ms  ${argv.join(' ')}`,
          ),
        )),
    ...(commands !== null && commands.more > 0 ? [`  … and ${String(commands.more)} more`] : []),
    '',
  ]
    .map(plain)
    .join('\n');
}

const packagesInWords = (packages: RunReceipt['packages']['before']): string =>
  packages === null ? 'not known' : `${String(packages.count)} (${packages.digest.slice(0, 16)})`;

const unitInWords = (unit: RunReceipt['services'][string]['before']): string =>
  unit === null
    ? 'not known'
    : `${unit.active === '' ? 'not there' : unit.active}/${unit.enabled === '' ? 'not there' : unit.enabled}`;

function stateInWords(state: PathState | null): string {
  if (state === null) return 'nothing';
  if ('link' in state) return `link to ${state.link}`;
  return `${state.sha256.slice(0, 16)} ${state.mode} ${String(state.uid)}:${String(state.gid)}`;
}
