#!/bin/sh
# A server shaped like CentOS 7.5: systemd, sshd, rsyslog, rpm; nothing to build with.
# /registered holds the Debian packages' names (debs.list) and the RPMs for the rpmdb.
set -eu
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2046 # one argument a word is what is wanted
apt-get -q -y install $(cat /registered/debs.list) systemd-sysv
sh /setup/rpm-macros.sh

find /registered -name '*.rpm' -print0 | xargs -0 rpm -i --justdb --nodeps --noscripts --nosignature
open=$(rpm -Va --nofiles --nodigest --nosignature 2>/dev/null || :)
if [ -n "$open" ]; then
  printf 'the registered packages are not closed:\n%s\n' "$open" >&2
  exit 1
fi
ln -sf gawk /usr/bin/awk
ln -sf bash /usr/bin/sh
ln -sf iptables-nft /usr/sbin/iptables
ln -sf ip6tables-nft /usr/sbin/ip6tables

cat >/etc/os-release.new <<'OS'
NAME="CentOS Linux"
VERSION="7 (Core)"
ID="centos"
ID_LIKE="rhel fedora"
VERSION_ID="7"
PRETTY_NAME="CentOS Linux 7 (Core) — airbundle lab stand-in on Debian 11"
OS
rm -f /etc/os-release
mv /etc/os-release.new /etc/os-release
echo 'CentOS Linux release 7.5.1804 (Core)' >/etc/redhat-release
echo 'airbundle lab: stand-in for a CentOS 7.5 server, on Debian 11' >/etc/airbundle-lab

# EL's libraries are executable.
find /usr -xdev -type f -name '*.so*' -exec chmod 755 {} +

# What cannot work, or only costs time, in a container.
systemctl set-default multi-user.target
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
  systemd-udev-trigger.service getty.target console-getty.service getty@tty1.service \
  systemd-logind.service systemd-modules-load.service systemd-remount-fs.service \
  systemd-hwdb-update.service systemd-journal-flush.service dev-hugepages.mount dev-mqueue.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount systemd-resolved.service systemd-networkd.service \
  systemd-timesyncd.service systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer \
  fstrim.timer systemd-sysctl.service proc-sys-fs-binfmt_misc.automount; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
sed -i 's/^module(load="imklog".*/# &/' /etc/rsyslog.conf
mkdir -p /run/sshd /var/empty
ssh-keygen -A
install -m 755 /setup/lab-init.sh /usr/sbin/lab-init
: >/etc/machine-id

# A bank's server has none of these; a build that leans on them must fail.
rm -rf /usr/bin/perl* /usr/share/perl* /usr/lib/x86_64-linux-gnu/perl* /etc/perl
rm -rf /usr/bin/apt* /usr/bin/dpkg* /usr/lib/apt /usr/lib/dpkg /etc/apt /var/lib/apt /var/lib/dpkg \
  /var/cache/apt /var/cache/debconf /etc/dpkg /usr/sbin/policy-rc.d /usr/share/doc /usr/share/man \
  /usr/share/info /usr/share/locale /usr/bin/mawk
