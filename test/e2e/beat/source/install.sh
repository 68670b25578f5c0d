#!/bin/sh
set -eu
mkdir -p "$1/usr/local/sbin"
cp beat.sh "$1/usr/local/sbin/beat"
chmod 755 "$1/usr/local/sbin/beat"
