#!/bin/sh
# Airbundle: the first step of an installation, run as root from the folder of the bundle:
#
#   sh install.sh --key packager.pub.pem --fingerprint F --site site.yaml --node lb1
#
# It copies the folder to a place that only root can enter, proves the copy with openssl and sha256sum,
# takes the program out of the proved copy and lets it go on. Once this node has a trusted key, the
# installed program does all of that, and --key is refused.
# With "rollback" or "uninstall" as the first word the program takes back what was begun or installed here,
# for a node on which the command itself is not (any more).
# Exit codes: 2 usage, 4 verification failed, 5 refused; others are the program's own.

set -eu
umask 077

# Nothing of the caller's environment counts from here on (a marker in the environment would).
if [ "${1-}" != --clean-environment ]; then
  exec /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/nonexistent \
    TERM="${TERM:-dumb}" /bin/sh "$0" --clean-environment "$@"
fi
shift

state=/var/lib/airbundle
trust=/etc/airbundle/trust
command=/usr/sbin/airbundle

fail() { # exit-code, code, message, next step, evidence
  {
    printf 'error[%s]: %s\n' "$2" "$3"
    [ -z "${5-}" ] || printf '%s\n' "$5" | sed 's/^/  | /'
    printf '  next: %s\n' "$4"
  } | tr -d '\000-\011\013-\037\177' >&2 # a name on the medium may hold what a terminal obeys
  exit "$1"
}

verb=install
case ${1-} in rollback | uninstall) verb=$1 && shift ;; esac

folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
[ "$(id -u)" = 0 ] || fail 5 NOT_ROOT 'this has to be run as root' "sudo sh $0 $*"

trusted=
for pem in "$trust"/*.pem; do
  [ -f "$pem" ] && trusted=yes
done
if [ -n "$trusted" ] && [ -x "$command" ]; then
  [ "$verb" = install ] || exec "$command" "$verb" "$@"
  exec "$command" install "$folder" "$@"
fi

for tool in openssl sha256sum tar cp mktemp; do
  command -v "$tool" >/dev/null 2>&1 || fail 5 TOOL_MISSING "$tool is not on this node" "install it from this node's own repository or media: yum install /usr/bin/$tool"
done

# --key and --fingerprint are looked for, not taken away: the program checks both again.
key=
fingerprint=
previous=
for word in "$@"; do
  case $previous in
    --key) key=$word ;;
    --fingerprint) fingerprint=$word ;;
  esac
  case $word in
    --key=*) key=${word#--key=} ;;
    --fingerprint=*) fingerprint=${word#--fingerprint=} ;;
    -h | --help)
      sed -n '2,11s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
  esac
  previous=$word
done

# With a trusted key, the program refuses any other --key.
if [ -z "$trusted" ]; then
  [ -n "$key" ] || fail 2 NO_TRUST 'no key is trusted on this node yet' 'add: --key packager.pub.pem --fingerprint F'
  [ -f "$key" ] || fail 2 NO_KEY "there is no key file $key" 'give the path of packager.pub.pem'
  if [ -z "$fingerprint" ]; then
    [ -t 0 ] || fail 2 NO_FINGERPRINT 'the fingerprint of the key is needed' \
      'add: --fingerprint F, as the packager told you by another way than this medium'
    printf 'Fingerprint of the key, as the packager told you: ' >&2
    read -r fingerprint
    set -- "$@" --fingerprint "$fingerprint"
  fi
  fingerprint=$(printf %s "$fingerprint" | tr -d ' :\t\n' | tr 'A-F' 'a-f')
  case $fingerprint in *[!0-9a-f]*) digits=no ;; *) digits=${#fingerprint} ;; esac
  [ "$digits" = 64 ] || fail 2 NO_FINGERPRINT "this is not a fingerprint: 64 hex digits are wanted (it has ${#fingerprint} characters)" \
    'give it as the packager told you; quote it when it has spaces'
fi

# One X.sha256; a regular file, as everything that is copied.
sums=
for file in "$folder"/*.sha256; do
  [ -f "$file" ] || continue
  [ -z "$sums" ] || fail 4 NO_BUNDLE "there is more than one .sha256 file in $folder" \
    'give the folder that bundle create wrote, with its four files and no others'
  sums=${file##*/}
done
[ -n "$sums" ] || fail 4 NO_BUNDLE "there is no .sha256 file in $folder" 'copy the whole folder again'
stem=${sums%.sha256}

