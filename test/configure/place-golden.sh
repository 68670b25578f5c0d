#!/bin/sh
# place-golden.sh FOLDER: what a bundle puts around the configuration of one node, for a container of the programs
# image. FOLDER holds haproxy.cfg and keepalived.conf. Certificates and interfaces are made once.
set -eu
umask 022
for device in eth0 bond0 bond1; do
  ip link show "$device" >/dev/null 2>&1 && continue
  ip link add "$device" type veth peer name "${device}-peer"
  ip link set "$device" up
  ip link set "${device}-peer" up
done
mkdir -p /etc/haproxy/tls /etc/haproxy/conf.d /etc/keepalived/conf.d /usr/local/libexec/tts
if [ ! -e /etc/haproxy/tls/tts.pem ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=tts -keyout /tmp/key.pem -out /tmp/certificate.pem 2>/dev/null
  for name in tts www mq stats; do
    cat /tmp/certificate.pem /tmp/key.pem >"/etc/haproxy/tls/$name.pem"
  done
fi
for hook in state-changed page-somebody; do
  # shellcheck disable=SC2016 # the hook's own words
  printf '#!/bin/sh\necho "$*" >>/tmp/states\n' >"/usr/local/libexec/tts/$hook"
  chmod 755 "/usr/local/libexec/tts/$hook"
done
install -m 755 /check-haproxy.sh /etc/keepalived/check-haproxy
install -m 600 "$1/haproxy.cfg" /etc/haproxy/haproxy.cfg
install -m 600 "$1/keepalived.conf" /etc/keepalived/keepalived.conf
