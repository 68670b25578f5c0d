/*
 * node-side.sh, word for word: a bundled program reads no files of its own. Edit the .sh; a test compares the
 * two and writes this one anew with `UPDATE_NODE_SIDE=1 npx vitest run --project unit test/fleet/node-side.test.ts`.
 */
export const NODE_SIDE = `#!/bin/sh
# What a jump host asks of a node, as root, before anything of airbundle is there: POSIX sh with coreutils,
# flock and setsid. It is sent with every question; nothing of it stays on the node.
#
#   sh -c "$(cat node-side.sh)" node-side VERB …
#
# Exit codes of its own: 71 a place is not root's alone, 72 cannot be made or written, 73 not what was sent.

set -eu
umask 077

state=/var/lib/airbundle
incoming=$state/incoming
runs=$state/deploy

fail() { # exit code, words
  printf '%s\\n' "$2" >&2
  exit "$1"
}

# Nobody but root may be able to put anything there, or another folder in its stead.
private() {
  for place in / /var /var/lib "$state" "$@"; do
    [ -e "$place" ] || [ -L "$place" ] || return 0
    wrong=$(find "$place" -prune '(' ! -type d -o ! -uid 0 -o -perm /022 ')' -printf '%y %m, owner %u')
    [ -z "$wrong" ] || fail 71 "$place: $wrong"
  done
}

folder() { # path
  private "$1"
  mkdir -p "$1" || fail 72 "$1 could not be made"
  chmod 711 "$state"
  chmod 700 "$1"
}

# Is a key trusted here, and the command there? What the installer starts with depends on it.
facts() {
  for pem in /etc/airbundle/trust/*.pem; do
    if [ -f "$pem" ] && [ -x /usr/sbin/airbundle ]; then
      echo installed
      return
    fi
  done
  echo bare
}

idle() { # no installer is at work
  flock -n /run/airbundle.lock true 2>/dev/null
}

# Other bundles are removed unless an installer is at work: a node keeps one. Its other desks are secrets: they go
# too, but not within a day, in which another deploy may still be about to start its installer.
prepare() { # stem, desk
  folder "$incoming"
  for other in "$incoming"/*; do
    if [ ! -d "$other" ] || [ "$other" = "$incoming/$1" ]; then continue; fi
    idle && rm -rf -- "$other"
  done
  folder "$incoming/$1"
  folder "$incoming/$1/desk"
  if idle; then find "$incoming/$1/desk" -mindepth 1 -maxdepth 1 -mmin +1440 -exec rm -rf -- '{}' +; fi
  folder "$incoming/$1/desk/$2"
  stat -f -c 'free %a %S' "$incoming/$1"
  find "$incoming/$1" -maxdepth 1 -type f -printf 'file %s %f\\n'
}

# openssl's takes a quarter of sha256sum's time where the processor has instructions for it.
digest() { # on stdin
  if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi | cut -d ' ' -f 1
}

# Of the first bytes: what a given-up connection still writes behind them does not count.
hash() { # stem, file, bytes
  head -c "$3" "$incoming/$1/$2" | digest
}

discard() { # stem, file
  rm -f -- "$incoming/$1/$2"
}

# At its place, not behind what is there: a connection that was given up and lives on writes the same bytes.
# What arrives goes to the disk meanwhile: at the end little is left to wait for.
flush() { # file
  stop=
  trap stop=yes TERM
  while :; do
    sleep 1 2>/dev/null &
    wait $! || :
    if [ -n "$stop" ] || ! kill -0 $$ 2>/dev/null; then return 0; fi
    # An error is told once (Linux before 4.13): the last fsync would not see it any more.
    dd if=/dev/null of="$1" conv=nocreat,notrunc,fdatasync status=none || return 72
  done
}

receive() { # stem, file, offset
  into=$incoming/$1/$2
  true >>"$into" || fail 72 "$into could not be written"
  flush "$into" </dev/null >/dev/null &
  flusher=$!
  failed=
  dd of="$into" bs=131072 seek="$3" oflag=seek_bytes iflag=fullblock conv=notrunc,fsync status=none || failed=yes
  kill "$flusher" 2>/dev/null || :
  # 143: it was ended before it had begun.
  wait "$flusher" || [ $? = 143 ] || failed=yes
  [ -z "$failed" ] || fail 72 "$into could not be written"
}

finish() { # stem, file, SHA-256, its own name
  found=$(digest <"$incoming/$1/$2")
  [ "$found" = "$3" ] || fail 73 "$found"
  mv -f -- "$incoming/$1/$2" "$incoming/$1/$4"
}

put() { # stem, name below the folder
  dd of="$incoming/$1/$2.new" iflag=fullblock conv=fsync status=none || fail 72 "$incoming/$1/$2 could not be written"
  mv -f -- "$incoming/$1/$2.new" "$incoming/$1/$2"
}

# A run has a folder runs/ID/NUMBER with: command, pid, log, and at its end: exit.
alive() { # folder of a run
  [ -s "$1/pid" ] || return 1
  grep -q -s -F -a "$1" "/proc/$(cat "$1/pid")/cmdline"
}

latest() { # folder of an id
  find "$1" -mindepth 1 -maxdepth 1 -type d -printf '%f\\n' | sort -n | tail -n 1
}

start() { # id, command…
  own=$runs/$1
  folder "$runs"
  folder "$own"
  shift
  exec 9>"$own/lock"
  flock -w 60 9 || fail 72 "$own is in use"
  last=$(latest "$own")
  if [ -n "$last" ] && [ ! -e "$own/$last/exit" ] && alive "$own/$last"; then
    [ "$(cat "$own/$last/command")" = "$(printf '%s\\n' "$@")" ] || fail 73 "$(tr '\\n' ' ' <"$own/$last/command")"
    echo "running $last"
    return
  fi
  run=$own/$((\${last:-0} + 1))
  mkdir "$run" || fail 72 "$run could not be made"
  printf '%s\\n' "$@" >"$run/command"
  : >"$run/log"
  # shellcheck disable=SC2016 # the runner's own words
  runner='echo $$ >"$1/pid.new" && mv "$1/pid.new" "$1/pid" || exit
    run=$1 code=0
    shift
    "$@" >>"$run/log" 2>&1 </dev/null || code=$?
    echo "$code" >"$run/exit.new" && mv "$run/exit.new" "$run/exit"'
  # A scope of its own: what ends the session's processes (KillUserProcesses=yes) does not find it there.
  scope=
  if [ -d /run/systemd/system ] && systemd-run --scope true >/dev/null 2>&1; then scope='systemd-run --scope'; fi
  # shellcheck disable=SC2086 # two words or none
  setsid $scope sh -c "$runner" airbundle-deploy "$run" "$@" >/dev/null 2>&1 </dev/null 9>&- &
  tries=0
  until [ -s "$run/pid" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 600 ] || fail 72 'the run did not start within 60 s'
    sleep 0.1
  done
  echo "started \${run##*/}"
}

# The log from an offset on, to the run's end; then on stderr "exit CODE", or "gone" when it ended without one.
follow() { # id, number, offset
  run=$runs/$1/$2
  offset=$3
  [ -d "$run" ] || fail 73 "$run is not there"
  while :; do
    ended=
    if [ -e "$run/exit" ]; then
      ended=yes
    elif ! alive "$run" && [ ! -e "$run/exit" ]; then
      ended=gone
    fi
    size=$(stat -c %s "$run/log")
    if [ "$size" -gt "$offset" ]; then
      tail -c "+$((offset + 1))" "$run/log" | head -c "$((size - offset))"
      offset=$size
    fi
    case $ended in
      yes)
        echo "exit $(cat "$run/exit")" >&2
        return
        ;;
      gone)
        echo gone >&2
        return
        ;;
    esac
    sleep 0.3
  done
}

verb=$1
shift
case $verb in
  facts | prepare | hash | discard | receive | finish | put | start | follow) "$verb" "$@" ;;
  *) fail 2 "no verb $verb" ;;
esac
`;
