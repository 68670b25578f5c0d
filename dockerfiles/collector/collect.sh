#!/bin/sh
# Runs yum in the container that has the network, then looks up where each download came from.
# Arguments: yum's. Reads /airbundle/yum.conf. May be there already: RPMs of an earlier run in
# /airbundle/rpms (/airbundle/seeds lists them as "SHA256  NAME"), its metadata in /airbundle/metadata.tar.
# Writes: /airbundle/rpms what was downloaded, /airbundle/reused the names among the seeds that yum wanted
# as they are, /airbundle/origins repository paths, /airbundle/metadata.tar. The exit code is yum's, and is
# not proof of anything: the caller judges.
set -u
umask 022
LC_ALL=C
HOME=/airbundle/home
export LC_ALL HOME
# yum puts its cache below the root that it installs into.
cache=/airbundle/root/airbundle
mkdir -p /airbundle/home /airbundle/root /airbundle/rpms "$cache"
: >/airbundle/origins
: >/airbundle/reused

if ! command -v yum >/dev/null 2>&1; then
  echo 'airbundle: no yum in this image' >&2
  exit 100
fi
if [ -e /airbundle/metadata.tar ]; then
  tar -C "$cache" -xf /airbundle/metadata.tar || rm -rf "$cache/cache"
fi
yum "$@"
rc=$?
# Without the plugin's list nobody knows which of the seeds belong to the set: begin again without them.
if [ "$rc" -eq 0 ] && [ -s /airbundle/seeds ] && [ ! -s /airbundle/chosen ]; then
  echo 'airbundle: warning: yum did not say which packages it chose: those of the cache are downloaded again' >&2
  rm -rf /airbundle/rpms /airbundle/seeds
  mkdir /airbundle/rpms
  yum "$@"
  rc=$?
fi
[ "$rc" -eq 0 ] || exit "$rc"

# yum is written in python: whichever image has the one has the other.
for python in python3 python python2 /usr/libexec/platform-python; do
  if command -v "$python" >/dev/null 2>&1; then
    (cd /airbundle/rpms && find . -name '*.rpm' -exec basename {} ';') |
      "$python" /airbundle/origins.py /airbundle/root >/airbundle/origins || : >/airbundle/origins
    break
  fi
done

if [ -s /airbundle/seeds ]; then
  cd /airbundle/rpms || exit 1
  sort /airbundle/chosen >/airbundle/chosen.sorted
  # What yum replaced has another digest and stays: it is a download. What it did not choose goes.
  sha256sum -c /airbundle/seeds 2>/dev/null | sed -n 's/: OK$//p' | sort >/airbundle/untouched
  comm -12 /airbundle/chosen.sorted /airbundle/untouched >/airbundle/reused
  while read -r name; do
    rm -f "./$name"
  done </airbundle/untouched
fi
tar -C "$cache" --exclude='*.rpm' -cf /airbundle/metadata.tar cache || rm -f /airbundle/metadata.tar
exit 0
