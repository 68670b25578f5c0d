#!/bin/sh
# Types the commands of a file in each of the folders, in a shell of its own each time. What they print and
# their exit code are left beside the folder: FOLDER.out, FOLDER.code.
#   chain.sh COMMANDS FOLDER...
set -u
commands=$1
shift
for folder; do
  (cd "$folder" && exec sh "$commands") >"$folder.out" 2>/dev/null
  echo "$?" >"$folder.code"
done
