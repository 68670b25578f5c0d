import type { Site } from '../model/site.js';
import { header } from './header.js';
import { path } from './paths.js';

/**
 * rsyslog takes haproxy's lines on 127.0.0.1:514/udp, the way that EL7's own haproxy package
 * documents. A socket inside the chroot would need no port, but rsyslogd has to create it there,
 * which an enforcing SELinux policy may forbid. The ruleset keeps the lines out of /var/log/messages.
 */
export function renderRsyslog(site: Site): string {
  return `${header(site)}module(load="imudp")
input(type="imudp" address="127.0.0.1" port="514" ruleset="airbundle-haproxy")
ruleset(name="airbundle-haproxy") {
    action(type="omfile" file="${path.haproxyLog}" fileOwner="root" fileGroup="root" fileCreateMode="0640")
}
`;
}

export function renderLogrotate(site: Site): string {
  return `${header(site)}${path.haproxyLog} {
    daily
    rotate 30
    missingok
    notifempty
    compress
    delaycompress
    sharedscripts
    postrotate
        /bin/systemctl kill -s HUP --kill-who=main rsyslog.service >/dev/null 2>&1 || true
    endscript
}
`;
}
