#!/bin/sh
# Makes the image $2, of one layer, from the container $1; the rest are options of docker import.
set -eu
container=$1
tag=$2
shift 2
docker export "$container" | docker import "$@" - "$tag"
