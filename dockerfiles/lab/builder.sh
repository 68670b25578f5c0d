#!/bin/sh
# What the lab itself needs: RPM building and signing, repository metadata, Debian source packages.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install rpm createrepo-c gnupg gpg-agent dpkg-dev patch xz-utils bzip2 file
sh /setup/rpm-macros.sh
apt-get clean
