#!/bin/sh
# One file is made of one file, by a few processes of the build's user.
set -e
[ ! -e /opt/faults/build-fails ] || { echo 'mini.js:1: told to fail' >&2; exit 2; }
sed "s/@VERSION@/$(cat version)/" mini.js >mini.new
chmod 755 mini.new
mv mini.new mini
