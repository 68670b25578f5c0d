#!/bin/sh
# Makes a fresh machine ready for the lab: npm packages, Debian packages, a running Docker engine.
# Run as root on Debian. Running it again does nothing that is already done.
set -eu
cd "$(dirname "$0")/../.."

say() { echo "prepare: $*" >&2; }
fail() {
  echo "prepare: $1" >&2
  echo "  next: $2" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

need_root() { # what for
  [ "$(id -u)" = 0 ] || fail "root is needed to $1" 'run this again with sudo'
}

# What the lab and the tests call on this host, and the Debian package that brings it. The rest lives in images.
# A docker command alone is no engine: dockerd is what counts.
missing_packages() {
  while read -r program package; do
    have "$program" || printf '%s ' "$package"
  done <<'LIST'
ansible-playbook ansible-core
dockerd docker.io
debootstrap debootstrap
fuse-overlayfs fuse-overlayfs
gcc gcc
git git
gpg gnupg
makeself makeself
newuidmap uidmap
openssl openssl
podman podman
rpmbuild rpm
runc runc
shellcheck shellcheck
slirp4netns slirp4netns
ssh openssh-client
ssh-keygen openssh-client
strace strace
tar tar
xz xz-utils
LIST
  have docker || printf 'docker.io '
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || printf 'debian-archive-keyring '
  [ -e /sys/fs/cgroup/cgroup.controllers ] || mountpoint -q /sys/fs/cgroup ||
    have cgroupfs-mount || printf 'cgroupfs-mount '
  [ -e /etc/ssl/certs/ca-certificates.crt ] || printf 'ca-certificates '
}

install_packages() {
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  have apt-get || fail "missing: $missing" 'install these; only on Debian can this script do it'
  need_root "install $missing"
  say "apt-get install $missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # one argument a package is what is wanted
  if ! apt-get -q -y install --no-install-recommends $missing >.lab/apt.log 2>&1; then
    say 'apt-get update, because the package lists are too old or absent'
    apt-get -q update >>.lab/apt.log 2>&1 || fail 'apt-get update failed' "read $PWD/.lab/apt.log"
    # shellcheck disable=SC2086
    apt-get -q -y install --no-install-recommends $missing >>.lab/apt.log 2>&1 ||
      fail "apt-get could not install $missing" "read $PWD/.lab/apt.log"
  fi
}

# Docker needs the cgroup hierarchies, a node's systemd the one that has its name.
mount_cgroups() {
  [ ! -e /sys/fs/cgroup/cgroup.controllers ] || return 0
  if ! mountpoint -q /sys/fs/cgroup; then
    need_root 'mount the cgroup hierarchies'
    say 'mount the cgroup hierarchies'
    cgroupfs-mount || fail 'the cgroup hierarchies could not be mounted' 'mount them, or boot with systemd'
  fi
  if ! mountpoint -q /sys/fs/cgroup/systemd; then
    need_root 'mount the cgroup hierarchy named systemd'
    say 'mount the cgroup hierarchy named systemd'
    mkdir -p /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd ||
      fail 'the cgroup hierarchy named systemd could not be mounted' 'mount it, or boot with systemd'
  fi
}

start_docker() {
  if docker info >/dev/null 2>&1; then return 0; fi
  need_root 'start dockerd'
  log=$PWD/.lab/dockerd.log
  say "start dockerd, log in $log"
  setsid dockerd >"$log" 2>&1 </dev/null &
  tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -le 120 ] || fail 'dockerd did not answer for 60 s' "read $log"
    sleep 0.5
  done
}

install_npm() {
  if [ -e node_modules/.package-lock.json ] &&
    [ -z "$(find package-lock.json -newer node_modules/.package-lock.json)" ]; then
    return 0
  fi
  have npm || fail 'npm is missing' 'install Node 20 or later'
  say 'npm ci'
  npm ci --no-audit --no-fund >.lab/npm.log 2>&1 || fail 'npm ci failed' "read $PWD/.lab/npm.log"
  # npm keeps the lock file's own time: say that this one is done.
  touch node_modules/.package-lock.json
}

mkdir -p .lab
install_npm
install_packages
mount_cgroups
start_docker
say 'ready'
