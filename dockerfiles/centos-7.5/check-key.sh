#!/bin/sh
# Fails unless the key file $1 holds exactly one primary key, with the fingerprint $2.
set -eu
home=$(mktemp -d)
chmod 700 "$home"
found=$(gpg --homedir "$home" --batch --with-colons --with-fingerprint "$1" 2>/dev/null)
rm -rf "$home"
primaries=$(printf '%s\n' "$found" | grep -c '^pub:') || :
fingerprint=$(printf '%s\n' "$found" | sed -n 's/^fpr:*\([0-9A-F]*\):*$/\1/p' | head -n 1)
if [ "$primaries" != 1 ] || [ "$fingerprint" != "$2" ]; then
  echo "$1: $primaries primary key(s), fingerprint $fingerprint; expected one, $2" >&2
  exit 1
fi
echo "$1: $fingerprint"
