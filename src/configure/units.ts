import { vipInterface } from '../model/site.js';
import type { Site, SiteNode } from '../model/site.js';
import { header } from './header.js';
import { path } from './paths.js';

/*
 * Only directives that systemd 219 (EL7) knows. StartLimitInterval=0 is its name for "never give
 * up"; newer versions still accept it in [Service].
 */

/** haproxy.service: a master with workers, reloaded without losing a stream. */
export function renderHaproxyUnit(site: Site): string {
  const configuration = `-f ${path.haproxyConfig} -f ${path.haproxyAdditions}`;
  const test = `${path.haproxy} -c -q ${configuration}`;
  return unit(site, {
    Unit: [
      'Description=HAProxy load balancer',
      'After=network-online.target rsyslog.service',
      'Wants=network-online.target',
    ],
    Service: [
      'Type=notify',
      `ExecStartPre=${test}`,
      `ExecStart=${path.haproxy} -Ws ${configuration}`,
      `ExecReload=${test}`,
      'ExecReload=/bin/kill -USR2 $MAINPID',
      'KillMode=mixed',
      'SuccessExitStatus=143',
      'Restart=always',
      // Back before keepalived's check has failed twice, so that a crash does not move the VIPs.
      'RestartSec=200ms',
      'StartLimitInterval=0',
      'RuntimeDirectory=haproxy',
      `LimitNOFILE=${String(descriptors(site))}`,
    ],
    Install: ['WantedBy=multi-user.target'],
  });
}

/**
 * keepalived.service. In the foreground, so that systemd knows the main process without a PID file.
 * ExecStopPost takes the VIPs away after a kill -9 too: keepalived cannot, and both nodes would hold
 * them until its restart. `flush … to` is silent when the address is not there.
 */
export function renderKeepalivedUnit(site: Site, node: SiteNode): string {
  const test = `${path.keepalived} -t -f ${path.keepalivedConfig}`;
  return unit(site, {
    Unit: [
      'Description=Keepalived (VRRP)',
      'After=network-online.target haproxy.service',
      'Wants=network-online.target',
    ],
    Service: [
      'Type=simple',
      `ExecStartPre=${test}`,
      `ExecStart=${path.keepalived} --dont-fork -f ${path.keepalivedConfig}`,
      ...site.vips.map(
        (vip) =>
          `ExecStopPost=-/sbin/ip -4 address flush dev ${vipInterface(vip, node)} to ${vip.address}/32`,
      ),
      // It takes what it can from a broken file, or dies of it: then both nodes hold the VIPs.
      `ExecReload=${test}`,
      'ExecReload=/bin/kill -HUP $MAINPID',
      'KillMode=mixed',
      'Restart=always',
      'RestartSec=1',
      'StartLimitInterval=0',
    ],
    Install: ['WantedBy=multi-user.target'],
  });
}

/**
 * Two a connection, one a check and a listener, and some for sockets, pipes and threads. In steps of a thousand: one
 * backend more is a reload, and another unit file would make a restart of it.
 */
function descriptors(site: Site): number {
  const backends = site.services.reduce((total, service) => total + service.backends.length, 0);
  return 2 * site.haproxy.maxConnections + 1000 * (1 + Math.ceil((backends + site.services.length) / 1000));
}

function unit(site: Site, sections: Readonly<Record<string, readonly string[]>>): string {
  const body = Object.entries(sections).map(
    ([name, lines]) => `[${name}]\n${lines.map((line) => `${line}\n`).join('')}`,
  );
  return header(site) + body.join('\n');
}
