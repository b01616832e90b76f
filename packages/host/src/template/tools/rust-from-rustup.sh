#!/bin/sh
# Rust by rustup, for all users. $1: stable, or a version.
set -eu
export CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup
scratch=$(mktemp -d)
cd "$scratch"
curl --proto =https --tlsv1.2 --fail --silent --show-error --location --retry 3 --output rustup.sh https://sh.rustup.rs
sh rustup.sh -y --profile minimal --component clippy --component rustfmt --default-toolchain "$1" --no-modify-path
ln -s /usr/local/cargo/bin/* /usr/local/bin/
cd / && rm -rf "$scratch"
cargo --version
mkdir -p /etc/kiln/tools
rustc --version | cut -d ' ' -f 2 > /etc/kiln/tools/rust
