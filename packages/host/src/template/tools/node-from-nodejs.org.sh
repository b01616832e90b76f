#!/bin/sh
# Node.js and npm from Node's own distribution. $1: a major version (22), or an exact one (22.12.0).
set -eu
case $1 in
  *.*) folder=https://nodejs.org/dist/v$1 ;;
  *) folder=https://nodejs.org/dist/latest-v$1.x ;;
esac
download() { curl --proto =https --tlsv1.2 --fail --silent --show-error --location --retry 3 "$@"; }

scratch=$(mktemp -d)
cd "$scratch"
download --remote-name "$folder/SHASUMS256.txt"
file=$(sed -n 's/^[0-9a-f]*  \(node-v[0-9.]*-linux-x64\.tar\.gz\)$/\1/p' SHASUMS256.txt)
download --remote-name "$folder/$file"
grep "  $file\$" SHASUMS256.txt | sha256sum --check --quiet
tar -xzf "$file" -C /usr/local --strip-components=1 --no-same-owner \
  --exclude='*/CHANGELOG.md' --exclude='*/LICENSE' --exclude='*/README.md' --exclude='*/share'
cd / && rm -rf "$scratch"
node --version
npm --version
mkdir -p /etc/kiln/tools
node --print process.versions.node > /etc/kiln/tools/node
