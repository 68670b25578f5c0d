#!/bin/bash
# beat run | test FILE | ask | version
set -eu
every() { sed -n 's/^every //p' "$1"; }
load() { echo "every $(every /etc/beat/beat.conf)" >/run/beat/state; }

case $1 in
  run)
    trap load HUP
    load
    while :; do
      sleep 1 &
      wait $! || true
    done
    ;;
  test) [ "$(every "$2")" -le 100 ] || {
    echo "beat: every $(every "$2") is more than 100" >&2
    exit 1
  } ;;
  ask) cat /run/beat/state ;;
  version) echo 'beat 1.0' ;;
esac
