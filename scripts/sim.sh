#!/usr/bin/env bash
# `make sim`: the stories of the simulated network under many seeds. SEEDS=100 FIRST=1
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO"
export WHIMBREL_SEEDS=${SEEDS:-100} WHIMBREL_FIRST_SEED=${FIRST:-1}
say "sim: $WHIMBREL_SEEDS seeds, from $WHIMBREL_FIRST_SEED"
cargo test --quiet --locked -p simnet
say "sim: all passed"
