#!/usr/bin/env bash
# `make fuzz-smoke`: each fuzz target for a few seconds, on the kept corpus. SECONDS_EACH=20
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
rustup toolchain list | grep -q nightly || die "nightly Rust is needed: rustup toolchain install nightly"
have cargo-fuzz || die "cargo-fuzz is needed: cargo install cargo-fuzz --locked"
cd "$REPO"
vectors=protocol/sip/tests/vectors
for target in $(cargo +nightly fuzz list); do
  say "fuzz: $target"
  learnt=$CARGO_TARGET_DIR/fuzz-corpus/$target
  mkdir -p "$learnt"
  cargo +nightly fuzz run --target-dir "$CARGO_TARGET_DIR/fuzz" "$target" \
    "$learnt" "fuzz/corpus/$target" $vectors/rfc4475 $vectors/rfc5118 $vectors/typical -- \
    -max_total_time="${SECONDS_EACH:-20}" -timeout=5 -max_len=70000 -rss_limit_mb=1024
done
say "fuzz: nothing found"
