#!/usr/bin/env bash
# `make fuzz-smoke`: each fuzz target for a few seconds, on the kept corpus. SECONDS_EACH=20
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -f "$REPO/fuzz/Cargo.toml" ] || die "there is no fuzz folder"
rustup toolchain list | grep -q nightly || die "nightly Rust is needed: rustup toolchain install nightly"
have cargo-fuzz || die "cargo-fuzz is needed: cargo install cargo-fuzz --locked"
cd "$REPO"
for target in $(cargo +nightly fuzz list); do
  say "fuzz: $target"
  cargo +nightly fuzz run "$target" -- -max_total_time="${SECONDS_EACH:-20}" -print_final_stats=0
done
say "fuzz: nothing found"
