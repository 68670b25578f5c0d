/** Every place that a rendered configuration names. */
export const path = {
  haproxy: '/usr/local/sbin/haproxy',
  haproxyConfig: '/etc/haproxy/haproxy.cfg',
  /** Local additions: every *.cfg, in the order of their names. */
  haproxyAdditions: '/etc/haproxy/conf.d',
  haproxyChroot: '/var/lib/haproxy',
  haproxyRun: '/run/haproxy',
  haproxySocket: '/run/haproxy/admin.sock',
  haproxyLog: '/var/log/haproxy.log',
  haproxyUnit: '/etc/systemd/system/haproxy.service',
  keepalived: '/usr/local/sbin/keepalived',
  keepalivedConfig: '/etc/keepalived/keepalived.conf',
  /** Local additions: every *.conf. */
  keepalivedAdditions: '/etc/keepalived/conf.d',
  keepalivedUnit: '/etc/systemd/system/keepalived.service',
  checkScript: '/etc/keepalived/check-haproxy',
  sysctl: '/etc/sysctl.d/90-airbundle.conf',
  rsyslog: '/etc/rsyslog.d/30-airbundle-haproxy.conf',
  logrotate: '/etc/logrotate.d/airbundle-haproxy',
} as const;
