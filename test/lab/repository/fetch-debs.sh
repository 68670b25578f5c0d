#!/bin/sh
# Downloads the Debian packages named in /work/debs.list to /debs and writes /work/control.tsv.
set -eu
cd /debs
# shellcheck disable=SC2046 # one argument a word is what is wanted
apt-get -q download $(cat /work/debs.list)

# shellcheck disable=SC2016 # the ${…} are dpkg's own fields
fields='${Package}\t${Version}\t${Depends}\t${Pre-Depends}\t${binary:Summary}\n'
while read -r name; do
  newest=
  for file in "${name}"_*.deb; do newest=$file; done
  printf '%s\t' "$newest"
  dpkg-deb -W --showformat "$fields" "$newest"
done </work/debs.list >/work/control.tsv.new
mv /work/control.tsv.new /work/control.tsv
