#!/bin/sh
# Builds one RPM: $1 is NAME.ARCH, its spec, parts and extra files lie in /work/specs.
set -eu
target=$1
arch=${target##*.}
payload=/tmp/payload/$target
mkdir -p "$payload"

drop='^usr/share/(doc|man|info|locale|lintian|bug|bash-completion|zsh|gtk-doc|doc-base|menu|applications|pixmaps|gdb|gcc|polkit-1|debhelper|apport|initramfs-tools|pkg-config-crosswrapper|pkg-config-dpkghook)(/|$)'
drop="$drop"'|^etc/(init\.d|cron\.[a-z]+|apparmor\.d|logrotate\.d|logcheck|pkcs11|dpkg|apt)/|^usr/share/i18n/|^usr/lib/udev/hwdb\.d/'

# /bin, /sbin, /lib and /lib64 are links into /usr: every path is written as it really is.
merge_usr() {
  for top in bin sbin lib lib64; do
    [ -d "$1/$top" ] || continue
    mkdir -p "$1/usr/$top"
    cp -a "$1/$top/." "$1/usr/$top/"
    rm -rf "${1:?}/$top"
  done
}

while IFS="$(printf '\t')" read -r file how pattern; do
  part=/tmp/part/$target
  rm -rf "$part"
  mkdir -p "$part"
  dpkg-deb --extract "/debs/$file" "$part"
  merge_usr "$part"
  (
    cd "$part"
    find . ! -type d -printf '%P\n' >/tmp/paths."$target"
    {
      grep -E "$drop" /tmp/paths."$target" || :
      case $how in
        only) grep -Ev "$pattern" /tmp/paths."$target" || : ;;
        except) grep -E "$pattern" /tmp/paths."$target" || : ;;
      esac
    } | sort -u | xargs -r -d '\n' rm -f
    find . -mindepth 1 -depth -type d -empty -delete
  )
  cp -a "$part/." "$payload/"
done </work/specs/"$target".parts
if [ -d "/work/specs/$target.extra" ]; then cp -a "/work/specs/$target.extra/." "$payload/"; fi

# EL's libraries are executable; rpm takes dependencies from executable ELF files only.
find "$payload" -type f -name '*.so*' -exec chmod 755 {} +

(
  cd "$payload"
  find . -type d -empty -printf '%%dir "/%P"\n'
  find . ! -type d -path './etc/*' -printf '%%config(noreplace) "/%P"\n'
  find . ! -type d ! -path './etc/*' -printf '"/%P"\n'
) | sed 's/\[/[[]/g' >"$payload.files"

SOURCE_DATE_EPOCH=1600000000
export SOURCE_DATE_EPOCH
rpmbuild -bb --quiet --target "$arch" \
  --define "payload $payload" \
  --define "_topdir /tmp/rpmbuild/$target" \
  --define '_rpmdir /work/repo/Packages' \
  --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' \
  --define '_buildhost lab.example' \
  --define 'use_source_date_epoch_as_buildtime 1' \
  "/work/specs/$target.spec" >"/tmp/$target.log" 2>&1 || {
  echo "rpmbuild failed for $target:" >&2
  tail -n 20 "/tmp/$target.log" >&2
  exit 1
}
rm -rf "$payload" "/tmp/part/$target" "/tmp/rpmbuild/$target"
