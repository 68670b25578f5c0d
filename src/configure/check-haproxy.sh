#!/bin/bash
# keepalived's check: is haproxy on this node able to serve? Exit 0 when it is, 1 when it is not.
#
#   check-haproxy PORT NODE
#
# Asks the running worker itself, through its stats socket on 127.0.0.1:PORT, so it also sees a
# worker that is stopped, hung or dead while a process named haproxy still exists. NODE is the name
# that the worker must give: another program on that port does not count.
# Needs nothing but bash. The reason of a failure goes to stderr for whoever runs it by hand.

set -u
port=$1
node=$2

broken() {
  echo "check-haproxy: $*" >&2
  exit 1
}

# A stopped worker still gets connections queued by the kernel, so every read has a limit. Should
# connect itself hang (queue full), keepalived ends this script after its own timeout.
exec 3<>"/dev/tcp/127.0.0.1/$port" || broken "nothing listens on 127.0.0.1:$port"
# A peer that closes at once must not end this script without a word.
trap 'broken "the connection was closed"' PIPE
printf 'show info;show stat -1 1 -1\n' >&3 || broken "cannot write to 127.0.0.1:$port"

named=no
open=0
while IFS=, read -r -t 1 -u 3 -a field; do
  line=${field[0]-}
  case $line in
    "node: $node") named=yes ;;
    "node: "*) broken "the answer came from another haproxy: $line" ;;
    'Stopping: 1') broken 'haproxy is stopping' ;;
  esac
  # CSV of show stat: proxy, FRONTEND, ... , the 18th field is the state.
  if [ "${field[1]-}" = FRONTEND ]; then
    case ${field[17]-} in
      OPEN | FULL) open=$((open + 1)) ;;
      *) broken "service $line is ${field[17]-unknown}" ;;
    esac
  fi
done

[ "$named" = yes ] || broken "no answer (1 s) from a haproxy stats socket on 127.0.0.1:$port"
[ "$open" -gt 0 ] || broken 'haproxy has no open service'
exit 0
