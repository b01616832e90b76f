# Installs system packages, or says exactly how to. Debian and Ubuntu; elsewhere it names what is needed.
# shellcheck shell=sh disable=SC2154 # setup_log: set by setup.sh

# How this user may install packages: sets $privileged to the prefix for a privileged command and succeeds, or fails.
# Asking for a password is left to sudo, and only where somebody can answer.
gain_rights() {
  privileged=
  [ "$(id -u)" != 0 ] || return 0
  have sudo || return 1
  if sudo -n true 2>/dev/null; then
    privileged="sudo -n"
  elif [ -t 0 ] && [ -t 2 ]; then
    privileged=sudo
  else
    return 1
  fi
}

# $1: lines `package|reason`. Installs those packages or gives up with the command to type.
install_packages() {
  names=$(printf '%s\n' "$1" | cut -d'|' -f1 | sort -u | tr '\n' ' ')
  names=${names% }
  say "this machine lacks:"
  printf '%s\n' "$1" | while IFS='|' read -r package reason; do
    printf '  %-18s %s\n' "$package" "$reason" >&2
  done
  if ! have apt-get; then
    give_up "packages can be installed by Kiln on Debian and Ubuntu only" \
      "install what provides them here, then run the command again"
  fi
  # shellcheck disable=SC2086 # names is a list of words
  set -- $names
  by_hand="sudo apt-get update && sudo apt-get install --no-install-recommends $names"
  [ "${KILN_SETUP-}" != never ] || give_up "KILN_SETUP=never forbids installing them" "$by_hand"
  gain_rights || give_up "you have no right to install packages (not root, no sudo)" "as root or with sudo: $by_hand"
  apt_lists_current "$@" || step "apt-get update" apt_update || give_up "apt-get update failed" "$by_hand"
  say "apt-get install --no-install-recommends $names"
  if ! apt_install "$@"; then
    # A run that was killed in the middle leaves packages half configured; dpkg tells how to go on.
    say "trying again after dpkg --configure -a"
    $privileged env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >/dev/null 2>&1 </dev/null || :
    step "apt-get update" apt_update || give_up "apt-get update failed" "$by_hand"
    apt_install "$@" || give_up "apt-get could not install: $names" "$by_hand"
  fi
}

# Whether apt knows how to install these packages. A minimal machine comes without package lists.
apt_lists_current() {
  apt-get -s -q install --no-install-recommends "$@" >/dev/null 2>&1
}

apt_update() {
  # The lists have a lock of their own, which DPkg::Lock::Timeout does not wait for.
  for attempt in 1 2 3; do
    $privileged apt-get -q -o Acquire::Retries=3 update && return 0
    [ "$attempt" = 3 ] || sleep 5
  done
  return 1
}

# Installs "$@" and shows how far it is; the whole of apt's output only where it fails.
apt_install() {
  apt_started=$(date +%s)
  : >"$setup_log"
  {
    # shellcheck disable=SC2086 # privileged is words
    $privileged env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -y -q \
      --no-install-recommends -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold \
      -o APT::Status-Fd=1 "$@" 2>>"$setup_log" </dev/null || echo "kiln:failed"
  } | apt_progress "$setup_log" || {
    show_log
    return 1
  }
  say "packages installed: $(($(date +%s) - apt_started)) s"
}

# Turns apt's status lines (`dlstatus:n:percent:…`, `pmstatus:package:percent:…`) into progress: one line that moves on
# a terminal, else one for each quarter of the way. Everything else goes to the log, $1.
apt_progress() {
  shown='' failed=0 grain=25 ends='\n'
  if [ -t 2 ]; then grain=1 ends='   \r'; fi
  while IFS= read -r line; do
    case $line in
      dlstatus:* | pmstatus:*)
        percent=${line#*:*:}
        percent=${percent%%[.:]*}
        case $line in dlstatus:*) doing=downloading ;; *) doing=installing ;; esac
        percent=$((percent / grain * grain))
        if [ "$shown" != "$doing $percent" ]; then
          shown="$doing $percent"
          # shellcheck disable=SC2059 # the format holds the line's end
          printf "  %s %s %%$ends" "$doing" "$percent" >&2
        fi
        ;;
      kiln:failed) failed=1 ;;
      *) printf '%s\n' "$line" >>"$1" ;;
    esac
  done
  return $failed
}

# Rootless Podman maps users into a range that an administrator grants in /etc/subuid and /etc/subgid.
grant_user_ids() {
  [ "$(id -u)" != 0 ] || return 0
  user=$(id -un)
  if granted /etc/subuid && granted /etc/subgid; then return 0; fi
  # Above every range granted so far.
  first=$(cat /etc/subuid /etc/subgid 2>/dev/null |
    awk -F: 'BEGIN { next_id = 100000 } $2 + $3 > next_id { next_id = $2 + $3 } END { print next_id }')
  range=$first-$((first + 65535))
  by_hand="sudo usermod --add-subuids $range --add-subgids $range $user"
  say "user $user has no range of ids for rootless Podman in /etc/subuid and /etc/subgid"
  [ "${KILN_SETUP-}" != never ] || give_up "KILN_SETUP=never forbids granting one" "$by_hand"
  gain_rights || give_up "you have no right to grant one" "as root or with sudo: $by_hand"
  # shellcheck disable=SC2086 # privileged is words
  step "$by_hand" $privileged usermod --add-subuids "$range" --add-subgids "$range" "$user" ||
    give_up "could not grant it" "$by_hand"
}

granted() { grep -qE "^($user|$(id -u)):" "$1" 2>/dev/null; }
