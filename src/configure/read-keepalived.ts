/** One vrrp_instance as a keepalived.conf says it. */
export interface WrittenInstance {
  readonly name: string;
  readonly interface: string | null;
  readonly virtualRouterId: number | null;
  readonly priority: number | null;
  readonly advertIntervalSeconds: number | null;
  readonly source: string | null;
  readonly peers: readonly string[];
  readonly preempt: boolean;
  readonly vips: readonly string[];
  readonly secret: string | null;
}

interface Block {
  readonly words: readonly string[];
  readonly lines: Block[];
}

/**
 * The instances of a keepalived.conf as it lies on a node, also after somebody has edited it: not only what
 * renderKeepalived writes. What includes bring in is not read.
 */
export function readKeepalived(text: string): WrittenInstance[] {
  return blocksOf(text)
    .filter(({ words }) => words[0] === 'vrrp_instance')
    .map(instanceOf);
}

function blocksOf(text: string): Block[] {
  const root: Block = { words: [], lines: [] };
  const open: Block[] = [root];
  for (const line of text.split('\n'))
    for (const piece of (line.replace(/[!#].*$/, '').match(/[{}]|[^{}]+/g) ?? []).map((one) => one.trim()))
      if (piece === '}') {
        if (open.length > 1) open.pop();
      } else if (piece === '{') {
        const last = open[open.length - 1]?.lines.slice(-1)[0];
        if (last !== undefined) open.push(last);
      } else if (piece !== '') open[open.length - 1]?.lines.push({ words: piece.split(/\s+/), lines: [] });
  return root.lines;
}

function instanceOf(block: Block): WrittenInstance {
  const value = (keyword: string, within: Block | undefined): string | null =>
    within?.lines.find(({ words }) => words[0] === keyword)?.words[1] ?? null;
  const number = (keyword: string): number | null => {
    const found = Number(value(keyword, block) ?? Number.NaN);
    return Number.isFinite(found) ? found : null;
  };
  const inner = (keyword: string): Block | undefined => block.lines.find(({ words }) => words[0] === keyword);
  const first = (keyword: string): string[] =>
    (inner(keyword)?.lines ?? []).map(({ words }) => (words[0] ?? '').split('/')[0] ?? '');
  return {
    name: block.words[1] ?? '',
    interface: value('interface', block),
    virtualRouterId: number('virtual_router_id'),
    priority: number('priority'),
    advertIntervalSeconds: number('advert_int'),
    source: value('unicast_src_ip', block),
    peers: first('unicast_peer'),
    preempt: inner('nopreempt') === undefined,
    vips: first('virtual_ipaddress'),
    secret: value('auth_pass', inner('authentication')),
  };
}
