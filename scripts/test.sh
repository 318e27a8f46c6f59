#!/usr/bin/env bash
# `make test`: prepares what the tests need, then checks and tests everything. .ci/run calls it.
# `make test-long`: the stories that wait for minutes, as for a whole session interval.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$REPO/scripts/setup.sh" test
"$REPO/scripts/web.sh" test
"$REPO/scripts/check.sh"
cd "$REPO"
features=$(test_features whimbrel/g729,tests/g729)

# Stories that drive a browser keep their own npm packages beside them.
for lock in tests/*/package-lock.json; do
  [ -f "$lock" ] || continue
  folder=$(dirname "$lock") stamp=$(dirname "$lock")/node_modules/.whimbrel-installed
  want=$(sha256sum "$lock" | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && continue
  say "test: npm ci in $folder"
  (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
  echo "$want" >"$stamp"
done

say "test: building the server the stories start"
server=$(test_features whimbrel/g729)
# shellcheck disable=SC2086
cargo build --quiet --locked -p whimbrel $server
export WHIMBREL_BIN=$CARGO_TARGET_DIR/debug/whimbrel
export WHIMBREL_PYTHON=$CACHE/pesq/bin/python
export WHIMBREL_SSLYZE=$CACHE/sslyze/bin/sslyze
export WHIMBREL_SIPVICIOUS=$CACHE/sipvicious/bin

if [ "${1:-}" = long ]; then
  say "test: the stories that wait for minutes"
  cargo test --quiet --locked -p tests --features g729 --test it -- --ignored
  exit
fi

# The same cases each time: a change is judged by what it changed. `make properties` looks for others.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-3261}

say "test: the workspace"
if have cargo-nextest; then
  # shellcheck disable=SC2086
  cargo nextest run --locked --workspace $features
else
  # shellcheck disable=SC2086
  cargo test --quiet --locked --workspace --lib --bins --tests $features
fi

if have gungraun-runner && have valgrind; then
  for crate in sip rtp; do
    say "test: instructions of the hot paths, against the limits in protocol/$crate/benches"
    cargo bench --quiet --locked --manifest-path "protocol/$crate/benches/Cargo.toml" --bench instructions
  done
else
  say "test: instructions are not counted: gungraun-runner or valgrind is missing"
fi

say "test: examples in the documentation"
# shellcheck disable=SC2086
cargo test --quiet --locked --workspace --doc $features
say "test: all passed"
