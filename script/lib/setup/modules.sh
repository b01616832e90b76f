# The npm packages of this checkout, as package-lock.json names them.
# shellcheck shell=sh disable=SC2154,SC2034 # root, runtime, node, npm: shared with setup.sh

# $1: production or all. Callers hold the lock. Reads $root, $node, $npm.
modules_current() {
  cmp -s "$root/package-lock.json" "$root/node_modules/$(modules_stamp "$1")"
}

modules_stamp() {
  case $1 in all) echo .kiln-lock-all ;; *) echo .kiln-lock ;; esac
}

install_modules() {
  rm -rf "$root"/.cache/modules.* # Of runs that were killed.
  if modules_current "$1"; then return 0; fi
  if "$node" "$root/script/lib/setup/modules-present.mjs" "$root" "$1"; then
    # Somebody has run npm by hand: what is there will do, and is left alone.
    stamp_modules "$1" "$root/node_modules"
    return 0
  fi
  [ "${KILN_SETUP-}" != never ] || give_up "npm packages are missing and KILN_SETUP=never forbids installing" "npm ci"
  [ -w "$root" ] || give_up "npm packages are missing and $root is not yours to write to" "let its owner run bin/kiln"
  # Built beside the old ones and put in place by a rename: a kill in the middle leaves the old ones, or none.
  part=$root/.cache/modules.$$
  mkdir -p "$part"
  for manifest in "$root/package.json" "$root/package-lock.json" "$root"/packages/*/package.json; do
    copy=$part${manifest#"$root"}
    mkdir -p "${copy%/*}"
    cp "$manifest" "$copy"
  done
  case $1 in all) omit='' ;; *) omit=--omit=dev ;; esac
  if ! step "npm packages" npm_ci "$part" $omit; then
    rm -rf "$part"
    give_up "npm ci failed" "see above; the npm registry has to be in reach"
  fi
  stamp_modules "$1" "$part/node_modules"
  for made in "$part"/packages/*/node_modules "$part/node_modules"; do
    [ -d "$made" ] || continue
    place=$root${made#"$part"}
    [ ! -e "$place" ] || mv "$place" "$made.old"
    mv "$made" "$place"
  done
  rm -rf "$part"
}

# A subshell: the caller stays in the folder that the command is to run in.
npm_ci() (
  cd "$1" || exit 1
  shift
  # npm knows its own list of authorities only; the machine's may have one more (a company's proxy).
  bundle=/etc/ssl/certs/ca-certificates.crt
  if [ -z "${NODE_EXTRA_CA_CERTS-}" ] && [ -r "$bundle" ]; then export NODE_EXTRA_CA_CERTS="$bundle"; fi
  # $npm is words: a node and its npm-cli.js, or npm.
  PATH=$(dirname "$node"):$PATH $npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier "$@"
)

# All packages include those of production.
stamp_modules() {
  cp "$root/package-lock.json" "$2/.kiln-lock"
  [ "$1" != all ] || cp "$root/package-lock.json" "$2/.kiln-lock-all"
}
