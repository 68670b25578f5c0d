import { invalidError } from '../errors.js';
import type { BundledConfiguration } from '../model/declared.js';
import type { DeclaredValues, Site } from '../model/site.js';
import type { VrrpSecret } from '../model/vrrp-secret.js';
import { parseSecret } from '../model/vrrp-secret.js';
import { SecretText } from '../model/values.js';

/** What configuring needs to know of a component of the bundle. */
export interface ConfigurableComponent {
  readonly name: string;
  /** A renderer's name, or what the manifest declared. */
  readonly configuration?: string | BundledConfiguration | undefined;
  /** What its build installs: paths, or patterns of paths. */
  readonly files?: readonly string[] | undefined;
}

/** A file next to the site whose content goes into a configuration. */
export interface RequiredSecret {
  /** Its plain name. */
  readonly file: string;
  /** For a person: what it is. */
  readonly what: string;
  /** What it must hold. */
  readonly form: string;
}

const LONG = '8 to 128 characters';

/** Name of the file → its text, and where it was read, for messages. */
export type Secrets = ReadonlyMap<string, { readonly text: string; readonly path: string }>;

/** The values that each component declares, for parseSite. */
export function declaredValues(components: readonly ConfigurableComponent[]): DeclaredValues {
  return new Map(
    components.flatMap(({ name, configuration }) =>
      configuration === undefined || typeof configuration === 'string'
        ? []
        : [[name, configuration.values] as const],
    ),
  );
}

/** The files that whoever calls configure() has to read first. */
export function requiredSecrets(components: readonly ConfigurableComponent[], site: Site): RequiredSecret[] {
  const has = (name: string): boolean => components.some(({ configuration }) => configuration === name);
  const vrrp =
    site.vrrp !== undefined && has('keepalived')
      ? [{ file: site.vrrp.secretFile, what: 'the VRRP secret', form: '1 to 8 characters' }]
      : [];
  const stats =
    site.haproxy.stats !== undefined && has('haproxy')
      ? [{ file: site.haproxy.stats.passwordFile, what: 'the password of the stats page', form: LONG }]
      : [];
  const declared = [...declaredValues(components)].flatMap(([component, values]) =>
    Object.entries(values).flatMap(([name, declaration]) => {
      const file = site.components[component]?.[name];
      return declaration.type === 'secret' && typeof file === 'string'
        ? [{ file, what: `the secret "${name}" of ${component}`, form: LONG }]
        : [];
    }),
  );
  return [...vrrp, ...stats, ...declared];
}

/** @throws BundleError exit 3: not given, or not as it must be; the secret is never in the message */
export function vrrpSecret(site: Site, secrets: Secrets): VrrpSecret | undefined {
  const given = site.vrrp === undefined ? undefined : secrets.get(site.vrrp.secretFile);
  return given === undefined ? undefined : parseSecret(given.text, given.path);
}

/** The same for a declared secret: its file's content without the line end. */
export function declaredSecret(file: string, name: string, component: string, secrets: Secrets): string {
  return longSecret(file, `the secret "${name}" of component "${component}"`, secrets);
}

/** The same for the stats page; undefined where the site has none. */
export function statsPassword(site: Site, secrets: Secrets): string | undefined {
  const file = site.haproxy.stats?.passwordFile;
  return file === undefined ? undefined : longSecret(file, 'the password of the stats page', secrets);
}

function longSecret(file: string, what: string, secrets: Secrets): string {
  const given = secrets.get(file);
  if (given === undefined)
    throw invalidError({
      code: 'SECRET_MISSING',
      message: `${what} was not given`,
      hint: `Put the file "${file}" next to the site file: ${LONG}.`,
    });
  const parsed = SecretText.safeParse(given.text.replace(/\r?\n$/, ''));
  if (parsed.success) return parsed.data;
  throw invalidError({
    code: 'SECRET_INVALID',
    message: `${what} ${parsed.error.issues.map((issue) => issue.message).join('; ')}`,
    where: given.path,
    hint: 'Write it on one line, for example with: openssl rand -base64 32',
  });
}
