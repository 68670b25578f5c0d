#!/bin/sh
# A repository of packages that nobody should take, in /out; what signed them, in /out/keys. Runs in the lab's builder.
set -eu
mkdir -p /out/repo/Packages /out/keys /tmp/gpg
chmod 700 /tmp/gpg
export GNUPGHOME=/tmp/gpg

for who in good other; do
  gpg --batch --quiet --pinentry-mode loopback --passphrase '' \
    --quick-generate-key "$who <$who@example.invalid>" rsa2048 sign never
  gpg --batch --armor --export "$who@example.invalid" >"/out/keys/$who"
done

# $1: name; $2: a line of its spec.
build() {
  cat >"/tmp/$1.spec" <<SPEC
Name: $1
Version: 1
Release: 1
Summary: A package for a test
License: MIT
BuildArch: noarch
$2
%description
A package for a test.
%files
SPEC
  rpmbuild -bb --quiet --define '_rpmdir /out/repo/Packages' --define '_buildhost lab.example' \
    --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' "/tmp/$1.spec"
}

# $1: name; $2: whose key.
sign() {
  rpmsign --addsign --define '__gpg /usr/bin/gpg' --define "_gpg_name $2@example.invalid" \
    --define '_gpg_digest_algo sha256' "/out/repo/Packages/$1-1-1.noarch.rpm" >/dev/null
}

build fine ''
build needy 'Requires: no-such-library = 3'
build foreign ''
build unsigned ''
sign fine good
sign needy good
sign foreign other
gpgconf --kill gpg-agent
createrepo_c --quiet --general-compress-type=gz /out/repo
chmod -R a+rX /out
