#!/bin/sh
# Facts about one RPM. $1: its path; the name is the SHA-256 that it should have, and .rpm.
#   sha256    what it has
#   magic     its first four bytes, in hex
#   check.rc, check.out    rpm -Kv: the signatures and digests, in rpm's own words
#   header    one TAG=value a line in a fixed order, then PROVIDES=name lines
set -u
file=$1
name=${file##*/}
out=/airbundle/out/rpms/${name%.rpm}
mkdir -p "$out"

sha256sum <"$file" | cut -d ' ' -f 1 >"$out/sha256"
head -c 4 "$file" | od -A n -t x1 | tr -d ' \n' >"$out/magic"

rpm --define '_keyring rpmdb' --dbpath /airbundle/keydb -K -v "$file" >"$out/check.out" 2>&1
echo $? >"$out/check.rc"

if [ "$(cat "$out/magic")" = edabeedb ]; then
  rpm --define '_keyring rpmdb' --dbpath /airbundle/keydb -qp --qf 'NAME=%{NAME}
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
]' "$file" >"$out/header" 2>"$out/header.err"
else
  : >/airbundle/out/not-rpm
fi
echo "examined $name"
