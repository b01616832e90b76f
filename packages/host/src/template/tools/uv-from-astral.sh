#!/bin/sh
# uv by its own installer. $1: an exact version, or latest.
set -eu
[ "$1" = latest ] && installer=https://astral.sh/uv/install.sh || installer=https://astral.sh/uv/$1/install.sh
scratch=$(mktemp -d)
cd "$scratch"
curl --proto =https --tlsv1.2 --fail --silent --show-error --location --retry 3 --output install.sh "$installer"
UV_INSTALL_DIR=/usr/local/bin UV_NO_MODIFY_PATH=1 sh install.sh
cd / && rm -rf "$scratch"
mkdir -p /etc/kiln/tools
uv --version | cut -d ' ' -f 2 > /etc/kiln/tools/uv
