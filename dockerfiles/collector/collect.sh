#!/bin/sh
# Runs yum in the container that has the network, then looks up where each download came from.
# Arguments: yum's. Reads /airbundle/yum.conf; downloads go to /airbundle/rpms, repository paths to
# /airbundle/origins. The exit code is yum's, and is not proof of anything: the caller judges.
set -u
umask 022
LC_ALL=C
HOME=/airbundle/home
export LC_ALL HOME
mkdir -p /airbundle/home /airbundle/root /airbundle/rpms
: >/airbundle/origins

if ! command -v yum >/dev/null 2>&1; then
  echo 'airbundle: no yum in this image' >&2
  exit 100
fi
yum "$@"
rc=$?
[ "$rc" -eq 0 ] || exit "$rc"

# yum is written in python: whichever image has the one has the other.
for python in python3 python python2 /usr/libexec/platform-python; do
  if command -v "$python" >/dev/null 2>&1; then
    (cd /airbundle/rpms && find . -name '*.rpm' -exec basename {} ';') |
      "$python" /airbundle/origins.py /airbundle/root >/airbundle/origins || : >/airbundle/origins
    break
  fi
done
exit 0
