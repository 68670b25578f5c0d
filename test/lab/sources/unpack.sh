#!/bin/sh
# Unpacks the Debian source packages that are named into /out, patches applied (redis: as upstream made it).
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
  # Debian's patches make redis use its own libraries and defaults: not what a manifest is written for.
  [ "$1" != redis ] || return 0
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

# keepalived 2.2.7 takes itself for an orphan when it tests a configuration (-t) whose check script has
# another user, and ends itself: nobody has set main_pid then. In 2.1.5 the check is not there.
mend() {
  file=/out/keepalived/lib/notify.c
  grep -q 'if (main_pid != getppid())$' "$file" || return 0
  sed -i 's/if (main_pid != getppid())$/if (main_pid \&\& main_pid != getppid())/' "$file"
  sed -i '1s/$/, and one line mended (keepalived -t)/' /out/keepalived.origin
}

cd /tmp
for name in "$@"; do
  suite=bullseye
  if ! fetch "$name" "$suite"; then
    suite=bookworm
    fetch "$name" "$suite"
  fi
  unpack "$name" "$suite"
  [ "$name" != keepalived ] || mend
done
