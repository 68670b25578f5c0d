import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { BundleError } from '../../src/errors.js';
import type { Host } from '../../src/host/host.js';
import { unsettled } from '../../src/install/unsettled.js';
import { makePlan } from '../../src/install/plan.js';
import { readReceipt } from '../../src/install/receipt.js';
import { parseChecksums } from '../../src/model/checksums.js';
import { formatContents, parseContents } from '../../src/model/contents.js';
import { parseManifest } from '../../src/model/manifest.js';
import { parseSite } from '../../src/model/site.js';
import { BLOCK_BYTES, parseUstarHeader, ustarHeader } from '../../src/model/ustar.js';
import { planRequest, rpm, someConfiguration, someContents, someFacts } from '../install/facts.js';
import type { Options } from './options.js';
import type { GroupResult } from './tally.js';
import { othersFirst, Tally } from './tally.js';

/*
 * Whatever they are given, the readers either read it or say why not: no crash, no hang. What they are
 * given is mostly almost right: a good document in which something was changed.
 */

/** A hang, not a busy machine. */
const SLOW_MS = 5000;
/** How many cases are drawn at once; the time limit is looked at in between. */
const ROUND = 500;

const shipped = (name: string): string =>
  readFileSync(new URL(`../../manifests/${name}`, import.meta.url), 'utf8');

const CONTENTS = formatContents(
  someContents({ rpms: [rpm('a-1.0-1.el7.x86_64'), rpm('b-2:1.0-1.el7.noarch')] }),
);
const SUMS = `# airbundle-1 name=demo version=1.2.3 sequence=7 target=el7.x86_64\n${'a'.repeat(64)}  demo-1.2.3-el7.x86_64.tar\n${'b'.repeat(64)}  install.sh\n`;
const JOURNAL = [
  {
    event: 'begin',
    digest: 'x',
    bundle: 'demo 1',
    node: null,
    units: [{ unit: 'a.service', active: 'active', enabled: 'enabled' }],
  },
  { event: 'step-start', step: 'rpms', data: ['a-1.0-1.el7.x86_64'] },
  { event: 'displaced', path: '/usr/local/bin/a', backup: null, link: null, mode: 493, uid: 0, gid: 0 },
  { event: 'made', path: '/usr/local/share/a' },
  { event: 'step-done', step: 'rpms' },
  { event: 'undone', step: 'check', problems: [] },
  { event: 'commit', digest: 'x' },
]
  .map((line) => `${JSON.stringify({ time: '2026-01-01T00:00:00.000Z', run: 'r', ...line })}\n`)
  .join('');
const RECEIPT = JSON.stringify({
  airbundleReceipt: 1,
  digest: 'a'.repeat(64),
  keyId: 'k',
  committedAt: '2026-01-01T00:00:00.000Z',
  node: null,
  siteDigest: null,
  contents: JSON.parse(CONTENTS) as unknown,
  recipes: {},
  files: [],
  links: [],
  configured: [],
  watched: { units: [], versions: [], vips: [], sockets: [] },
  rpms: { before: 1, after: 2, installed: [] },
});

const STRANGE = [
  '\0',
  '\n',
  '"',
  '{',
  '}',
  '[',
  ']',
  ': ',
  '- ',
  '&a ',
  '*a',
  '<<: ',
  '!!js ',
  '\u202e',
  '\ud800',
  '%',
  '../',
  '1e999',
  '-0',
  '__proto__',
  'constructor',
  'null',
  '\t',
  '# ',
  '|',
  '>-',
  '~',
];

/** What opens a list or a map, over and over: a reader that recurses runs out of its stack. */
const DEEP = fc
  .record({ open: fc.constantFrom('[', '{', '{a: ', '- ', '? ', '["a",', '{"a":'), times: fc.nat(5000) })
  .map(({ open, times }) => open.repeat(times));

/** A text that is almost the good one. */
const almost = (good: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
    {
      weight: 8,
      arbitrary: fc
        .array(
          fc.record({
            at: fc.nat(good.length),
            drop: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(200)),
            put: fc.oneof(
              { weight: 30, arbitrary: fc.constantFrom(...STRANGE) },
              { weight: 30, arbitrary: fc.string({ maxLength: 5 }) },
              { weight: 30, arbitrary: fc.constant('') },
              { weight: 1, arbitrary: DEEP },
            ),
          }),
          { minLength: 1, maxLength: 3 },
        )
        .map((edits) =>
          edits.reduce((text, { at, drop, put }) => text.slice(0, at) + put + text.slice(at + drop), good),
        ),
    },
  );

/** A document in which one value is another one. */
const changedValue = (good: string): fc.Arbitrary<string> => {
  const paths: (string | number)[][] = [];
  const visit = (value: unknown, path: (string | number)[]): void => {
    paths.push(path);
    if (Array.isArray(value)) for (const [index, one] of value.entries()) visit(one, [...path, index]);
    else if (typeof value === 'object' && value !== null)
      for (const [name, one] of Object.entries(value)) visit(one, [...path, name]);
  };
  visit(JSON.parse(good), []);
  return fc
    .record({ path: fc.constantFrom(...paths), value: fc.jsonValue({ maxDepth: 2 }) })
    .map(({ path, value }) => {
      const text = JSON.parse(good) as unknown;
      let at = text as Record<string | number, unknown>;
      for (const step of path.slice(0, -1)) at = at[step] as Record<string | number, unknown>;
      const last = path[path.length - 1];
      if (last === undefined) return JSON.stringify(value);
      at[last] = value;
      return JSON.stringify(text);
    });
};

