import { invalidError } from '../errors.js';
import { nearest } from '../model/nearest.js';
import type { Notify } from '../model/site-shape.js';
import { vipInterface } from '../model/site.js';
import type { Site, SiteNode } from '../model/site.js';
import { vrrpOpenings } from './firewall.js';
import { noVrrp, renderCheckScript, renderKeepalived, SCRIPT_USER } from './keepalived.js';
import { additions, daemonReload, directory, root, shared, SYSTEMD } from './parts.js';
import { path } from './paths.js';
import type { Rendering } from './rendering.js';
import { vrrpSecret } from './secrets.js';
import type { Configuration } from './types.js';
import { renderKeepalivedUnit } from './units.js';

/** @throws BundleError exit 3: no vrrp section, a hook of somebody else, a secret missing or not as it must be */
export function keepalived(given: Rendering): Configuration {
  const { component, site, node, origin, secrets, present, scripts } = given;
  const { vrrp } = site;
  if (vrrp === undefined) throw noVrrp(site);
  requireScripts(site.name, vrrp.notify, scripts);
  const secret = vrrpSecret(site, secrets);
  if (secret === undefined)
    throw invalidError({
      code: 'SECRET_MISSING',
      message: `the VRRP secret of site "${site.name}" was not given`,
      hint: `Put the file "${vrrp.secretFile}" next to the site file: 1 to 8 characters, the same for every node.`,
    });
  const asksHaproxy = present.has('haproxy');
  const file = { component, ...root } as const;
  return {
    users: [{ component, name: SCRIPT_USER, home: '/', shell: '/sbin/nologin' }],
    // 0755: the script user has to reach the check script.
    directories: [
      directory(component, '/etc/keepalived'),
      additions(component, path.keepalivedAdditions),
      shared(component, SYSTEMD),
    ],
    files: [
      // First: keepalived -t fails when the script is missing.
      ...(asksHaproxy
        ? [
            {
              ...file,
              path: path.checkScript,
              mode: 0o755,
              content: renderCheckScript(site),
              secret: false,
              validate: {
                argv: ['bash', '-n', '{file}'],
                okExits: [0],
                timeoutMs: 10_000,
                withoutProgram: 'fail',
              },
            } as const,
          ]
        : []),
      {
        ...file,
        path: path.keepalivedConfig,
        mode: 0o600,
        additions: `${path.keepalivedAdditions}/*.conf`,
        content: renderKeepalived({ site, node, origin, vrrp, secret, checkHaproxy: asksHaproxy }),
        secret: true,
        validate: {
          argv: [path.keepalived, '-t', '-f', '{file}'],
          okExits: [0],
          timeoutMs: 30_000,
          withoutProgram: 'fail',
        },
      },
      {
        ...file,
        path: path.keepalivedUnit,
        mode: 0o644,
        content: renderKeepalivedUnit(site, node),
        secret: false,
      },
    ],
    refreshes: [daemonReload(component, path.keepalivedUnit)],
    services: [
      {
        component,
        unit: 'keepalived.service',
        unitFile: path.keepalivedUnit,
        restartOn: [path.keepalivedUnit],
        reloadOn: [path.keepalivedConfig],
      },
    ],
    checks: [
      { kind: 'unit', component, id: 'unit-keepalived', unit: 'keepalived.service', timeoutMs: 30_000 },
      ...(asksHaproxy
        ? [
            {
              kind: 'command',
              component,
              id: 'check-script',
              argv: [path.checkScript, String(site.haproxy.checkPort), node.name],
              timeoutMs: 10_000,
            } as const,
          ]
        : []),
    ],
    status: {
      versions: [{ component, label: 'keepalived', argv: [path.keepalived, '-v'] }],
      vips: site.vips.map((vip) => ({
        name: vip.name,
        address: vip.address,
        prefixLength: vip.prefixLength,
        interface: vipInterface(vip, node),
      })),
      sockets: [],
    },
    required: [],
    addresses: addressesOf(site, node),
    firewall: vrrpOpenings(site, node),
    firewallKind: site.system.firewall,
  };
}

/** Adverts to the other nodes come from the node's own address, or are not believed. */
function addressesOf(site: Site, node: SiteNode): Configuration['addresses'] {
  return site.nodes.length < 2
    ? []
    : [{ address: node.address, interface: node.interface, what: `node ${node.name}` }];
}

/** @throws BundleError exit 3: what runs when a node's state changes must come with the bundle, signed */
function requireScripts(siteName: string, notify: Notify = {}, scripts: ReadonlySet<string>): void {
  const foreign = Object.entries(notify).flatMap(([when, script]) =>
    script === undefined || scripts.has(script) ? [] : [`vrrp.notify.${when}: ${script}`],
  );
  if (foreign.length === 0) return;
  const close = foreign.map((line) => nearest(line.split(': ')[1] ?? '', [...scripts])).find(Boolean);
  throw invalidError({
    code: 'HOOK_NOT_IN_BUNDLE',
    message: `site "${siteName}" names a script that the bundle does not bring`,
    details: foreign,
    hint: `${close === undefined ? '' : `Did you mean ${close}? `}A hook is a file of a component, named by its path under "files:" in the manifest, or one of its configuration with an executable mode. This bundle has: ${[...scripts].join(', ') || 'none'}.`,
  });
}
