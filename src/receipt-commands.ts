import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { CommonOptions } from './commandline.js';
import { commonOptions } from './commandline.js';
import { usageError } from './errors.js';
import type { Host, ReadHost } from './host/host.js';
import { target } from './model/layout.js';
import { plain, plainJson } from './model/plain.js';
import type { ChainCheck, RawReceipt, ReadReceipt } from './review/receipt-chain.js';
import {
  checkChain,
  exportedReceipts,
  exportHead,
  exportLine,
  findReceipt,
  parseReceipt,
  requireWhole,
  storedReceipts,
} from './review/receipt-chain.js';
import { receiptSummary, renderReceipt, renderReceipts } from './review/render-receipts.js';

interface CheckOptions extends CommonOptions {
  readonly noted?: string;
}

interface NodeSetting {
  readonly host: () => Host;
  /** @throws BundleError exit 5 */
  readonly requireRoot: () => void;
  readonly absolute: (path: string) => string;
}

/** `receipts list|show|check|export` on a node. */
export function receiptCommands(root: Command, setting: NodeSetting): void {
  const { host, requireRoot, absolute } = setting;
  const receipts = receiptsCommand(
    root,
    'what was done on this node, by whom, and whether that record is whole',
  );
  commonOptions(receipts.command('list', { isDefault: true }))
    .description('every run that changed this node: number, time, who, what, how it ended')
    .addHelpText('after', '\nExample:\n  airbundle receipts')
    .action(async (options: CommonOptions) => {
      requireRoot();
      const all: ReadReceipt[] = [];
      const unread: string[] = [];
      for await (const raw of storedReceipts(host())) {
        const receipt = parseReceipt(raw);
        if (receipt === undefined) unread.push(raw.name);
        else all.push(receipt);
      }
      print(
        options.output === 'json'
          ? json({ receipts: all.map(receiptSummary), unread })
          : renderReceipts(all, unread),
      );
    });
  commonOptions(receipts.command('show'))
    .description('one receipt: commands, files and packages before and after')
    .argument('<receipt>', 'its number, its run, or at least 8 digits of its digest')
    .addHelpText(
      'after',
      '\nExamples:\n  airbundle receipts show 7\n  airbundle receipts show 3f2a9c10 -o json',
    )
    .action(async (given: string, options: CommonOptions) => {
      requireRoot();
      const found = await findReceipt(host(), given);
      print(
        options.output === 'json' ? json({ digest: found.digest, ...found.receipt }) : renderReceipt(found),
      );
    });
  checkCommand(receipts, '[file]', 'an exported file; without it, the receipts of this node').action(
    async (file: string | undefined, options: CheckOptions) => {
      if (file === undefined) requireRoot();
      await check(host(), file === undefined ? undefined : absolute(file), options);
    },
  );
  commonOptions(receipts.command('export'))
    .description('write every receipt, byte for byte, into one file that can be checked elsewhere')
    .argument('<file>', 'a new file')
    .addHelpText('after', '\nExample:\n  airbundle receipts export /media/usb/lb1-receipts.jsonl')
    .action(async (file: string, options: CommonOptions) => {
      requireRoot();
      const path = absolute(file);
      const records = await exportTo(host(), path);
      const { count, head, problems } = await checkChain(records);
      print(
        options.output === 'json'
          ? json({ file: path, count, head, problems })
          : `${String(count)} receipts in ${plain(path)}${headInWords(head)}\n${problems.length > 0 ? 'the chain is broken; see: airbundle receipts check\n' : ''}`,
      );
    });
}

/** `receipts check FILE` away from the node. */
export function receiptReviewCommands(root: Command, setting: { readonly host: () => ReadHost }): void {
  const receipts = receiptsCommand(root, "check what a node's command exported");
  checkCommand(receipts, '<file>', 'the exported file').action((file: string, options: CheckOptions) =>
    check(setting.host(), file, options),
  );
}

function receiptsCommand(root: Command, description: string): Command {
  return root.command('receipts').description(description);
}

function checkCommand(receipts: Command, argument: string, description: string): Command {
  return commonOptions(receipts.command('check'))
    .description('walk the chain: nothing is missing, and nothing was altered')
    .argument(argument, description)
    .option('--noted <digest>', 'a receipt with this digest (8 or more digits) has to be in it', someDigits)
    .addHelpText(
      'after',
      '\nExit code 0: the chain is whole. 4: it is not, with every place.\nWhat was cut off its end cannot be seen from the chain alone: note the digest that a run prints, and give it.\n\nExample:\n  airbundle receipts check --noted 3f2a9c10',
    );
}

function someDigits(text: string): string {
  const digits = text.toLowerCase();
  if (/^[0-9a-f]{8,64}$/.test(digits)) return digits;
  throw new InvalidArgumentError(`"${text}" is not 8 to 64 hex digits`);
}

async function check(host: ReadHost, file: string | undefined, options: CheckOptions): Promise<void> {
  const result = await checkChain(
    file === undefined ? storedReceipts(host) : await exportedReceipts(host, file),
  );
  const { count, head, problems } = result;
  if (options.output === 'json') print(json({ count, head, problems }));
  requireWhole(result, file ?? target.receipts, options.noted);
  if (options.output === 'text') print(`${String(count)} receipts, the chain is whole${headInWords(head)}\n`);
}

const headInWords = (head: ChainCheck['head']): string =>
  head === null ? '' : `; the last is number ${String(head.number)}: ${head.digest}`;

/** @throws BundleError exit 2 when there is such a file */
async function exportTo(host: Host, path: string): Promise<RawReceipt[]> {
  if ((await host.lstat(path)) !== undefined)
    throw usageError({
      code: 'EXPORT_EXISTS',
      message: 'there is such a file already; it was left as it is',
      where: path,
      hint: 'Give the name of a new file.',
    });
  const name = (await host.read('/proc/sys/kernel/hostname'))?.toString('utf8').trim() ?? '';
  const records: RawReceipt[] = [];
  const lines = [exportHead(name)];
  for await (const raw of storedReceipts(host)) {
    records.push(raw);
    lines.push(exportLine(raw));
  }
  await host.writeDurable(path, lines.join(''), { mode: 0o600 });
  return records;
}

const json = (value: unknown): string => `${plainJson(value)}\n`;

function print(text: string): void {
  process.stdout.write(text);
}
