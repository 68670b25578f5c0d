import type { z } from 'zod';
import { invalidError } from '../errors.js';
import { readDocument } from './document.js';
import { nearest } from './nearest.js';
import { addressOf, prefixOf } from './networks.js';
import { priorityOf, ROLE_PRIORITY, siteProblems } from './site-checks.js';
import type { Backend, SiteComponents, Timeouts, WrittenSite } from './site-shape.js';
import { AnyComponents, HealthCheck, HostAddress, NODE, writtenSite } from './site-shape.js';
import { strict } from './strict.js';
import { valuesSchema } from './values.js';
import type { Values } from './values.js';

/*
 * One bank site: which nodes hold which addresses, and what is behind them. A person writes it
 * (site-shape.ts), it is checked as a whole (site-checks.ts), and here every default is filled in and
 * every name of a VIP resolved.
 */

export { HostAddress } from './site-shape.js';
export type { Backend, HealthCheck, SiteComponents, Timeouts } from './site-shape.js';

export type Protocol = 'grpc' | 'http' | 'tcp';

export interface SiteNode {
  readonly name: string;
  readonly address: HostAddress;
  /** Of the interface's network, where the site says it. */
  readonly prefixLength?: number | undefined;
  readonly interface: string;
  /** VRRP priority, 1 to 254. */
  readonly priority: number;
}

export interface Vip {
  readonly name: string;
  readonly address: HostAddress;
  readonly prefixLength: number;
  /** Absent: the node's own. */
  readonly interface?: string | undefined;
}

export interface Tls {
  readonly certificate: string;
}

export interface Service {
  readonly name: string;
  /** Resolved: a VIP's address, 127.0.0.1, `*`, or `node` for the node's own address. */
  readonly bind: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly tls?: Tls | undefined;
  readonly balance: 'roundrobin' | 'leastconn' | 'source';
  readonly maxConnections?: number | undefined;
  readonly slowStart?: string | undefined;
  readonly idempotent: boolean;
  readonly check: HealthCheck;
  readonly timeouts: Timeouts;
  readonly backends: readonly Backend[];
}

export type Vrrp = NonNullable<WrittenSite['vrrp']>;
/** Its bind is resolved as a service's. */
export type StatsPage = NonNullable<WrittenSite['haproxy']['stats']>;

export interface Site {
  readonly name: string;
  readonly nodes: readonly SiteNode[];
  readonly vips: readonly Vip[];
  readonly vrrp?: Vrrp | undefined;
  readonly services: readonly Service[];
  readonly haproxy: WrittenSite['haproxy'];
  readonly system: WrittenSite['system'];
  readonly log: WrittenSite['log'];
  readonly components: SiteComponents;
}

const siteSchema = (components: z.ZodType<SiteComponents, SiteComponents>) =>
  writtenSite(components)
    .superRefine((site, context) => {
      for (const { path, message } of siteProblems(site))
        context.addIssue({ code: 'custom', path: [...path], message });
    })
    .transform(complete);

/** The schema of a site file; its output has every default filled in and every VIP name resolved. */
export const SiteSchema = siteSchema(AnyComponents);

/** The values that each component of a bundle declares; only of those with a declared configuration. */
export type DeclaredValues = ReadonlyMap<string, Values>;

/**
 * @param declared what the bundle's components take: unknown and missing values are then errors with
 *   their place; undefined where no bundle is at hand
 * @throws BundleError exit 3, with every problem of the file as `file:line:col: message`.
 */
export function parseSite(bytes: Uint8Array, file: string, declared?: DeclaredValues): Site {
  const schema: z.ZodType<Site> = declared === undefined ? SiteSchema : siteSchema(componentsOf(declared));
  return readDocument(bytes, file, schema, 'SITE_INVALID');
}

function componentsOf(declared: DeclaredValues): z.ZodType<SiteComponents, SiteComponents> {
  const sections = [...declared].map(([name, values]) => [name, valuesSchema(values).prefault({})] as const);
  return strict(Object.fromEntries(sections)) as unknown as z.ZodType<SiteComponents, SiteComponents>;
}

/** @throws BundleError exit 3 when the site has no such node. */
export function nodeOf(site: Site, name: string): SiteNode {
  const found = site.nodes.find((node) => node.name === name);
  if (found !== undefined) return found;
  const names = site.nodes.map((node) => node.name);
  const close = nearest(name, names);
  throw invalidError({
    code: 'NODE_UNKNOWN',
    message: `site "${site.name}" has no node "${printable(name)}"`,
    hint: `${close === undefined ? '' : `Did you mean --node ${close}? `}Its nodes: ${names.join(', ')}.`,
  });
}

/** The interface that holds a VIP on this node. */
export function vipInterface(vip: Vip, node: SiteNode): string {
  return vip.interface ?? node.interface;
}

/** The address that a resolved bind means on this node. */
export function bindOn(bind: string, node: SiteNode): string {
  return bind === NODE ? node.address : bind;
}

function complete(written: WrittenSite): Site {
  const vips = written.vips.map(({ name, address, interface: on }) => ({
    name,
    address: HostAddress.parse(addressOf(address)),
    prefixLength: prefixOf(address) ?? 32,
    ...(on === undefined ? {} : { interface: on }),
  }));
  const resolved = (bind: string): string => vips.find((vip) => vip.name === bind)?.address ?? bind;
  const { stats } = written.haproxy;
  return {
    name: written.name,
    nodes: written.nodes.map((node) => ({
      name: node.name,
      address: HostAddress.parse(addressOf(node.address)),
      ...(prefixOf(node.address) === undefined ? {} : { prefixLength: prefixOf(node.address) }),
      interface: node.interface,
      priority: priorityOf(node) ?? ROLE_PRIORITY.secondary,
    })),
    vips,
    vrrp: written.vrrp,
    services: written.services.map((service) => ({
      ...service,
      bind: resolved(service.bind),
      idempotent: service.idempotent ?? service.protocol === 'grpc',
      check: service.check ?? HealthCheck.parse({ kind: service.protocol }),
    })),
    haproxy:
      stats === undefined
        ? written.haproxy
        : { ...written.haproxy, stats: { ...stats, bind: resolved(stats.bind) } },
    system: written.system,
    log: written.log,
    components: written.components,
  };
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 60);
}
