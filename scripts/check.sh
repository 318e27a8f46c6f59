#!/usr/bin/env bash
# `make check`: format, clippy without warnings, layers, tidy, documents, shell scripts. Under a minute warm.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"
features=$(test_features whimbrel/g729,tests/g729)

say "check: format"
cargo fmt --all --check

say "check: clippy"
# shellcheck disable=SC2086
cargo clippy --quiet --locked --workspace --all-targets $features -- -D warnings

say "check: layers, tidy, docs"
cargo run --quiet --locked -p xtask -- layers tidy docs

say "check: rustdoc links"
# shellcheck disable=SC2086
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --workspace $features

if have shellcheck; then
  say "check: shell scripts"
  shellcheck --external-sources --source-path=SCRIPTDIR scripts/*.sh .ci/run
fi
if have cargo-deny; then
  say "check: licences and sources"
  cargo deny --log-level error --offline check bans licenses sources
fi
say "check: fine"
