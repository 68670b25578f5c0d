/** Every place that a rendered configuration names. */
export const path = {
  haproxy: '/usr/local/sbin/haproxy',
  haproxyConfig: '/etc/haproxy/haproxy.cfg',
  haproxyChroot: '/var/lib/haproxy',
  haproxyRun: '/run/haproxy',
  haproxySocket: '/run/haproxy/admin.sock',
  haproxyLog: '/var/log/haproxy.log',
  haproxyUnit: '/etc/systemd/system/haproxy.service',
  keepalived: '/usr/local/sbin/keepalived',
  keepalivedConfig: '/etc/keepalived/keepalived.conf',
  keepalivedUnit: '/etc/systemd/system/keepalived.service',
  checkScript: '/etc/keepalived/check-haproxy',
  sysctl: '/etc/sysctl.d/90-airbundle.conf',
  rsyslog: '/etc/rsyslog.d/30-airbundle-haproxy.conf',
  logrotate: '/etc/logrotate.d/airbundle-haproxy',
} as const;

/** The first line of every generated file. No time and no node: the same site gives the same bytes. */
export function header(site: { readonly name: string }): string {
  return `# Written by airbundle from site "${site.name}". Change the site file instead: an edit here is reported as drift.\n`;
}
