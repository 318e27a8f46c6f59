#!/usr/bin/env bash
# `make bench`: Whimbrel beside Kamailio, the same load, interleaved. ROWS=register,options,call,.. ORDER=WKW OPS=1
# What is measured and how: bench/README.md. What came out: docs/reference/performance.md.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the server, one for the load"
"$REPO/scripts/setup.sh" bench
cd "$REPO"
# What an operator installs is what is measured.
"$REPO/scripts/dist.sh"

for port in 5060 5061 7000 6000; do free_port "$port"; done
lock=${BENCH_LOCK:-/run/lock/bench.lock}
[ -w "$(dirname "$lock")" ] || lock=/tmp/bench.lock
exec python3 "$REPO/bench/bench.py" --whimbrel "$CARGO_TARGET_DIR/dist/whimbrel" --run "$CACHE/bench" \
  --lock "$lock" --rows "${ROWS:-}" --order "${ORDER:-WKW}" --ops "${OPS:-1}"
