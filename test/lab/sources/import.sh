#!/bin/sh
# Imports the tree $1 into a new bare repository $2 as one commit with the tag $3: same tree, same commit.
set -eu
tree=$1
bare=$2
tag=$3

export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent
export GIT_AUTHOR_NAME='airbundle lab' GIT_AUTHOR_EMAIL='lab@example.invalid'
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
export GIT_AUTHOR_DATE='2020-11-06T00:00:00Z' GIT_COMMITTER_DATE='2020-11-06T00:00:00Z'

git init --quiet --bare --initial-branch=master "$bare"
export GIT_DIR="$bare" GIT_WORK_TREE="$tree"
git -c core.autocrlf=false -c core.fileMode=true add --all --force
git commit --quiet --message "Import $tag from Debian"
git tag --annotate --message "$tag" "$tag"
