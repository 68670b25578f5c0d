#!/bin/sh
# The stand-in for the collector image: rpm, and dnf under the name of yum.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install dnf rpm gnupg gpg-agent ca-certificates
sh /setup/rpm-macros.sh
ln -sf dnf-3 /usr/bin/yum
mkdir -p /etc/yum.repos.d
echo 'airbundle lab: stand-in for a CentOS 7.5 collector, on Debian 11' >/etc/airbundle-lab
apt-get clean
