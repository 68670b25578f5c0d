import { refusedError, stepError, untrustedError } from '../errors.js';
import type { Sha256 } from '../model/grammar.js';
import { byCodePoint, formatNevra, Nevra } from '../model/nevra.js';
import type { ClosureFacts, RpmFacts } from './judge-facts.js';

/** A key of the manifest. */
export interface PinnedKey {
  readonly fingerprint: string;
  /** The last 16 digits of the fingerprint, lower case. */
  readonly keyId: string;
}

/** An RPM that was signed by a pinned key, over all of its bytes. */
export interface JudgedRpm {
  readonly nevra: Nevra;
  readonly sha256: Sha256;
  /** Fingerprint of the key. */
  readonly signer: string;
  readonly licence: string;
  readonly summary: string;
  readonly sourceRpm: string;
  readonly provides: readonly string[];
}

interface Problem {
  readonly code: string;
  readonly text: string;
}

/**
 * Every RPM is judged before one error names all problems.
 * @throws BundleError exit 4 when a signature, digest or file is not what it should be; exit 5 when only
 * the set is wrong (i686, two versions of one name)
 */
export function judgeRpms(facts: readonly RpmFacts[], keys: readonly PinnedKey[]): JudgedRpm[] {
  const rpms: JudgedRpm[] = [];
  const problems: (Problem & { name: string })[] = [];
  for (const one of facts) {
    const judged = judgeRpm(one, keys);
    if ('code' in judged) problems.push({ ...judged, name: one.name });
    else rpms.push(judged);
  }
  if (problems.length === 0) problems.push(...repeatedNames(rpms));
  if (problems.length === 0) return rpms;

  const codes = [...new Set(problems.map((problem) => problem.code))];
  const [code = ''] = codes;
  const make = codes.every((each) => SET_CODES.has(each)) ? refusedError : untrustedError;
  throw make({
    code: codes.length === 1 ? code : 'RPMS_REFUSED',
    message:
      problems.length === 1
        ? `${problems[0]?.name ?? ''} ${problems[0]?.text ?? ''}`
        : `${String(problems.length)} of ${String(facts.length)} RPMs are refused`,
    details:
      problems.length === 1
        ? []
        : problems.map((problem) => `${problem.name} ${problem.text}`).sort(byCodePoint),
    hint: codes
      .map((each) => HINTS[each] ?? '')
      .filter((hint) => hint !== '')
      .join('\n'),
  });
}

const SET_CODES = new Set(['RPM_ARCH', 'RPM_TWO_VERSIONS', 'RPM_SOURCE']);

const HINTS: Readonly<Record<string, string>> = {
  RPM_NOT_RPM:
    "A server or proxy answered with a page instead of the package: open the repository's url in a browser.",
  RPM_DAMAGED:
    'The repository holds a damaged or altered package: do not use it; try another mirror of the same release.',
  RPM_UNSIGNED:
    'Use the distribution\'s own, signed package; or sign yours (rpmsign --addsign) and pin your key under "keys".',
  RPM_OTHER_KEY:
    'If you trust that key, pin its fingerprint and file under "keys" in the manifest; otherwise use a repository that the pinned key signs.',
  RPM_SIGNATURE_PARTIAL:
    'Use a package that is signed as a whole, as the distribution does; sign yours with: rpmsign --rpmv3 --addsign',
  RPM_BAD_HEADER: "Use the distribution's own package.",
  RPM_ARCH: 'The target is x86_64: remove what pulls it in from "packages".',
  RPM_SOURCE: 'A source package does not belong among the binary ones: look at the repository.',
  RPM_TWO_VERSIONS: 'rpm would install both: pin one, or remove the repository that brings the other.',
  STORE_DAMAGED:
    'The cache changed while it was being used: run the command again, which downloads that package anew.',
};

