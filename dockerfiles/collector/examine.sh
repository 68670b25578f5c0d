#!/bin/sh
# Gathers facts about the RPMs in /airbundle/rpms, in a container without network; the caller judges them.
# Keys: /airbundle/keys/*.asc, the manifest's and no others. Results go to /airbundle/out:
#   keys             key ids that rpm took from them, one a line
#   rpms/SHA256/     one folder for each RPM, see examine-some.sh
#   closure.rc, closure.out    rpm --test of the whole set into an empty root
# Standard output: one line for each RPM as it is done.
set -u
umask 022
LC_ALL=C
HOME=/airbundle/home
export LC_ALL HOME
mkdir -p /airbundle/home /airbundle/out/rpms /airbundle/keydb /airbundle/root

if ! command -v rpm >/dev/null 2>&1; then
  echo 'airbundle: no rpm in this image' >&2
  exit 100
fi

# Macros of the image must not bring in other keys, or another place to look for them.
rpm --dbpath /airbundle/keydb --initdb || exit 1
for key in /airbundle/keys/*.asc; do
  rpm --define '_keyring rpmdb' --dbpath /airbundle/keydb --import "$key" || exit 1
done
rpm --dbpath /airbundle/keydb -qa gpg-pubkey --qf '%{VERSION}\n' >/airbundle/out/keys || exit 1

jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
find /airbundle/rpms -name '*.rpm' -print0 | xargs -0 -P "$jobs" -n 16 sh /airbundle/examine-some.sh || exit 1

# A file that is no RPM would be read by rpm as a list of other files.
if [ -e /airbundle/out/not-rpm ]; then exit 0; fi

rpm --root /airbundle/root --initdb || exit 1
rpm --root /airbundle/root --nosignature --ignoresize -Uvh --test /airbundle/rpms/*.rpm \
  >/airbundle/out/closure.out 2>&1
echo $? >/airbundle/out/closure.rc
exit 0
