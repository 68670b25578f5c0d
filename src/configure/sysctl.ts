import type { Site } from '../model/site.js';
import { header } from './header.js';

/** The sysctl drop-in, or undefined when the site asks for no setting. */
export function renderSysctl(site: Site): string | undefined {
  const settings = [
    ...(site.system.nonlocalBind
      ? ['# The standby node binds the VIPs that it does not hold.', 'net.ipv4.ip_nonlocal_bind = 1']
      : []),
    ...(site.system.somaxconn > 0
      ? [
          "# EL7's 128 drops connections when many clients come back at once after a failover.",
          `net.core.somaxconn = ${String(site.system.somaxconn)}`,
        ]
      : []),
  ];
  return settings.length === 0 ? undefined : `${header(site)}${settings.join('\n')}\n`;
}
