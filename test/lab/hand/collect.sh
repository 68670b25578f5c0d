#!/bin/sh
# In the collector: downloads the seed's packages and all that they need to /x/rpms. $1: the repository's URL.
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
yum -y -c /x/yum.conf --installroot=/empty --releasever=7 --setopt=reposdir=/dev/null \
  install --downloadonly --downloaddir=/x/rpms \
  gcc make openssl-devel zlib-devel pcre-devel systemd-devel libnl3-devel ipset-devel \
  iptables-devel libnftnl-devel libmnl-devel autoconf automake pkgconfig