no_stage() { fail 5 NO_STAGE "$state/stage could not be made" "see: df -h /var/lib $state; dmesg | tail" "${said-}"; }
said=$(mkdir -p "$state/stage" 2>&1) || no_stage
said=$(chmod 711 "$state" 2>&1) || no_stage
said=$(chmod 700 "$state/stage" 2>&1) || no_stage
# The process id in its name tells the program that this folder is in use.
stage=$(mktemp -d "$state/stage/first.$$.XXXXXX") || no_stage
trap 'rm -rf "$stage"' EXIT
trap 'echo "stopped; nothing was changed" >&2; exit 130' HUP INT TERM

take() { # file, name in the stage
  if [ ! -f "$1" ] || [ -L "$1" ]; then fail 4 MISSING "$1 is missing, or is no plain file" 'copy the whole folder again'; fi
  said=$(cp -- "$1" "$stage/$2" 2>&1) ||
    fail 5 NO_ROOM "$1 could not be copied to $stage" "make room (see: df -h $state), then run the same command again" "$said"
}

# The fingerprint is of the SPKI in DER; the signature file's name comes from the key, never from the folder.
looked=
verify() { # public key, its path for people
  openssl pkey -pubin -in "$1" -outform DER -out "$stage/key.der" >/dev/null 2>&1 ||
    fail 4 BAD_PUBLIC_KEY "$2 is not a public key in PEM" 'put the packager.pub.pem there that bundle keygen wrote'
  digest=$(sha256sum <"$stage/key.der" | cut -d ' ' -f 1)
  if [ -z "$trusted" ] && [ "$digest" != "$fingerprint" ]; then
    fail 4 WRONG_FINGERPRINT "the key has the fingerprint $digest, not the one that was given" \
      'do not go on: ask the packager which of the two is right'
  fi
  signature=$sums.$(printf %s "$digest" | cut -c 1-16).sig
  looked="${looked:+$looked; }$folder/$signature: not there"
  [ -f "$folder/$signature" ] || return 1
  take "$folder/$signature" "$signature"
  looked="${looked%: not there}: not a signature of $sums by this key"
  openssl dgst -sha256 -verify "$1" -signature "$stage/$signature" "$stage/$sums" >/dev/null 2>&1
}

take "$folder/$sums" "$sums"
proved=
if [ -z "$trusted" ]; then
  take "$key" key.pem
  set -- "$@" --key "$stage/key.pem"
  if verify "$stage/key.pem" "$key"; then proved=yes; fi
else
  for pem in "$trust"/*.pem; do
    if verify "$pem" "$pem"; then proved=yes && break; fi
  done
fi
[ -n "$proved" ] || fail 4 BAD_SIGNATURE "no trusted key has signed $sums" \
  'copy the whole folder again; ask the packager which key signed it' "$looked"

take "$folder/$stem.tar" "$stem.tar"
take "$folder/install.sh" install.sh
said=$(cd "$stage" && sha256sum --strict --quiet -c "$sums" 2>&1) ||
  fail 4 BAD_CHECKSUM "the copy of $folder is not what was signed" 'copy the whole folder again from its origin' "$said"

mkdir "$stage/program"
said=$(tar -x -f "$stage/$stem.tar" -C "$stage/program" runtime/node installer.cjs 2>&1) ||
  fail 5 UNPACK "the program could not be unpacked in $stage" "see: df -h $state" "$said"
said=$("$stage/program/runtime/node" --version 2>&1) ||
  fail 5 NOEXEC "programs cannot be run from $state" \
    "where this says noexec: findmnt -T $state; mount -o remount,exec \$(findmnt -n -o TARGET -T $state)" "$said"

# From here on Ctrl-C is the program's: it undoes what it began, and its exit code is the answer.
trap : HUP INT TERM
status=0
if [ "$verb" = install ]; then
  set -- install "$stage" "$@"
else
  # What proved the folder is not for these commands.
  skip=
  for word in "$@"; do
    shift
    if [ -n "$skip" ]; then skip= && continue; fi
    case $word in
      --key | --fingerprint) skip=yes ;;
      --key=* | --fingerprint=*) ;;
      *) set -- "$@" "$word" ;;
    esac
  done
  set -- "$verb" "$@"
fi
"$stage/program/runtime/node" "$stage/program/installer.cjs" "$@" || status=$?
exit "$status"
