#!/usr/bin/env bash
# `make dist`: the server as it is meant to be installed. A release build whose code BOLT has laid out by a rehearsal:
# what runs together lies together, so a server that is woken for one message finds it in fewer cache lines.
# The result is $CARGO_TARGET_DIR/dist/whimbrel. Why and what it brings: docs/design/0080-laid-out-by-a-rehearsal.md.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ "$(nproc)" -ge 2 ] || die "two cores are needed: one for the server that rehearses, one for the load"
[ "$(uname -m)" = x86_64 ] || die "BOLT 16 lays out x86-64 alone: use the release build of \`make run\`"
"$REPO/scripts/setup.sh" dist
"$REPO/scripts/web.sh"
# By their real folder: Debian's BOLT looks for its runtime beside itself.
BOLT=/usr/lib/llvm-16/bin
DIST=$CARGO_TARGET_DIR/dist WORK=$CARGO_TARGET_DIR/dist/rehearsal
cd "$REPO"
say "building the server (release)"
features=$(cargo_features)
# shellcheck disable=SC2086
cargo rustc --release --locked -p whimbrel $features -- -C link-arg=-Wl,--emit-relocs
rm -rf "$WORK" && mkdir -p "$WORK"
cp "$CARGO_TARGET_DIR/release/whimbrel" "$WORK/release"

fresh() { sha256sum "$WORK/release" | cut -d' ' -f1; }
if [ -x "$DIST/whimbrel" ] && [ "$(cat "$DIST/made-of" 2>/dev/null)" = "$(fresh)" ]; then
  say "laid out already: $DIST/whimbrel"; rm -rf "$WORK"; exit
fi
for port in 5060 5061 7000 6000; do free_port "$port"; done

say "rehearsing: registrations, calls and connections, about a minute"
"$BOLT/llvm-bolt" "$WORK/release" -o "$WORK/counting" -instrument -instrumentation-file="$WORK/counts" \
  -instrumentation-file-append-pid -instrumentation-sleep-time=2 >"$WORK/instrument.log" 2>&1 ||
  { tail -n 5 "$WORK/instrument.log" >&2; die "BOLT could not instrument the server: $WORK/instrument.log"; }
python3 "$REPO/bench/rehearse.py" --whimbrel "$WORK/counting" --run "$CACHE/rehearsal"
"$BOLT/merge-fdata" "$WORK"/counts.* >"$WORK/counts" 2>/dev/null

say "laying it out"
"$BOLT/llvm-bolt" "$WORK/release" -o "$WORK/whimbrel" -data="$WORK/counts" -reorder-blocks=ext-tsp \
  -reorder-functions=hfsort+ -split-functions -split-all-cold -split-eh -icf=1 >"$WORK/layout.log" 2>&1 ||
  { tail -n 5 "$WORK/layout.log" >&2; die "BOLT could not lay the server out: $WORK/layout.log"; }
"$WORK/whimbrel" --version >/dev/null || die "what BOLT made does not run: use the release build of \`make run\`"
mv "$WORK/whimbrel" "$DIST/whimbrel"
fresh >"$DIST/made-of"
rm -rf "$WORK"
say "done: $DIST/whimbrel ($(du -h "$DIST/whimbrel" | cut -f1))"
