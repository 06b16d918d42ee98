#!/bin/sh
# install-config FILE FOLDER - put the default configuration in place, unless the administrator has one. All of its keys
# are comments there, so that a later version's defaults hold until the administrator sets something.
set -eu
target="${DESTDIR:-}$2/config.yaml"
[ ! -e "$target" ] || exit 0
mkdir -p "$(dirname "$target")"
sed 's/^[a-z]/#&/; s/the values below are the defaults/what is commented out is the default/' "$1" >"$target.new"
chmod 0644 "$target.new"
mv "$target.new" "$target"
