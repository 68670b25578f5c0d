#!/bin/sh
# A backend's machine: it stays up, whatever becomes of the backend.
#   serve            first process: starts the backend and waits
#   serve start      starts it, in the background
#   serve SIGNAL     sends it a signal: KILL, TERM, USR1
set -eu
case ${1:-} in
  '')
    sh "$0" start
    exec sleep infinity
    ;;
  start)
    setsid sh -c 'echo $$ >/run/backend.pid; exec /usr/local/bin/node /srv/server.cjs' >/proc/1/fd/1 2>&1 &
    ;;
  *) kill -s "$1" "$(cat /run/backend.pid)" ;;
esac
