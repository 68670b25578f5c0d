set -e
mkdir -p "$1/usr/local/bin" "$1/usr/local/share/mini"
install -m 755 mini "$1/usr/local/bin/mini"
ln -s mini "$1/usr/local/bin/mini-link"
cat version >"$1/usr/local/share/mini/version"
