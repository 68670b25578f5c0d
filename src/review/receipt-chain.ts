import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { refusedError, untrustedError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import { Sha256 } from '../model/grammar.js';
import { target } from '../model/layout.js';
import type { RunReceipt } from '../model/run-receipt.js';
import { parseReceiptName, RunReceiptSchema } from '../model/run-receipt.js';
import { readSmall } from './small-file.js';

const MAX_RECORD_BYTES = 16 * 1024 * 1024;
const MAX_EXPORT_BYTES = 512 * 1024 * 1024;
const MAX_RECORDS = 100_000;

/** A record as it lies there, nothing of it believed. */
export interface RawReceipt {
  readonly name: string;
  readonly bytes: Buffer;
}

export interface ReadReceipt {
  readonly name: string;
  readonly digest: Sha256;
  readonly receipt: RunReceipt;
}

export interface ChainProblem {
  /** The file, or the number that is missing. */
  readonly place: string;
  readonly message: string;
}

export interface ChainCheck {
  readonly count: number;
  /** The last record; null: there is none. */
  readonly head: { readonly number: number; readonly digest: Sha256 } | null;
  readonly problems: readonly ChainProblem[];
  /** Digest of every record, in order. */
  readonly digests: readonly Sha256[];
}

export const digestOf = (bytes: Uint8Array): Sha256 =>
  Sha256.parse(createHash('sha256').update(bytes).digest('hex'));

/** Names of the records of this machine, by number; others are left out. */
export async function receiptNames(host: ReadHost): Promise<string[]> {
  const names = (await host.list(target.receipts)).filter((name) => parseReceiptName(name) !== undefined);
  if (names.length > MAX_RECORDS)
    throw refusedError({
      code: 'TOO_MANY_RECEIPTS',
      message: `there are ${String(names.length)} receipts; at most ${String(MAX_RECORDS)} are read`,
      where: target.receipts,
      hint: 'Look what lies there: ls -l',
    });
  return names.sort((a, b) => numberOf(a) - numberOf(b) || (a < b ? -1 : 1));
}

const numberOf = (name: string): number => parseReceiptName(name)?.number ?? 0;

/** Every record of this machine, one after the other. @throws BundleError exit 4 for one that is no small file */
export async function* storedReceipts(host: ReadHost): AsyncGenerator<RawReceipt> {
  for (const name of await receiptNames(host)) {
    const bytes = await readSmall(host, join(target.receipts, name), MAX_RECORD_BYTES);
    if (bytes !== undefined) yield { name, bytes };
  }
}

/** undefined: it cannot be read as a record. */
export function parseReceipt({ name, bytes }: RawReceipt): ReadReceipt | undefined {
  try {
    const receipt = RunReceiptSchema.parse(JSON.parse(bytes.toString('utf8')));
    return { name, digest: digestOf(bytes), receipt };
  } catch {
    return undefined;
  }
}

/** Walks the chain: every number is there, every record says the SHA-256 of the one before. */
export async function checkChain(
  records: AsyncIterable<RawReceipt> | Iterable<RawReceipt>,
): Promise<ChainCheck> {
  const problems: ChainProblem[] = [];
  const digests: Sha256[] = [];
  let head: ChainCheck['head'] = null;
  for await (const raw of records) {
    const { name } = raw;
    const digest = digestOf(raw.bytes);
    const number = numberOf(name);
    const expected: number = (head?.number ?? 0) + 1;
    if (number < expected)
      problems.push({ place: name, message: `there is another record with the number ${String(number)}` });
    else if (number > expected)
      problems.push({
        place: name,
        message: `${range(expected, number - 1)} missing before it`,
      });
    const parsed = parseReceipt(raw);
    if (parsed === undefined) problems.push({ place: name, message: 'it cannot be read as a record' });
    else problems.push(...linkProblems(parsed, number, expected, head));
    digests.push(digest);
    head = { number, digest };
  }
  return { count: digests.length, head, problems, digests };
}

function linkProblems(
  { name, receipt }: ReadReceipt,
  number: number,
  expected: number,
  before: ChainCheck['head'],
): ChainProblem[] {
  const problems: ChainProblem[] = [];
  const run = parseReceiptName(name)?.run;
  if (receipt.number !== number || receipt.run !== run)
    problems.push({
      place: name,
      message: `it says of itself that it is number ${String(receipt.number)} of run ${receipt.run}`,
    });
  if (number === expected && receipt.previous !== (before?.digest ?? null))
    problems.push({
      place: name,
      message: `it follows ${receipt.previous ?? 'nothing'}, but the record before it ${before === null ? 'is not there' : `has ${before.digest}`}: one of the two was altered`,
    });
  return problems;
}

const range = (first: number, last: number): string =>
  first === last ? `number ${String(first)} is` : `numbers ${String(first)} to ${String(last)} are`;

/** @throws BundleError exit 4 with every place; `noted` is a digest, or its beginning, that somebody wrote down */
export function requireWhole(check: ChainCheck, where: string, noted: string | undefined): void {
  const { problems, digests } = check;
  if (problems.length > 0)
    throw untrustedError({
      code: 'RECEIPTS_BROKEN',
      message: `the chain of receipts is broken at ${String(problems.length)} ${problems.length === 1 ? 'place' : 'places'}`,
      where,
      details: problems.slice(0, 50).map(({ place, message }) => `${place}: ${message}`),
      hint: 'Somebody or something changed this record of what was done here. Compare with an earlier export: airbundle receipts check FILE',
    });
  if (noted === undefined || digests.some((digest) => digest.startsWith(noted))) return;
  throw untrustedError({
    code: 'RECEIPT_NOT_THERE',
    message: `no receipt has the digest ${noted}`,
    where,
    hint: 'The chain is whole, but this receipt was cut off its end, or the chain was written anew. Compare with an earlier export.',
  });
}

/** Finds one by its number, its run or the beginning of its digest. @throws BundleError exit 2 or 4 */
export async function findReceipt(host: ReadHost, given: string): Promise<ReadReceipt> {
  for await (const raw of storedReceipts(host)) {
    const named = parseReceiptName(raw.name);
    const meant =
      (/^\d{1,6}$/.test(given) && named?.number === Number(given)) ||
      named?.run === given ||
      (/^[0-9a-f]{8,64}$/.test(given) && digestOf(raw.bytes).startsWith(given));
    if (!meant) continue;
    const found = parseReceipt(raw);
    if (found !== undefined) return found;
    throw untrustedError({
      code: 'RECEIPTS_BROKEN',
      message: 'this receipt cannot be read',
      where: join(target.receipts, raw.name),
      hint: 'See every place: airbundle receipts check',
    });
  }
  throw usageError({
    code: 'NO_SUCH_RECEIPT',
    message: `there is no receipt ${given}`,
    where: target.receipts,
    hint: 'Give a number, a run or at least 8 digits of a digest: airbundle receipts list',
  });
}

const ExportHead = z.strictObject({ airbundleReceiptsExport: z.literal(1), host: z.string() });
const ExportLine = z.strictObject({ name: z.string().max(200), base64: z.string() });

export const exportHead = (host: string): string =>
  `${JSON.stringify({ airbundleReceiptsExport: 1, host })}\n`;

/** The exact bytes, so that the chain can be checked elsewhere. */
export const exportLine = ({ name, bytes }: RawReceipt): string =>
  `${JSON.stringify({ name, base64: bytes.toString('base64') })}\n`;

/** The records in an exported file. @throws BundleError exit 4 when it is none, 2 when it is not there */
export async function exportedReceipts(host: ReadHost, path: string): Promise<RawReceipt[]> {
  const bytes = await readSmall(host, path, MAX_EXPORT_BYTES);
  if (bytes === undefined)
    throw usageError({
      code: 'NO_EXPORT',
      message: 'there is no such file',
      where: path,
      hint: 'See: ls -l',
    });
  const [head = '', ...lines] = bytes.toString('utf8').split('\n');
  const damaged = (line: number): Error =>
    untrustedError({
      code: 'BAD_EXPORT',
      message: 'this is no export of receipts, or it is damaged',
      where: `${path}:${String(line)}`,
      hint: 'Export them again on the node: airbundle receipts export FILE',
    });
  if (!ExportHead.safeParse(jsonOf(head)).success) throw damaged(1);
  if (lines.pop() !== '') throw damaged(lines.length + 2);
  if (lines.length > MAX_RECORDS) throw damaged(MAX_RECORDS);
  return lines.map((line, index) => {
    const parsed = ExportLine.safeParse(jsonOf(line));
    if (!parsed.success || parseReceiptName(parsed.data.name) === undefined) throw damaged(index + 2);
    return { name: parsed.data.name, bytes: Buffer.from(parsed.data.base64, 'base64') };
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
