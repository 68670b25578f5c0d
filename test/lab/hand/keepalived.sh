#!/bin/sh
# On the node: the seed's build of keepalived.
set -eu
cd /root/hand/keepalived
./build_setup
./configure
make
make install
/usr/local/sbin/keepalived --version 2>&1
