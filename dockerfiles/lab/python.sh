#!/bin/sh
# Python 3 of Debian 11 as /python.tar, for a node that Ansible works on: CentOS has one, the lab's node has none.
set -eu
export DEBIAN_FRONTEND=noninteractive
touch /before
apt-get -q -y install python3
find /usr/bin /usr/lib /lib/x86_64-linux-gnu ! -type d -cnewer /before ! -path '/usr/lib/apt/*' ! -path '/usr/lib/dpkg/*' \
  -print0 | tar --null --no-recursion -T - -cf /python.tar
rm -f /before
apt-get clean
