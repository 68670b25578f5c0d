#!/bin/sh
# A gRPC backend and its clients, on Node 20.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install libstdc++6 iproute2 procps
install -m 755 /backend/node /usr/local/bin/node
install -m 644 /backend/server.cjs /backend/client.cjs /backend/load.cjs /srv/
install -m 755 /setup/serve.sh /srv/serve
node --version
apt-get clean
