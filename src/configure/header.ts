import type { Site, SiteNode } from '../model/site.js';

/** Which bundle and which site file a configuration comes from. */
export interface Origin {
  readonly bundle: { readonly name: string; readonly version: string };
  /** SHA-256 of the site file, lower-case hex. */
  readonly siteDigest: string;
}

/** The first line of every generated file. No time and no node: the same site gives the same bytes. */
export function header(site: Pick<Site, 'name'>): string {
  return `# Written by airbundle from site "${site.name}". Change the site file instead: an edit here is reported as drift.\n`;
}

/** Of the digest, as many digits as tell two sites apart. */
const DIGITS = 16;

/**
 * The head of a file that its program reads again on a reload. Bundle and digest stand in these only: in a
 * unit or a drop-in they would restart a service with each release and each change of the site file.
 */
export function fullHeader(
  { site, node, origin }: { readonly site: Site; readonly node: SiteNode; readonly origin: Origin },
  additions: string,
): string {
  const { bundle, siteDigest } = origin;
  return [
    `# Written by airbundle from site "${site.name}" (SHA-256 ${siteDigest.slice(0, DIGITS)}) for node ${node.name},`,
    `# bundle ${bundle.name} ${bundle.version}.`,
    '# Change the site file instead: a plan shows an edit here as changed by hand, and replaces it.',
    `# Local additions belong into ${additions}: they are loaded after this file,`,
    '# tested together with it, and left alone by upgrades.',
    '',
    '',
  ].join('\n');
}
