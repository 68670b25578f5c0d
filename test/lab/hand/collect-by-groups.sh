#!/bin/sh
# In the collector: the seed's packages as they are typed, one yum run for each group. $1: the repository's URL.
set -eu
cat >/x/yum.conf <<CONF
[main]
gpgcheck=1
keepcache=0
multilib_policy=best
exclude=*.i?86

[base]
name=base
baseurl=$1
gpgkey=${1}RPM-GPG-KEY-airbundle-lab
enabled=1
CONF
mkdir -p /empty /x/rpms
for group in 'gcc make' 'openssl-devel zlib-devel pcre-devel systemd-devel' \
  'libnl3-devel ipset-devel iptables-devel libnftnl-devel libmnl-devel' 'autoconf automake pkgconfig'; do
  # shellcheck disable=SC2086 # one argument a package is what is wanted
  yum -y -c /x/yum.conf --installroot=/empty --releasever=7 --setopt=reposdir=/dev/null \
    install --downloadonly --downloaddir=/x/rpms $group
done
