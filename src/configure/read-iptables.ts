/** What the node's packet filter does with IP protocol 112 from its peers. */
export interface PacketVerdict {
  readonly state: 'open' | 'closed' | 'unknown';
  /** The rule or policy that decides. */
  readonly because: string;
}

export interface Advert {
  /** The peer that it comes from. */
  readonly from: string;
  /** The interface that it comes in by. */
  readonly interface: string | null;
}

const MAX_DEPTH = 20;

/**
 * Follows an advert through the chains of `iptables -S`, from INPUT. A rule with a match that this does not know
 * is passed over, except that it makes an end in a closed policy "unknown" when it accepts.
 */
export function judgeAdvert(rules: string, advert: Advert): PacketVerdict {
  const lines = rules.split('\n').map((line) => line.trim());
  if (!lines.some((line) => line.startsWith('-P INPUT ')))
    return { state: 'unknown', because: 'iptables says nothing of INPUT' };
  const unclear: string[] = [];
  const decided = follow(lines, 'INPUT', advert, unclear, 0);
  const verdict = decided ?? policyOf(lines);
  const [maybe] = unclear;
  return verdict.state === 'closed' && maybe !== undefined
    ? { state: 'unknown', because: `${verdict.because}, unless this one matches: ${maybe}` }
    : verdict;
}

function policyOf(lines: readonly string[]): PacketVerdict {
  const policy = lines.find((line) => line.startsWith('-P INPUT ')) ?? '';
  return { state: policy === '-P INPUT ACCEPT' ? 'open' : 'closed', because: policy };
}

function follow(
  lines: readonly string[],
  chain: string,
  advert: Advert,
  unclear: string[],
  depth: number,
): PacketVerdict | undefined {
  if (depth > MAX_DEPTH) return undefined;
  for (const rule of lines.filter((line) => line.startsWith(`-A ${chain} `))) {
    const { match, jump } = readRule(rule, advert);
    if (match === 'no' || jump === undefined) continue;
    if (jump === 'RETURN' && match === 'yes') return undefined;
    const verdict = verdictOf(jump, rule) ?? follow(lines, jump, advert, unclear, depth + 1);
    if (verdict === undefined) continue;
    if (match === 'yes') return verdict;
    if (verdict.state === 'open') unclear.push(rule);
  }
  return undefined;
}

function verdictOf(jump: string, rule: string): PacketVerdict | undefined {
  if (jump === 'ACCEPT') return { state: 'open', because: rule };
  return jump === 'DROP' || jump === 'REJECT' ? { state: 'closed', because: rule } : undefined;
}

type Match = 'yes' | 'no' | 'perhaps';

function readRule(rule: string, advert: Advert): { match: Match; jump: string | undefined } {
  const words = rule.split(/\s+/).slice(2);
  let match: Match = 'yes';
  let jump: string | undefined;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === '-j' || word === '-g') {
      jump = words[at + 1];
      break;
    }
    const negated = word === '!';
    const option = negated ? (words[(at += 1)] ?? '') : word;
    const value = words[(at += 1)] ?? '';
    const fits = matches(option, value, advert);
    if (fits === undefined) match = match === 'no' ? 'no' : 'perhaps';
    else if (fits === negated) match = 'no';
  }
  return { match, jump };
}

/** undefined: a match that this does not know. */
function matches(option: string, value: string, { from, interface: device }: Advert): boolean | undefined {
  switch (option) {
    case '-p':
      return ['112', 'vrrp', 'all'].includes(value);
    case '-s':
      return within(from, value);
    case '-i':
      return device === null
        ? undefined
        : value.endsWith('+')
          ? device.startsWith(value.slice(0, -1))
          : device === value;
    default:
      return undefined;
  }
}

function within(address: string, network: string): boolean {
  const [base = '', prefix = '32'] = network.split('/');
  const size = 2 ** (32 - Number(prefix));
  return Math.floor(toNumber(address) / size) === Math.floor(toNumber(base) / size);
}

function toNumber(address: string): number {
  return address.split('.').reduce((total, octet) => total * 256 + Number(octet), 0);
}
