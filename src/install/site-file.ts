import { createHash } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import type { Configuration } from '../configure/index.js';
import { configure, declaredValues, NOTHING_CONFIGURED, requiredSecrets } from '../configure/index.js';
import { BundleError, invalidError, usageError } from '../errors.js';
import type { ReadHost } from '../host/host.js';
import type { Contents } from '../model/contents.js';
import { Sha256 } from '../model/grammar.js';
import { MAX_DOCUMENT_BYTES } from '../model/document.js';
import { neighbourProblem } from '../model/site-neighbours.js';
import { nodeOf, parseSite } from '../model/site.js';
import type { Site } from '../model/site.js';
import type { Reporter } from '../report.js';
import type { Audit } from './audit.js';

export interface SiteRequest {
  /** Path of the site file. */
  readonly site: string | undefined;
  /** The node's name in it. */
  readonly node: string | undefined;
  readonly reporter: Reporter;
  /** Learns the secrets, so that they are covered where a program quotes them. */
  readonly audit?: Pick<Audit, 'secret'>;
}

/** What the site says for this node. */
export interface SiteRead {
  readonly configuration: Configuration;
  readonly node: string | null;
  readonly digest: Sha256 | null;
  /** What must not be shown anywhere. */
  readonly secrets: readonly string[];
}

/** The site file and the secrets beside it, read once. */
export async function readSite(host: ReadHost, request: SiteRequest, contents: Contents): Promise<SiteRead> {
  const configured = contents.components.filter((component) => component.configuration !== undefined);
  if (configured.length === 0) {
    await requireNodeOfSite(host, request);
    return { configuration: NOTHING_CONFIGURED, node: null, digest: null, secrets: [] };
  }
  if (request.site === undefined || request.node === undefined)
    throw usageError({
      code: 'NO_SITE',
      message: `${configured.map((component) => component.name).join(' and ')} ${configured.length === 1 ? 'needs' : 'need'} a site file and the name of this node`,
      hint: 'Add: --site site.yaml --node NAME',
    });
  const bytes = await readGivenSite(host, request.site);
  const site = parseSite(bytes, request.site, declaredValues(contents.components));
  await requireApart(host, site, request.site);
  const secrets = new Map<string, { text: string; path: string }>();
  for (const { file, what, form } of requiredSecrets(contents.components, site)) {
    const path = join(dirname(request.site), basename(file));
    const secret = await host.read(path);
    if (secret === undefined)
      throw usageError({
        code: 'NO_SECRET',
        message: `the file with ${what} is not there`,
        where: path,
        hint: `Write ${form} into it, the same on every node: install -m 600 /dev/stdin ${path}`,
      });
    request.audit?.secret(secret.toString('utf8'));
    const mode = (await host.lstat(path))?.mode ?? 0;
    if ((mode & 0o077) !== 0) request.reporter.warn(`others can read ${what}: chmod 600 ${path}`);
    secrets.set(file, { text: secret.toString('utf8'), path });
  }
  const digest = Sha256.parse(createHash('sha256').update(bytes).digest('hex'));
  const configuration = configure({
    components: contents.components,
    site,
    node: request.node,
    origin: { bundle: { name: contents.name, version: contents.version }, siteDigest: digest },
    secrets,
  });
  return {
    configuration,
    node: request.node,
    digest,
    secrets: [...secrets.values()].map(({ text }) => text.trim()),
  };
}

/**
 * A bundle in which nothing is configured asks for no site; one that is given is read all the same, so that a
 * mistyped name is not taken for this node's. @throws BundleError exit 2 or 3
 */
async function requireNodeOfSite(host: ReadHost, { site, node }: SiteRequest): Promise<void> {
  if (site === undefined) return;
  const read = parseSite(await readGivenSite(host, site), site);
  if (node !== undefined) nodeOf(read, node);
}

/** @throws BundleError exit 2 */
async function readGivenSite(host: ReadHost, path: string): Promise<Buffer> {
  const bytes = await host.read(path);
  if (bytes !== undefined) return bytes;
  throw usageError({
    code: 'NO_SITE',
    message: 'the site file is not there',
    where: path,
    hint: 'Give its path: --site site.yaml',
  });
}

/** More than an office has; a folder of thousands is not read through. */
const MAX_NEIGHBOURS = 50;

/** @throws BundleError exit 3: another site file in the same folder cannot stand beside this one */
async function requireApart(host: ReadHost, site: Site, file: string): Promise<void> {
  const folder = dirname(file);
  const names = (await host.list(folder))
    .filter((name) => /\.ya?ml$/.test(name) && name !== basename(file))
    .sort()
    .slice(0, MAX_NEIGHBOURS);
  for (const name of names) {
    const other = await neighbourSite(host, join(folder, name));
    const problem = other === undefined ? undefined : neighbourProblem(site, { site: other, file: name });
    if (problem === undefined) continue;
    throw invalidError({
      code: 'SITES_CLASH',
      message: problem,
      where: file,
      hint: `Give one of the two another number from 1 to 255, on all of its nodes at once; or move ${name} away if it is no longer used.`,
    });
  }
}

/** What is no site, or a broken one, is somebody else's business. */
async function neighbourSite(host: ReadHost, path: string): Promise<Site | undefined> {
  const facts = await host.lstat(path);
  if (facts?.kind !== 'file' || facts.sizeBytes > MAX_DOCUMENT_BYTES) return undefined;
  try {
    const bytes = await host.read(path);
    return bytes === undefined ? undefined : parseSite(bytes, path);
  } catch (error) {
    if (error instanceof BundleError) return undefined;
    throw error;
  }
}