function judgeRpm(facts: RpmFacts, keys: readonly PinnedKey[]): JudgedRpm | Problem {
  if (facts.computedSha256 !== facts.sha256)
    return {
      code: 'STORE_DAMAGED',
      text: `is in the cache as ${facts.sha256}, but has the digest ${facts.computedSha256}`,
    };
  if (facts.magic !== 'edabeedb')
    return { code: 'RPM_NOT_RPM', text: `is not an RPM (it begins with ${describeMagic(facts.magic)})` };
  const fields = readHeader(facts.header);
  const signature = judgeSignature(facts, fields?.signatures ?? [], keys);
  if ('code' in signature) return signature;
  if (fields === undefined)
    return { code: 'RPM_BAD_HEADER', text: 'has a header that cannot be read line by line' };
  const nevra = Nevra.safeParse(fields.nevra);
  if (!nevra.success)
    return {
      code: 'RPM_BAD_HEADER',
      text: `calls itself ${JSON.stringify(fields.nevra)}, which is no name for a package`,
    };
  if (fields.sourceRpm === '' || fields.sourceRpm === '(none)')
    return { code: 'RPM_SOURCE', text: 'is a source package' };
  if (nevra.data.arch !== 'x86_64' && nevra.data.arch !== 'noarch')
    return { code: 'RPM_ARCH', text: `is for ${nevra.data.arch}` };
  return {
    nevra: nevra.data,
    sha256: facts.sha256,
    signer: signature.signer,
    licence: fields.licence,
    summary: fields.summary,
    sourceRpm: fields.sourceRpm,
    provides: fields.provides,
  };
}

/**
 * One line of `rpm -K -v`, of rpm 4.11 to 4.18. From 4.11:
 *     Header V3 RSA/SHA256 Signature, key ID f4a80eb5: OK
 *     Header SHA1 digest: OK (5f1e…)
 *     V3 RSA/SHA256 Signature, key ID f4a80eb5: OK
 *     MD5 digest: OK (1d4c…)
 */
const CHECK_LINE = /^\s+(Header )?(?:(V\d+ \S+) Signature, key ID ([0-9a-f]{8,40})|(.+?)): (\w+)\b.*$/i;

/**
 * The whole package must be covered by a pinned key: either a signature over header and payload, or one
 * over the header, which then holds the payload's SHA-2 digest (rpm 4.14 and later). The MD5 over the
 * payload is not signed: whoever changes the payload can change it too. rpm's exit code says none of this.
 */
function judgeSignature(
  facts: RpmFacts,
  signatures: readonly string[],
  keys: readonly PinnedKey[],
): { signer: string } | Problem {
  const lines = facts.check
    .split('\n')
    .slice(1)
    .filter((line) => line.trim() !== '');
  const checks = lines.map((line) => {
    const match = CHECK_LINE.exec(line);
    return {
      line: line.trim(),
      overHeader: match?.[1] !== undefined,
      keyId: match?.[3]?.toLowerCase(),
      digest: match?.[4],
      status: match?.[5]?.toUpperCase() ?? '',
    };
  });
  const signed = checks.filter((check) => check.keyId !== undefined);
  const wrong = checks.find(
    (check) => check.status !== 'OK' && check.status !== 'NOKEY' && check.status !== 'NOTTRUSTED',
  );
  if (wrong !== undefined) return { code: 'RPM_DAMAGED', text: `is damaged or was altered: ${wrong.line}` };
  if (signed.length === 0)
    return checks.length === 0
      ? {
          code: 'RPM_DAMAGED',
          text: `cannot be checked: ${facts.check.trim().split('\n').at(-1) ?? 'rpm said nothing'}`,
        }
      : { code: 'RPM_UNSIGNED', text: 'is not signed' };

  // rpm 4.11 prints half of the key id; the header has it whole. Both come from the signature itself,
  // and "OK" says that a key of the database, where only pinned ones are, has made it.
  const keyIds = [...new Set(signatures)];
  const unsure = signed.find((check) => check.status !== 'OK');
  if (unsure !== undefined)
    return {
      code: 'RPM_OTHER_KEY',
      text: `is signed by ${keyIds.join(', ') || (unsure.keyId ?? '')}, which is not a key of the manifest`,
    };
  if (facts.checkExitCode !== 0)
    return { code: 'RPM_DAMAGED', text: `is refused by rpm (exit code ${String(facts.checkExitCode)})` };
  const signers = keys.filter((key) => keyIds.includes(key.keyId));
  const [signer] = signers;
  if (
    signer === undefined ||
    signers.length > 1 ||
    keyIds.length > 1 ||
    signed.some((check) => !signer.keyId.endsWith((check.keyId ?? '').slice(-16)))
  )
    return {
      code: 'RPM_OTHER_KEY',
      text: `is signed by ${keyIds.join(', ') || 'an unnamed key'}, which is not one key of the manifest`,
    };

  const whole =
    signed.some((check) => !check.overHeader) ||
    checks.some((check) => /^Payload SHA(?:256|384|512)(?: ALT)? digest$/.test(check.digest ?? ''));
  if (!whole)
    return {
      code: 'RPM_SIGNATURE_PARTIAL',
      text: 'has a signature over its header only, and nothing signed covers its payload',
    };
  return { signer: signer.fingerprint };
}