interface Reader {
  readonly name: string;
  readonly inputs: fc.Arbitrary<unknown>;
  /** @throws BundleError when it refuses */
  readonly read: (input: never) => unknown;
}

const reader = <T>(name: string, inputs: fc.Arbitrary<T>, read: (input: T) => unknown): Reader => ({
  name,
  inputs,
  read,
});

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');

const words = (...given: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(fc.constantFrom(...given), fc.string({ maxLength: 8 }));
/** Nodes of every shape, before the same bundle. */
const anyFacts = fc.record({
  os: fc.record({
    id: words('centos', 'rhel', 'debian'),
    release: words('7.5.1804', '7.9.2009', '8', ''),
    name: fc.string(),
  }),
  arch: words('x86_64', 'aarch64'),
  cpus: fc.nat(512),
  installed: fc.array(
    fc.record({
      name: words('a', 'b', 'glibc', 'systemd', 'constructor'),
      epoch: fc.nat(3),
      version: words('1.0', '2.0', '~1', '1^', ''),
      release: words('1.el7', '0'),
      arch: words('x86_64', 'noarch', 'i686'),
    }),
    { maxLength: 6 },
  ),
  freeBytes: fc.oneof(fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER), fc.nat()),
  noexec: fc.subarray(['/var/lib/airbundle', '/usr']),
  readOnly: fc.subarray(['/usr/local', '/etc']),
  listening: fc.array(words('*:80', '10.0.0.11:7000')).map((all) => new Set(all)),
  selinux: fc.constantFrom('Enforcing' as const, 'Permissive' as const, 'none' as const),
});

const READERS: readonly Reader[] = [
  reader(
    'tar header',
    fc.oneof(
      fc.uint8Array({ minLength: BLOCK_BYTES, maxLength: BLOCK_BYTES }),
      fc.array(fc.record({ at: fc.nat(BLOCK_BYTES - 1), to: fc.nat(255) }), { maxLength: 4 }).map((edits) => {
        const block = ustarHeader({ path: 'rpms/a.rpm', mode: 0o644, sizeBytes: 700 });
        for (const { at, to } of edits) block[at] = to;
        return block;
      }),
    ),
    (given) => {
      const block = Buffer.from(given);
      const parsed = parseUstarHeader(block);
      if (parsed !== undefined && !ustarHeader(parsed).equals(block))
        throw new Error('accepted, and the packer writes another header');
    },
  ),
  reader('contents', fc.oneof(almost(CONTENTS), changedValue(CONTENTS)), (text) => {
    const contents = parseContents(text, 'bundle.json');
    parseContents(formatContents(contents), 'again');
  }),
  reader('X.sha256', almost(SUMS), (text) => parseChecksums(text, 'X.sha256')),
  reader('manifest', fc.oneof(almost(shipped('tts-ha.yaml')), almost(shipped('redis.yaml'))), (text) =>
    parseManifest(bytes(text), 'manifest.yaml'),
  ),
  reader(
    'site',
    fc.oneof(
      almost(shipped('sites/tts-pair.yaml')),
      almost(shipped('sites/tts-full.yaml')),
      almost(shipped('sites/redis.yaml')),
    ),
    (text) => parseSite(bytes(text), 'site.yaml'),
  ),
  reader('plan', fc.record({ facts: anyFacts, upgrade: fc.boolean() }), ({ facts, upgrade }) => {
    const plan = makePlan(
      planRequest({
        contents: someContents({ rpms: [rpm('a-1.0-1.el7.x86_64'), rpm('glibc-2:1.0-1.el7.x86_64')] }),
        facts: someFacts(facts),
        configuration: someConfiguration(),
        allow: { upgrade, protectedNames: [], takeOver: false },
      }),
    );
    if (new Set(plan.steps.map((step) => step.id)).size !== plan.steps.length)
      throw new Error('two steps have one name');
  }),
  reader('journal', almost(JOURNAL), (text) => unsettled(text)),
  reader('receipt', fc.oneof(almost(RECEIPT), changedValue(RECEIPT)), (text) =>
    readReceipt({ read: () => Promise.resolve(bytes(text)) } as unknown as Host),
  ),
];

async function judge(one: Reader, input: unknown): Promise<string | undefined> {
  const startMs = performance.now();
  try {
    await one.read(input as never);
  } catch (error) {
    if (!(error instanceof BundleError))
      return error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (error.exit === 1) return `an internal error: ${error.message}`;
  }
  const ms = performance.now() - startMs;
  return ms > SLOW_MS ? `it took ${String(Math.round(ms))} ms` : undefined;
}

export async function propertyGroup(options: Options): Promise<GroupResult> {
  const tally = new Tally(
    `generated input for ${READERS.map(({ name }) => name).join(', ')}`,
    'read, or refused with a reason; never slow',
    options,
  );
  const each = options.long ? 100_000 : 2000;
  tally.planned = each * READERS.length;
  const done = new Map<string, number>();
  for (let round = 0; round * ROUND < each; round += 1) {
    for (const one of READERS) {
      if (performance.now() > options.deadline) continue;
      const inputs = fc.sample(one.inputs, { seed: options.seed + round, numRuns: ROUND });
      for (const input of inputs) {
        await othersFirst();
        const problem = await judge(one, input);
        if (problem !== undefined)
          tally.add(`${one.name}: ${JSON.stringify(input).slice(0, 300)}`, { fired: true, problem });
        else tally.addMany(1);
      }
      done.set(one.name, (done.get(one.name) ?? 0) + inputs.length);
    }
  }
  tally.note = [...done].map(([name, count]) => `${name} ${String(count)}`).join(', ');
  return tally.result();
}
