# What set-up tells people: plain lines on stderr, and a log for the rest.
# shellcheck shell=sh disable=SC2154 # setup_log: set by setup.sh

say() { printf 'kiln: %s\n' "$*" >&2; }

# Ends with the documented code for a machine that lacks something. $1 what is wrong, $2 what to do about it.
give_up() {
  say "$1"
  [ -z "${2-}" ] || printf '  hint: %s\n' "$2" >&2
  exit 4
}

# The end of what the last step said.
show_log() {
  tail -n 30 "$setup_log" | sed 's/^/  | /' >&2
  say "the whole log is in $setup_log"
}

# Runs a command quietly as a step of set-up and tells how long it took; when it fails, the end of what it said is
# shown. $1 what is being done; the command follows.
step() {
  step_name=$1 step_started=$(date +%s)
  shift
  printf 'kiln: %s ... ' "$step_name" >&2
  if "$@" >"$setup_log" 2>&1 </dev/null; then
    printf '%s s\n' "$(($(date +%s) - step_started))" >&2
    return 0
  fi
  printf 'failed\n' >&2
  show_log
  return 1
}
