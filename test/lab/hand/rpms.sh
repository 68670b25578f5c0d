#!/bin/sh
# On the node: the seed's way of installing what was carried in.
set -eu
cd /root/hand/rpms
rpm -ivh --force --nodeps -- *.rpm
