#!/bin/sh
# Imports the root $1 into the engine as the image $2.
set -eu
tar -C "$1" -c . | docker import - "$2"
