#!/bin/sh
# Debian's rpm keeps its database in the home directory; put it where EL has it.
set -eu
mkdir -p /etc/rpm /var/lib/rpm
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros.lab
rpm --initdb
