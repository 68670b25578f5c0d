#!/bin/sh
# Makes a minimal Debian 11 root in $1 from the machine's own Debian mirror.
set -eu
root=$1

release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
# shellcheck disable=SC2016 # the $(…) are apt's own fields
mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' 'Component: main' |
  awk -v release="$release" '$1 == release { print $2; exit }')
if [ -z "$mirror" ]; then
  echo 'no Debian mirror in this machine'\''s apt configuration' >&2
  exit 1
fi

debootstrap --variant=minbase bullseye "$root" "$mirror"

# Source packages too; package lists stay in the image so that later steps need no update.
printf 'deb %s bullseye main\ndeb-src %s bullseye main\n' "$mirror" "$mirror" >"$root/etc/apt/sources.list"
cat >"$root/etc/apt/apt.conf.d/99lab" <<'CONF'
Acquire::Languages "none";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
Dpkg::Options:: "--force-unsafe-io";
CONF
# No service may start while packages are configured.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
chroot "$root" apt-get -q update
rm -rf "$root"/var/cache/apt/archives/*.deb
