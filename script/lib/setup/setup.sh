# Sets up what Kiln needs and this machine lacks. Expects $root (the checkout) and $runtime (where a Node.js is kept).
# Killed at any point it leaves a state from which the next run goes on: every part is made aside and renamed into
# place, and the record that a start trusts is written last.
# shellcheck shell=sh disable=SC2154 # root, runtime: set by the script that reads this file

. "$root/script/lib/setup/say.sh"
. "$root/script/lib/setup/packages.sh"
. "$root/script/lib/setup/apt.sh"
. "$root/script/lib/setup/node.sh"
. "$root/script/lib/setup/modules.sh"

# $1: cli (Node.js and npm packages), machine (and what starts microVMs) or test (and what only the tests use).
# $2: production or all npm packages. Sets $node.
setup() {
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) ;;
    *) give_up "Kiln runs on Linux on x86-64, and this is $(uname -s) on $(uname -m)" ;;
  esac
  mkdir -p "$runtime" || give_up "cannot make $runtime" "name a folder of yours in KILN_HOME"
  # Two first runs at once: the second waits, and finds everything done. The lock goes with the process.
  exec 9>"$runtime/setup.lock"
  if have flock && ! flock --nonblock 9; then
    say "another set-up is running; waiting for it"
    flock 9
  fi
  setup_log=$runtime/setup.log # One set-up at a time writes it; kept where one failed.
  setup_packages "$1"
  find_node || bring_node
  # The checkout may be shared between users, each with a runtime folder of his own.
  mkdir -p "$root/.cache" 2>/dev/null || :
  if [ -w "$root/.cache" ]; then
    exec 8>"$root/.cache/setup.lock"
    flock 8
  fi
  install_modules "$2"
  rm -f "$setup_log"
  record_node
  exec 8>&- 9>&-
}

# One transaction for everything, bringing Node.js included.
setup_packages() {
  lacking=
  if [ "$1" != cli ]; then
    # Needs no answer where the packages are there anyway.
    if ! have mmdebstrap && reaches registry-1.docker.io; then : >"$runtime/registry-in-reach"; fi
    lacking=$(missing_packages)
  fi
  [ "$1" != test ] || lacking=$(printf '%s\n%s' "$lacking" "$(missing_test_packages)")
  find_node || lacking=$(printf '%s\n%s' "$lacking" "$(node_packages)")
  lacking=$(printf '%s\n' "$lacking" | sed '/^$/d')
  [ -z "$lacking" ] || install_packages "$lacking"
  if [ "$1" != cli ]; then
    grant_user_ids
    : >"$runtime/machine"
  fi
}

record_node() {
  printf '%s\n' "$node" >"$runtime/node.part"
  mv "$runtime/node.part" "$runtime/node"
}