interface HeaderFields {
  readonly nevra: { name: string; epoch: number; version: string; release: string; arch: string };
  readonly licence: string;
  readonly summary: string;
  readonly sourceRpm: string;
  /** Key ids of all signatures, 16 hex digits. */
  readonly signatures: readonly string[];
  readonly provides: readonly string[];
}

const TAGS = [
  'NAME',
  'EPOCH',
  'VERSION',
  'RELEASE',
  'ARCH',
  'LICENSE',
  'SUMMARY',
  'SOURCERPM',
  'RSAHEADER',
  'DSAHEADER',
  'SIGPGP',
  'SIGGPG',
] as const;

/** Exactly the lines that examine-some.sh asks for: a value that holds a line break cannot add one of its own. */
function readHeader(text: string): HeaderFields | undefined {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const values: Partial<Record<(typeof TAGS)[number], string>> = {};
  for (const [index, tag] of TAGS.entries()) {
    const line = lines[index];
    if (line?.startsWith(`${tag}=`) !== true) return undefined;
    values[tag] = line.slice(tag.length + 1);
  }
  const provides = lines.slice(TAGS.length);
  if (!provides.every((line) => line.startsWith('PROVIDES='))) return undefined;
  const value = (tag: (typeof TAGS)[number]): string => values[tag] ?? '';
  return {
    nevra: {
      name: value('NAME'),
      epoch: /^\d{1,10}$/.test(value('EPOCH')) ? Number(value('EPOCH')) : NaN,
      version: value('VERSION'),
      release: value('RELEASE'),
      arch: value('ARCH'),
    },
    licence: value('LICENSE'),
    summary: value('SUMMARY'),
    sourceRpm: value('SOURCERPM'),
    signatures: TAGS.slice(8).flatMap((tag) => {
      const keyId = /, Key ID ([0-9a-f]{16})$/i.exec(value(tag))?.[1];
      return keyId === undefined ? [] : [keyId.toLowerCase()];
    }),
    provides: provides.map((line) => line.slice('PROVIDES='.length)),
  };
}

function describeMagic(magic: string): string {
  const text = Buffer.from(magic, 'hex').toString('latin1');
  if (magic === '') return 'nothing: it is empty';
  return /^[\x20-\x7e]+$/.test(text) ? `"${text}"` : `the bytes ${magic}`;
}

function repeatedNames(rpms: readonly JudgedRpm[]): (Problem & { name: string })[] {
  const byName = new Map<string, JudgedRpm[]>();
  for (const rpm of rpms) byName.set(rpm.nevra.name, [...(byName.get(rpm.nevra.name) ?? []), rpm]);
  return [...byName].flatMap(([name, same]) =>
    same.length === 1
      ? []
      : [
          {
            code: 'RPM_TWO_VERSIONS',
            name,
            text: `is there ${String(same.length)} times: ${same
              .map((rpm) => formatNevra(rpm.nevra))
              .sort(byCodePoint)
              .join(', ')}`,
          },
        ],
  );
}

/**
 * Every requested name must be in the set, as a package's name or as something that one provides.
 * @throws BundleError exit 6: yum leaves out what it does not find, or thinks it has
 */
export function judgeRequested(rpms: readonly JudgedRpm[], requested: readonly string[]): void {
  const names = new Set(rpms.flatMap((rpm) => [rpm.nevra.name, ...rpm.provides]));
  const missing = requested.filter((name) => !names.has(name));
  if (missing.length === 0) return;
  throw stepError({
    code: 'PACKAGE_MISSING',
    message: `yum said that all is well, but did not bring ${missing.join(', ')}`,
    hint: 'Check the names under "packages" in the manifest: each must be a package of the repositories, or something that one provides.',
  });
}

/** @throws BundleError exit 6: the set could not be installed into an empty system */
export function judgeClosure(facts: ClosureFacts | undefined): void {
  if (facts?.exitCode === 0 && !/^\s*error:/im.test(facts.output)) return;
  const lines = (facts?.output ?? '')
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !line.startsWith('warning:'));
  throw stepError({
    code: 'CLOSURE_BROKEN',
    message: 'the packages cannot be installed together into an empty system',
    where: 'rpm -Uvh --test in the collector container',
    details: lines.slice(0, 30),
    hint: 'Something that they require is missing, or two of them conflict: add the repository that has it, or take the packages from one release.',
  });
}
