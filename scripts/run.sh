#!/usr/bin/env bash
# `make run`: prepares what is missing, builds pages and server, starts the server. DATA=FOLDER, ARGS="--listen-ip ..".
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$REPO/scripts/setup.sh" run
"$REPO/scripts/web.sh"
cd "$REPO"
say "building the server (release; the first time takes several minutes)"
features=$(cargo_features)
# No quotes: an empty list of features is no argument.
# shellcheck disable=SC2086
cargo build --release --locked -p whimbrel $features

say "starting; stop with Ctrl-C"
read -ra extra <<<"${ARGS:-}"
exec "$CARGO_TARGET_DIR/release/whimbrel" serve --data "${DATA:-./data}" "${extra[@]}"
