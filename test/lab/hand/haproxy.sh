#!/bin/sh
# On the node: the seed's build of haproxy.
set -eu
cd /root/hand/haproxy
make -j2 TARGET=linux-glibc USE_OPENSSL=1 USE_ZLIB=1 USE_PCRE=1 USE_SYSTEMD=1
make install
/usr/local/sbin/haproxy -v
