import { invalidError } from '../errors.js';
import type { BundledConfiguration } from '../model/declared.js';
import { usesSecret } from '../model/declared.js';
import { durationMs } from '../model/scalars.js';
import type { Site, SiteNode } from '../model/site.js';
import type { BuiltIn } from '../model/template.js';
import { fillTemplate } from '../model/template.js';
import { defaultOf, formatValue, valuesSchema } from '../model/values.js';
import { daemonReload, directory, root, shared, SYSTEMD } from './parts.js';
import { header } from './header.js';
import { declaredSecret } from './secrets.js';
import type { Secrets } from './secrets.js';
import type { Argv, Check, Configuration, ConfiguredDirectory, ConfiguredFile, Opening } from './types.js';

interface DeclaredRendering {
  readonly component: string;
  readonly declared: BundledConfiguration;
  readonly site: Site;
  readonly node: SiteNode;
  readonly secrets: Secrets;
}

const VALIDATE_MS = 30_000;
const UNIT_MS = 30_000;
const CHECK_MS = 10_000;

/**
 * What a manifest declares, with the site's values filled in.
 * @throws BundleError exit 3: a value that is missing, unknown or not of its type; a secret likewise
 */
export function renderDeclared(given: DeclaredRendering): Configuration {
  const { component, declared } = given;
  const values = valuesOf(given);
  const fill = (text: string): string => fillTemplate(text, values);
  const units = declared.units.map((unit) => ({ ...unit, path: `${SYSTEMD}/${unit.name}` }));
  const files: ConfiguredFile[] = [
    ...declared.files.map(({ path, mode, owner, group, content, validate }) => ({
      component,
      path,
      mode: Number.parseInt(mode, 8),
      owner,
      group: group ?? owner,
      content: fill(content),
      secret: usesSecret(content, declared.values),
      ...(validate === undefined
        ? {}
        : {
            validate: {
              argv: argvOf(validate.command, fill),
              okExits: validate.okExits,
              timeoutMs: VALIDATE_MS,
              withoutProgram: 'fail' as const,
            },
          }),
    })),
    ...units.map(({ path, content }) => ({
      component,
      path,
      mode: 0o644,
      ...root,
      content: fill(content),
      secret: false,
    })),
  ];
  const checks = declared.checks.map((check, index) =>
    checkOf(component, `${component}-${String(index + 1)}`, check, fill),
  );
  return {
    users: declared.accounts.map((account) => ({ component, ...account })),
    directories: directoriesOf(component, declared, units.length > 0),
    files,
    refreshes: units.map((unit) => daemonReload(component, unit.path)),
    services: units.map((unit) => ({
      component,
      unit: unit.name,
      unitFile: unit.path,
      restartOn: [
        unit.path,
        ...declared.files.map((file) => file.path).filter((path) => !unit.reloadOn.includes(path)),
      ],
      reloadOn: unit.reloadOn,
    })),
    checks: [
      ...units.map(({ name }) => ({
        kind: 'unit' as const,
        component,
        id: `unit-${name.replace(/\.service$/, '')}`,
        unit: name,
        timeoutMs: UNIT_MS,
      })),
      ...checks,
    ],
    status: {
      versions:
        declared.version === undefined
          ? []
          : [{ component, label: component, argv: argvOf(declared.version, fill) }],
      vips: [],
      sockets: [],
    },
    required: [],
    addresses: [],
    firewall: checks.flatMap((check) => openingOf(component, check)),
    firewallKind: given.site.system.firewall,
  };
}

/** Every name that a template may use, with its text. */
function valuesOf({ component, declared, site, node, secrets }: DeclaredRendering): Map<string, string> {
  const written = site.components[component] ?? {};
  const parsed = valuesSchema(declared.values).safeParse(written);
  if (!parsed.success)
    throw invalidError({
      code: 'VALUE_INVALID',
      message: `the values of component "${component}" in site "${site.name}" are not what it takes`,
      details: parsed.error.issues.map((issue) =>
        issue.code === 'unrecognized_keys'
          ? `components.${component}: unknown: ${issue.keys.join(', ')}`
          : `components.${[component, ...issue.path].join('.')}: ${issue.input === undefined && issue.code === 'invalid_type' ? 'is missing' : issue.message}`,
      ),
      hint: `Known: ${Object.keys(declared.values).join(', ') || 'none'}. Mend "components:" in the site file.`,
    });
  const built: Record<BuiltIn, string> = {
    'site.name': site.name,
    'node.name': node.name,
    'node.address': node.address,
    'node.interface': node.interface,
    notice: header(site).slice(2).trimEnd(),
  };
  const own = Object.entries(declared.values).map(([name, declaration]): [string, string] => {
    const value = written[name] ?? defaultOf(declaration) ?? '';
    return [
      name,
      declaration.type === 'secret'
        ? declaredSecret(String(value), name, component, secrets)
        : formatValue(declaration, value),
    ];
  });
  return new Map([...Object.entries(built), ...own]);
}

/** Those that are declared, and the folders of files as the system may have them already. */
function directoriesOf(
  component: string,
  declared: BundledConfiguration,
  hasUnits: boolean,
): ConfiguredDirectory[] {
  const own = declared.directories.map(({ path, mode, owner, group }): ConfiguredDirectory => ({
    ...directory(component, path),
    mode: Number.parseInt(mode, 8),
    owner,
    group: group ?? owner,
  }));
  const folders = declared.files.map((file) => file.path.slice(0, file.path.lastIndexOf('/')));
  const others = [...new Set([...folders, ...(hasUnits ? [SYSTEMD] : [])])].filter(
    (path) => path !== '' && !own.some((entry) => entry.path === path),
  );
  return [...own, ...others.map((path) => shared(component, path))];
}

type DeclaredCheck = BundledConfiguration['checks'][number];

function checkOf(component: string, id: string, check: DeclaredCheck, fill: (text: string) => string): Check {
  const timeoutMs = check.timeout === undefined ? CHECK_MS : durationMs(check.timeout);
  if ('listen' in check) {
    const [address = '', port = ''] = fill(check.listen).split(':');
    return { kind: 'listen', component, id, address, port: Number(port), timeoutMs };
  }
  return {
    kind: 'command',
    component,
    id,
    argv: argvOf(check.command, fill),
    ...(check.expect === undefined ? {} : { expect: fill(check.expect) }),
    timeoutMs,
  };
}

function openingOf(component: string, check: Check): Opening[] {
  if (check.kind !== 'listen' || check.address.startsWith('127.')) return [];
  return [{ kind: 'tcp', address: check.address, port: check.port, why: `clients of ${component}` }];
}

function argvOf(words: readonly string[], fill: (text: string) => string): Argv {
  const [program = '', ...rest] = words.map(fill);
  return [program, ...rest];
}
