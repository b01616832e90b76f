#!/bin/sh
# uv from PyPI, whose package of that name carries the binary. $1: an exact version, or latest.
set -eu
[ "$1" = latest ] && wanted=uv || wanted=uv==$1
# Debian keeps pip from the system's Python unless told that this is meant.
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir --root-user-action=ignore "$wanted"
uv --version
