#!/usr/bin/env bash
# `make bench-media`: Whimbrel's relay beside rtpengine, its TURN server beside coturn, the same load, interleaved. ORDER=WRWR,
# ONLY=streams|opus|turn for a part.
# What came out: docs/reference/performance.md.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the relay, one for the load"
"$REPO/scripts/setup.sh" bench
cd "$REPO"
cargo build --release -p whimbrel
for port in 2223 3478 5000 5001; do free_port "$port"; done
lock=${BENCH_LOCK:-/run/lock/bench.lock}
[ -w "$(dirname "$lock")" ] || lock=/tmp/bench.lock
exec python3 "$REPO/bench/media/media.py" --whimbrel "$CARGO_TARGET_DIR/release/whimbrel" --run "$CACHE/bench-media" \
  --lock "$lock" --order "${ORDER:-WRWR}" ${ONLY:+--only "$ONLY"}
