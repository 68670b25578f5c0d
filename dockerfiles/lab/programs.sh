#!/bin/sh
# haproxy and keepalived as Debian 11 builds them, at the places where a bundle puts its own, and what else reads a
# generated file. Accounts and interfaces of the example sites are there, so that a file is read as it is.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install haproxy keepalived rsyslog logrotate openssl iproute2 procps
apt-get clean
ln -s /usr/sbin/haproxy /usr/local/sbin/haproxy
ln -s /usr/sbin/keepalived /usr/local/sbin/keepalived
useradd -r -M -s /usr/sbin/nologin keepalived_script
rm -rf /etc/haproxy /etc/keepalived
mkdir -p /run/haproxy
