#!/bin/sh
# Facts about some RPMs. Arguments: their paths; the name of each is the SHA-256 that it should have, and .rpm.
# For each a folder /airbundle/out/rpms/SHA256 with
#   sha256    what it has
#   magic     its first four bytes, in hex
#   check.rc, check.out    rpm -Kv: the signatures and digests, in rpm's own words
#   header    one TAG=value a line in a fixed order, then PROVIDES=name lines
# Each program is started once for all of them. Where one of them is out of the ordinary (no RPM, damaged, unsigned,
# another's key), or a program does not say of each what it should, each RPM is looked at by itself.
set -u
out=/airbundle/out/rpms
format='NAME=%{NAME}
EPOCH=%|EPOCH?{%{EPOCH}}:{0}|
VERSION=%{VERSION}
RELEASE=%{RELEASE}
ARCH=%{ARCH}
LICENSE=%{LICENSE}
SUMMARY=%{SUMMARY}
SOURCERPM=%{SOURCERPM}
RSAHEADER=%{RSAHEADER:pgpsig}
DSAHEADER=%{DSAHEADER:pgpsig}
SIGPGP=%{SIGPGP:pgpsig}
SIGGPG=%{SIGGPG:pgpsig}
[PROVIDES=%{PROVIDENAME}
]'

asked() { # of rpm: only the pinned keys count
  rpm --define '_keyring rpmdb' --dbpath /airbundle/keydb "$@"
}

hex() {
  od -A n -v -t x1 | tr -d ' \n'
}

alone() { # path
  name=${1##*/}
  own=$out/${name%.rpm}
  sha256sum <"$1" | cut -d ' ' -f 1 >"$own/sha256"
  head -c 4 "$1" | hex >"$own/magic"
  asked -K -v "$1" >"$own/check.out" 2>&1
  echo $? >"$own/check.rc"
  if [ "$(cat "$own/magic")" = edabeedb ]; then
    asked -qp --qf "$format" "$1" >"$own/header" 2>/dev/null
  else
    : >/airbundle/out/not-rpm
  fi
}

together() { # work folder, paths
  work=$1
  shift
  # Each file gives four bytes at most: so many of them in a row are the first four of each.
  all=
  for file; do all=${all}edabeedb; done
  [ "$(head -q -c 4 "$@" | hex)" = "$all" ] || return 1
  sha256sum "$@" >"$work/sums" || return 1
  asked -K -v "$@" >"$work/checks" 2>&1 || return 1
  # The packages were made before this was drawn: none of them can begin what looks like the facts of another.
  mark=$(head -c 16 /dev/urandom | hex)
  [ "${#mark}" = 32 ] || return 1
  asked -qp --qf "$mark
$format" "$@" >"$work/headers" 2>/dev/null || return 1
  awk -v out="$out" -v mark="$mark" '
    function wrong() { failed = 1; exit 1 }
    function next_one(file) {
      if (to != "") close(to)
      at += 1
      to = out "/" names[at] "/" file
    }
    FNR == 1 {
      part += 1
      if (part == 3 && at != count) wrong()
      at = 0
    }
    part == 1 {
      path = $0
      sub(/^[0-9a-f]+  /, "", path)
      name = path
      sub(/^.*\//, "", name)
      sub(/\.rpm$/, "", name)
      count += 1
      paths[count] = path
      names[count] = name
      print $1 > (out "/" name "/sha256")
      close(out "/" name "/sha256")
      printf "edabeedb" > (out "/" name "/magic")
      close(out "/" name "/magic")
      print 0 > (out "/" name "/check.rc")
      close(out "/" name "/check.rc")
      next
    }
    part == 2 {
      if (at < count && $0 == paths[at + 1] ":") next_one("check.out")
      else if (at == 0 || substr($0, 1, 4) != "    ") wrong()
      print > to
      next
    }
    {
      if ($0 == mark) { if (at == count) wrong(); next_one("header") }
      else if (at == 0) wrong()
      else print > to
    }
    END { if (failed || part != 3 || at != count) exit 1 }
  ' "$work/sums" "$work/checks" "$work/headers"
}

mkdir -p "$out"
(cd "$out" && for file; do
  name=${file##*/}
  printf '%s\n' "${name%.rpm}"
done | xargs mkdir -p) || exit 1
work=$(mktemp -d /airbundle/some.XXXXXX) || exit 1
if ! together "$work" "$@"; then
  for file; do alone "$file"; done
fi
for file; do echo "examined ${file##*/}"; done
