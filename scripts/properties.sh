#!/usr/bin/env bash
# `make properties`: every property test on CASES=50000 random cases, new ones each time. SEED=N repeats a run.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"
export PROPTEST_CASES=${CASES:-50000} PROPTEST_MAX_GLOBAL_REJECTS=${CASES:-50000}
export PROPTEST_RNG_SEED=${SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
say "properties: $PROPTEST_CASES cases each, SEED=$PROPTEST_RNG_SEED"
# A binary holds one crate's property tests among its others; the black-box stories have none.
cargo nextest run --locked --workspace --exclude tests
say "properties: all hold"
