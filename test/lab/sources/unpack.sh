#!/bin/sh
# Unpacks Debian's source packages haproxy and keepalived into /out, patches applied.
# Debian 11's version is wanted; where the mirror does not hold its archive, Debian 12's is taken.
# The .dsc is not asked for: apt checks the archives against its own signed index.
set -eu

# The newer suite, from the same mirror, without making its binary packages known.
sed -n 's/^deb-src \(.*\) bullseye main$/deb-src \1 bookworm main/p' /etc/apt/sources.list \
  >/etc/apt/sources.list.d/newer.list
apt-get -q update

fetch() { # name suite
  rm -f "$1"_*
  apt-get -q source --download-only --tar-only "$1/$2" || return 1
  apt-get -q source --download-only --diff-only "$1/$2" ||
    echo "the mirror does not hold the patches of $1 in $2: going on without"
}

unpack() { # name suite
  mkdir "/out/$1"
  tar -C "/out/$1" --strip-components 1 -xf "$(echo "$1"_*.orig.tar.*)"
  version=$(echo "$1"_*.orig.tar.* | sed 's/^[^_]*_//; s/\.orig\.tar\..*//')
  patches=without
  for archive in "$1"_*.debian.tar.*; do
    [ -f "$archive" ] || continue
    patches=with
    tar -C "/out/$1" -xf "$archive"
    grep -Ev '^(#|[[:space:]]*$)' "/out/$1/debian/patches/series" | while read -r file _; do
      patch -d "/out/$1" --quiet --force --no-backup-if-mismatch -p1 \
        <"/out/$1/debian/patches/$file"
    done
    # What is upstream's, with the patches in it; packaging stays out.
    rm -rf "/out/$1/debian"
  done
  echo "$version" >"/out/$1.version"
  echo "Debian $2's source package $1 $version, $patches its patches" >"/out/$1.origin"
}

cd /tmp
for name in haproxy keepalived; do
  suite=bullseye
  if ! fetch "$name" "$suite"; then
    suite=bookworm
    fetch "$name" "$suite"
  fi
  unpack "$name" "$suite"
done
