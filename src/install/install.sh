#!/bin/sh
# Airbundle: the first step of an installation, run as root from the folder of the bundle:
#
#   sh install.sh --key packager.pub.pem --fingerprint F --site site.yaml --node lb1
#
# It copies the folder to a place that only root can enter, proves the copy with openssl and sha256sum,
# takes the program out of the proved copy and lets it go on. Once this node has a trusted key, the
# installed program does all of that, and --key is refused.
# With "plan" or "inventory" as the first word it lets the program do that instead, which changes nothing.
# With "--tools-only" as the first word it puts the command and its runtime on a jump host, and nothing else.
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

folder=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
[ "$(id -u)" = 0 ] || fail 5 NOT_ROOT 'this has to be run as root' "sudo sh $0 $*"

verb=install
case ${1-} in
  install | plan | inventory | rollback | uninstall) verb=$1 && shift ;;
  --tools-only) verb=tools && shift ;;
esac

trusted=
for pem in "$trust"/*.pem; do
  [ -f "$pem" ] && trusted=yes
done
if [ -n "$trusted" ] && [ -x "$command" ]; then
  case $verb in
    rollback | uninstall) exec "$command" "$verb" "$@" ;;
    *) exec "$command" "$verb" "$folder" "$@" ;;
  esac
fi

for tool in openssl sha256sum tar dd find mktemp; do
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
      sed -n '2,13s/^# \{0,1\}//p' "$0"
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

# What others than root could have put there is nobody's trust.
open=$(find "${trust%/*}" "$trust" "$trust/threshold" "$trust/removed" "$trust"/*.pem "$trust"/removed/*.pem \
  -maxdepth 0 \( -perm /022 -o ! -user root \) 2>/dev/null | head -n 1)
[ -z "$open" ] || fail 5 BAD_TRUST "others than root could change $open" "look at every key there: ls -lR $trust; then chown root:root and chmod go-w"

# How many of the trusted keys must have signed.
needed=1
if [ -e "$trust/threshold" ]; then
  needed=$(cat "$trust/threshold")
  case $needed in
    [1-9] | [1-9][0-9]) ;;
    *) fail 5 BAD_THRESHOLD "$trust/threshold is not a number of signers, 1 to 99" 'write the number of trusted keys that must sign into it' ;;
  esac
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

# Nobody but root may be able to put anything there, or another folder in its stead.
for place in / /var /var/lib "$state" "$state/stage"; do
  [ -e "$place" ] || [ -L "$place" ] || break
  wrong=$(find "$place" -prune '(' ! -type d -o ! -uid 0 -o -perm /022 ')' -printf '%y %m, owner %u')
  [ -z "$wrong" ] || fail 5 PLACE_NOT_PRIVATE "others could change what is verified in $place: it has to be a folder (d) that root alone can write" \
    "find out who wrote there (ls -la $place), then: chown root $place; chmod go-w $place; a link has to go" "$place: $wrong"
done

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
  # What was put in its place meanwhile is not followed, not waited for, and never written over.
  rm -f -- "$stage/$2"
  said=$(dd if="$1" of="$stage/$2" bs=1M iflag=nofollow,nonblock conv=excl status=none 2>&1) ||
    fail 5 NO_ROOM "$1 could not be copied to $stage" "make room (see: df -h $state), then run the same command again" "$said"
}

# The id of a key: the first 16 digits of its fingerprint, which is the SHA-256 of the SPKI in DER.
identify() { # public key, its path for people
  # 91 bytes: P-256, uncompressed. Another form of the same key would count as another signer.
  if ! openssl pkey -pubin -in "$1" -outform DER -out "$stage/key.der" >/dev/null 2>&1 ||
    [ "$(wc -c <"$stage/key.der")" -ne 91 ]; then
    fail 4 BAD_PUBLIC_KEY "$2 is not a public key in PEM, or not of P-256" 'put the packager.pub.pem there that bundle keygen wrote'
  fi
  digest=$(sha256sum <"$stage/key.der" | cut -d ' ' -f 1)
  id=$(printf %s "$digest" | cut -c 1-16)
}

# A key counts once, and not at all when it was removed here. The signature file's name comes from the key,
# never from the folder.
signers=
count=0
looked=
prove() { # public key, its path for people
  identify "$1" "$2"
  case " $signers " in *" $id "*) return ;; esac
  signature=$sums.$id.sig
  found='not there'
  if [ -e "$trust/removed/$id.pem" ]; then
    found='does not count: the key was removed here'
  elif [ -f "$folder/$signature" ]; then
    take "$folder/$signature" "$signature"
    found="not a signature of $sums by this key"
    if openssl dgst -sha256 -verify "$1" -signature "$stage/$signature" "$stage/$sums" >/dev/null 2>&1; then
      signers="$signers $id"
      count=$((count + 1))
      found=good
    fi
  fi
  looked="${looked:+$looked; }$folder/$signature: $found"
}

take "$folder/$sums" "$sums"
if [ -z "$trusted" ]; then
  take "$key" key.pem
  set -- "$@" --key "$stage/key.pem"
  identify "$stage/key.pem" "$key"
  [ "$digest" = "$fingerprint" ] ||
    fail 4 WRONG_FINGERPRINT "the key has the fingerprint $digest, not the one that was given" \
      'do not go on: ask the packager which of the two is right'
  [ ! -e "$trust/removed/$id.pem" ] ||
    fail 5 KEY_REMOVED "the key $id was removed from the trusted keys here" 'find out why it was removed; ask the packager for the key of today' \
      "$(head -n 1 "$trust/removed/$id.pem")"
  prove "$stage/key.pem" "$key"
else
  for pem in "$trust"/*.pem; do
    prove "$pem" "$pem"
  done
fi
[ "$count" -gt 0 ] || fail 4 BAD_SIGNATURE "no trusted key has signed $sums" \
  'copy the whole folder again; ask the packager which key signed it' "$looked"
[ "$count" -ge "$needed" ] || fail 4 TOO_FEW_SIGNERS "$count of the $needed signatures that this node requires are there" \
  'ask the missing signers for their .sig files and put them into the folder' "$looked"

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
case $verb in
  rollback | uninstall) set -- "$verb" "$@" ;;
  *) set -- "$verb" "$stage" "$@" ;;
esac
"$stage/program/runtime/node" "$stage/program/installer.cjs" "$@" || status=$?
exit "$status"
