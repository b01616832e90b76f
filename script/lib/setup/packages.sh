# The system packages Kiln needs: which are missing, why they are needed, and how they get here.
# shellcheck shell=sh disable=SC2154,SC2034 # root, runtime, node, npm: shared with setup.sh

have() { command -v "$1" >/dev/null 2>&1; }

# Prints one line `package|reason` for each package that is missing. Runs on every start, so it looks
# commands up and asks no package manager. Reads $runtime.
missing_packages() {
  have podman || echo "podman|builds the template images, the kernel and the guest agent"
  have qemu-system-x86_64 || echo "qemu-system-x86|runs the microVMs"
  { have flock && have setpriv; } || echo "util-linux|locks, and processes that end with their owner"
  if [ ! -e "$runtime/registry-in-reach" ]; then
    have mmdebstrap || echo "mmdebstrap|makes the Debian base image: no container registry is in reach"
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] ||
      echo "debian-archive-keyring|checks what the Debian base image is made of"
  fi
  if [ "$(id -u)" != 0 ]; then
    { have newuidmap && have newgidmap; } || echo "uidmap|gives rootless Podman its range of user ids"
    have slirp4netns || have pasta || echo "$(rootless_network)|gives rootless builds their network"
  fi
}

# Podman 5 wants passt where Podman 4 wanted slirp4netns.
rootless_network() {
  case $(. /etc/os-release 2>/dev/null && echo "${ID-}-${VERSION_ID-}") in
    debian-11 | debian-12 | ubuntu-2[0-3].* | ubuntu-24.04) echo slirp4netns ;;
    *) echo passt ;;
  esac
}

# What script/test uses besides. Prints lines like missing_packages.
missing_test_packages() {
  have shellcheck || echo "shellcheck|lints the shell scripts"
  have fio || echo "fio|reads, writes and verifies over NBD"
  have nbdkit || echo "nbdkit|is the NBD server to compare with"
  { have nbdinfo && have nbdcopy; } || echo "libnbd-bin|checks the NBD server from outside"
  have ip || echo "iproute2|makes the network namespaces that the network tests have their servers in"
  have file || echo "file|is what nbdinfo asks about a disk's content"
  { have qemu-io && have qemu-nbd; } || echo "qemu-utils|checks the NBD server from outside"
  { have e2fsck && have debugfs; } || echo "e2fsprogs|checks the root file systems from outside"
  have python3 || echo "python3|runs the Python tests"
  python3 -c 'import ensurepip' 2>/dev/null || echo "python3-venv|keeps the Python tests' packages apart"
}
